//! The embedded database: one file that a crash at any instant leaves whole.
//!
//! redb writes copies of the pages it changes and then one pointer, so that a process that is killed while it writes leaves
//! the state before or the state after. Each page has a checksum, and all of them are looked at when the file is opened: a
//! file that something else damaged is moved aside, with a loud word, and the start goes on with an empty one. A control
//! plane that refuses to serve because its history is gone would be the worse failure.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use redb::{Builder, ReadableDatabase, StorageError, TableDefinition, TableError};

use super::database::{Batch, Database, DatabaseError, Pending};

/// Name of the file in the state directory.
pub const FILE: &str = "weir.redb";

/// All keys are in one table: what belongs together changes together.
const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("weir");
/// Bytes of pages held in memory; what is read often is held by those who read it.
const CACHE: usize = 4 * 1024 * 1024;
/// How long a start waits for a process that is just ending to let go of the file.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks whether it did.
const PAUSE: Duration = Duration::from_millis(50);

/// What opening came to.
pub enum Opening {
    /// Ready. The text says what was wrong with a file that was moved aside for it.
    Ready(Redb, Option<String>),
    /// Not to be used now, and why.
    Unusable(String),
}

/// The embedded database. Clones share it.
#[derive(Clone)]
pub struct Redb {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// `None` after a failure: redb believes nothing after one, so the file is opened anew.
    open: Mutex<Option<redb::Database>>,
    released: std::sync::atomic::AtomicBool,
}

impl Redb {
    /// Opens the database of a directory, and makes it where it is missing. A file that is damaged is moved aside. Blocks,
    /// for seconds where another process holds the file.
    #[must_use]
    pub fn open_in(dir: &Path) -> Opening {
        let path = dir.join(FILE);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match open(&path) {
                Ok(database) => return Opening::Ready(Self::of(path, database), None),
                Err(redb::DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                }
                Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                    return Opening::Unusable(format!(
                        "{} is in use by another process; give this one a state directory of its own (stateDir)",
                        path.display()
                    ));
                }
                Err(error) if is_damage(&error) => {
                    return Self::begin_anew(path, &error.to_string());
                }
                Err(error) => {
                    return Opening::Unusable(format!(
                        "cannot open {}: {error}; check its disk and its permissions",
                        path.display()
                    ));
                }
            }
        }
    }

    fn begin_anew(path: PathBuf, reason: &str) -> Opening {
        let aside = path.with_extension("redb.corrupt");
        if let Err(error) = std::fs::rename(&path, &aside) {
            return Opening::Unusable(format!(
                "{} is damaged ({reason}) and cannot be moved aside: {error}",
                path.display()
            ));
        }
        let complaint = format!(
            "{} is damaged ({reason}); it is kept as {}, and the history, applied documents and weights set by hand in it are \
             not in force: apply and set them again",
            path.display(),
            aside.display()
        );
        match open(&path) {
            Ok(database) => Opening::Ready(Self::of(path, database), Some(complaint)),
            Err(error) => {
                Opening::Unusable(format!("{complaint}; a new one cannot be made: {error}"))
            }
        }
    }

    fn of(path: PathBuf, database: redb::Database) -> Self {
        let inner = Inner {
            path,
            open: Mutex::new(Some(database)),
            released: false.into(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Does something with the file off the caller's thread. After a failure of the disk it is opened anew the next time.
    fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Pending<'_, T> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || inner.with(act));
            let place = self.inner.place();
            task.await.unwrap_or_else(|panicked| {
                let reason = format!("reading or writing it failed inside Weir: {panicked}");
                Err(DatabaseError::Failed { place, reason })
            })
        })
    }
}

impl Inner {
    fn with<T>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, DatabaseError> {
        let mut open_now = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.released.load(std::sync::atomic::Ordering::Acquire) {
            let reason = "this process is ending and has let go of it".into();
            let place = self.place();
            return Err(DatabaseError::Failed { place, reason });
        }
        // Taken out, so that neither an error nor a panic leaves behind what cannot be believed.
        let database = match open_now.take() {
            Some(database) => database,
            None => open(&self.path).map_err(|error| self.failure(&error.into()))?,
        };
        let result = act(&database).map_err(|error| self.failure(&error));
        let released = self.released.load(std::sync::atomic::Ordering::Acquire);
        if result.is_ok() && !released {
            *open_now = Some(database);
        }
        result
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn failure(&self, error: &redb::Error) -> DatabaseError {
        let (place, reason) = (self.place(), error.to_string());
        match error {
            redb::Error::Io(error) if is_full(error) => DatabaseError::Full { place, reason },
            _ => DatabaseError::Failed { place, reason },
        }
    }
}

impl Database for Redb {
    fn get(&self, key: String) -> Pending<'_, Option<Vec<u8>>> {
        self.with(move |database| {
            let Some(table) = table(database)? else {
                return Ok(None);
            };
            let value = table.get(key.as_str())?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn scan(&self, prefix: String) -> Pending<'_, Vec<(String, Vec<u8>)>> {
        self.with(move |database| {
            let mut found = Vec::new();
            let Some(table) = table(database)? else {
                return Ok(found);
            };
            for entry in table.range(prefix.as_str()..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(&prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn commit(&self, batch: Batch) -> Pending<'_, ()> {
        self.with(move |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for (key, value) in &batch.0 {
                    match value {
                        Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                        None => drop(table.remove(key.as_str())?),
                    }
                }
            }
            // Durable when it returns: redb syncs the file before and after it moves the pointer.
            transaction.commit()?;
            Ok(())
        })
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn release(&self) {
        let inner = &self.inner;
        inner
            .released
            .store(true, std::sync::atomic::Ordering::Release);
        // Who is at it now lets go of it afterwards: a disk that hangs must not hold up the end of the process.
        match inner.open.try_lock() {
            Ok(mut open) => drop(open.take()),
            Err(TryLockError::Poisoned(open)) => drop(open.into_inner().take()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// For reading; `None` before the first change.
fn table(
    database: &redb::Database,
) -> Result<Option<redb::ReadOnlyTable<&'static str, &'static [u8]>>, redb::Error> {
    match database.begin_read()?.open_table(TABLE) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens the file, and makes it where it is missing. What redb does not expect in a file is damage, however it says so.
fn open(path: &Path) -> Result<redb::Database, redb::DatabaseError> {
    let opened = std::panic::catch_unwind(|| open_checked(path));
    opened.unwrap_or_else(|_| {
        let reason = "reading it failed".to_owned();
        Err(StorageError::Corrupted(reason).into())
    })
}

fn open_checked(path: &Path) -> Result<redb::Database, redb::DatabaseError> {
    // For this user alone from its first byte on.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    Builder::new()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create(path)
}

/// Whether the file itself is at fault rather than the way to it.
fn is_damage(error: &redb::DatabaseError) -> bool {
    match error {
        redb::DatabaseError::Storage(StorageError::Corrupted(_))
        | redb::DatabaseError::RepairAborted
        | redb::DatabaseError::UpgradeRequired(_) => true,
        // A file that is no database, or ends too early.
        redb::DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            )
        }
        _ => false,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

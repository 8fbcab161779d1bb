//! What the authority signs for this process itself: made in memory, and made again before it ends.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_authority::View;

use super::Mesh;

/// How often it is looked whether it is time for the next.
const LOOK: Duration = Duration::from_secs(1);
/// How long one that could not be made is left alone, in seconds.
const PAUSE: i64 = 60;

/// Makes one, and says when it ends, in seconds since 1970.
type Make<T, E> = Box<dyn Fn(&Mesh) -> Result<(T, i64), E> + Send>;

/// Keeps one current for as long as somebody looks at it.
pub(crate) struct Renewed<T, E> {
    mesh: Arc<Mesh>,
    /// What it is, for the log.
    what: &'static str,
    make: Make<T, E>,
    view: Arc<View>,
    /// When to make the next, in seconds since 1970.
    renew: i64,
    sender: watch::Sender<Arc<T>>,
}

impl<T, E: Display> Renewed<T, E> {
    /// Makes the first.
    ///
    /// # Errors
    /// As `make` has them.
    pub(super) fn first(
        mesh: Arc<Mesh>,
        what: &'static str,
        make: impl Fn(&Mesh) -> Result<(T, i64), E> + Send + 'static,
    ) -> Result<(Self, watch::Receiver<Arc<T>>), E> {
        let view = mesh.authority.view();
        let (first, not_after) = make(&mesh)?;
        let (sender, receiver) = watch::channel(Arc::new(first));
        let renewed = Self {
            renew: renewal((mesh.world.now)(), not_after),
            mesh,
            what,
            make: Box::new(make),
            view,
            sender,
        };
        Ok((renewed, receiver))
    }

    /// Makes the next in time, and at once when the roots change.
    pub(crate) async fn follow(mut self) {
        let mesh = Arc::clone(&self.mesh);
        loop {
            tokio::select! {
                () = mesh.changed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = self.sender.closed() => return,
            }
            let view = mesh.authority.view();
            let now = (mesh.world.now)();
            if now < self.renew && Arc::ptr_eq(&view, &self.view) {
                continue;
            }
            self.view = view;
            self.renew = match (self.make)(&mesh) {
                Ok((next, not_after)) => {
                    self.sender.send_replace(Arc::new(next));
                    renewal(now, not_after)
                }
                Err(error) => {
                    tracing::error!("{} is not renewed: {error}", self.what);
                    now + PAUSE
                }
            };
        }
    }
}

/// At 70 % of what is left.
fn renewal(now: i64, not_after: i64) -> i64 {
    now + (not_after - now) * 7 / 10
}

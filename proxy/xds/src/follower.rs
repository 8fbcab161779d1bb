//! Following a control plane: one thread that connects, listens, puts in force and answers, and goes on for ever.
//!
//! It shares nothing with those who serve but what it hands to `apply`. Without a control plane it waits, and what is in
//! force stays.

mod beside;
mod status;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use weir_config::model::Model;

use crate::backoff::Backoff;
use crate::channel::{self, Access, Address, ChannelError, Place, Stream};
use crate::client::Client;
use crate::last_good::{Store, Writer};
use crate::limits::{BATCH, Limits};
use crate::message::{Response, Variant};
use crate::report::{Load, report};
use crate::tally::{Reason, Tally, now_ms};
use beside::Publisher;

pub use status::{Board, Status};

/// A stream on which nothing came for this long after it began is given up: a control plane answers what it is asked.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// A server that took a stream and did not refuse it for this long has taken it.
const SETTLED: Duration = Duration::from_secs(1);
/// How often memory that decoding has freed is given back.
const TIDY: Duration = Duration::from_secs(5);
/// How long the last state may take to be written at the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Puts a model in force under a number, and returns the listeners that could not be bound, each with the reason. May
/// block.
pub type Apply = Arc<dyn Fn(Arc<Model>, u64) -> Vec<(String, String)> + Send + Sync>;

/// Whom to follow, and as whom.
#[derive(Clone)]
pub struct Options {
    pub node: Node,
    /// Never empty; tried in turn.
    pub control: Vec<Address>,
    pub access: Access,
    /// `None`: delta, and the state of the world with a server that has no delta.
    pub variant: Option<Variant>,
    pub limits: Limits,
    /// What load is reported, where a control plane asks. `None`: nothing is.
    pub load: Option<Load>,
    /// Gives back memory that the thread it is called on has freed; called now and then, as decoding frees much of it.
    pub tidy: fn(),
}

/// A thread that follows; it ends when this is dropped.
pub struct Follower {
    board: Arc<Board>,
    tally: Arc<Tally>,
    writer: Option<Writer>,
    _stop: oneshot::Sender<()>,
}

impl Follower {
    /// Puts the last good state in force, if there is one in the store, and starts to follow.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(options: Options, store: Option<Store>, apply: Apply) -> io::Result<Self> {
        let tally: Arc<Tally> = Arc::default();
        let store = store.map(|store| store.counting(&tally));
        let board = Arc::new(Board::new(&options.control));
        let client = Client::new(options.node.clone(), options.limits);
        let mut publisher = Publisher::new(client, apply, Arc::clone(&board), Arc::clone(&tally));
        if let Some(store) = &store {
            restore(store, &mut publisher);
        }
        let writer = store.map(Writer::start).transpose()?;
        publisher.keep_in(options.node.id.clone(), writer.clone());
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()?;
        let tidy = options.tidy;
        let mut following = Following {
            options,
            publisher,
            backoff: Backoff::default(),
            random: SmallRng::from_rng(&mut rand::rng()),
            began: Instant::now(),
            reporting: None,
            place: None,
        };
        std::thread::Builder::new()
            .name("xds".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = following.run() => {}
                        () = tidying(tidy) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            board,
            tally,
            writer,
            _stop: stop,
        })
    }

    /// How it stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = self.board.read();
        status.not_written = self.writer.as_ref().and_then(Writer::error);
        status
    }

    /// Metric families in the exposition format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.tally.text()
    }

    /// Waits a moment for the last state to be written.
    pub fn finish(&self) {
        if let Some(writer) = &self.writer {
            writer.finish(LAST_WRITE);
        }
    }
}

/// Does not end.
async fn tidying(tidy: fn()) {
    loop {
        tokio::time::sleep(TIDY).await;
        tidy();
    }
}

/// Serves what was kept, until a control plane says something else.
fn restore(store: &Store, publisher: &mut Publisher) {
    let found = store.load(|saved| {
        weir_wire::decode(&saved.resources).map_err(|rejected| {
            let first = rejected.first();
            first.map_or_else(String::new, |it| {
                format!("{:?} {}: {}", it.kind, it.name, it.reason)
            })
        })
    });
    match found {
        Some((saved, model)) => {
            tracing::info!(
                generation = saved.generation,
                age_seconds = now_ms().saturating_sub(saved.at_ms) / 1000,
                "serving the last good state until a control plane answers"
            );
            publisher.restore(&saved, Arc::new(model));
        }
        None => tracing::info!(
            "there is no last good state: nothing is served until a control plane answers"
        ),
    }
}

struct Following {
    options: Options,
    publisher: Publisher,
    backoff: Backoff,
    random: SmallRng,
    /// When this process did, as near as matters.
    began: Instant,
    /// On the connection that is followed.
    reporting: Option<Reporting>,
    /// For others who ask on it.
    place: Option<Place>,
}

/// A task that ends with this.
struct Reporting(tokio::task::JoinHandle<()>);

impl Drop for Reporting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Following {
    /// Does not end.
    async fn run(&mut self) {
        let mut at = 0;
        loop {
            let address = self.options.control[at].clone();
            let began = Instant::now();
            let error = self.follow(&address).await;
            self.reporting = None;
            self.place = None;
            if let ChannelError::Renewed = error {
                // At once: certificates are renewed each at a time of its own.
                self.publisher.reconnects();
                continue;
            }
            self.publisher.disconnected(&address, &error);
            self.backoff.lived(began.elapsed());
            if let ChannelError::Malformed(_) = error {
                self.publisher.refuse(Reason::Malformed);
            }
            if let ChannelError::TooLarge { .. } = error {
                self.publisher.refuse(Reason::TooLarge);
            }
            at = (at + 1) % self.options.control.len();
            // The others are tried at once.
            if at == 0 || began.elapsed() > FIRST_ANSWER {
                let wait = self.backoff.next(&mut self.random);
                self.publisher.beside(tokio::time::sleep(wait)).await;
            }
        }
    }

    /// One control plane, until it ends.
    async fn follow(&mut self, address: &Address) -> ChannelError {
        let variant = self.options.variant.unwrap_or(Variant::Delta);
        match self.stream(address, variant).await {
            Err(ChannelError::Unimplemented(_)) if self.options.variant.is_none() => {
                tracing::info!(control = %address, "it has no delta; asking for the state of the world");
                let Err(error) = self.stream(address, Variant::StateOfTheWorld).await;
                error
            }
            Err(error) => error,
        }
    }

    async fn stream(
        &mut self,
        address: &Address,
        variant: Variant,
    ) -> Result<std::convert::Infallible, ChannelError> {
        let mut stream = self.open(address, variant).await?;
        // One that serves something may have nothing to hear; one that has nothing yet goes on to the next.
        let mut patience = pin!(tokio::time::sleep(FIRST_ANSWER));
        let mut heard = self.serves();
        loop {
            let next = tokio::select! {
                next = stream.next() => Some(next?),
                () = self.publisher.due() => None,
                () = renewed(self.place.as_ref()) => return Err(ChannelError::Renewed),
                () = &mut patience, if !heard => return Err(ChannelError::Silent(FIRST_ANSWER)),
            };
            let Some(next) = next else {
                stream.send(self.publisher.catch_up().await)?;
                continue;
            };
            heard = true;
            let ended = self.batch(next, &mut stream).await;
            stream.send(self.publisher.settle().await)?;
            if let Some(error) = ended {
                return Err(error);
            }
        }
    }

    fn serves(&self) -> bool {
        self.publisher.client.generation() > 0
    }

    /// Connects, and opens a stream. A server may begin its answer only when it has something to say: one that holds the
    /// connection and refuses nothing counts as followed before that.
    async fn open(&mut self, address: &Address, variant: Variant) -> Result<Stream, ChannelError> {
        let token = self.options.access.token_file.as_deref();
        let token = token.map(channel::token).transpose()?;
        let limit = self.options.limits.message_bytes;
        let access = self.options.access.clone();
        self.place = access.own.as_ref().map(|own| own.line().place());
        let connecting = channel::connect(address, &access);
        let channel = self.publisher.beside(connecting).await?;
        self.reporting = self.options.load.clone().map(|load| {
            let (node, began) = (self.options.node.clone(), self.began);
            Reporting(tokio::spawn(report(
                channel.clone(),
                node,
                token.clone(),
                load,
                began,
            )))
        });
        let first = self.publisher.client.connected(variant);
        let mut opening = pin!(Stream::open(channel.clone(), variant, token, first, limit));
        let mut settled = pin!(tokio::time::sleep(SETTLED));
        let mut patience = pin!(tokio::time::sleep(FIRST_ANSWER));
        let (mut told, serves) = (false, self.serves());
        loop {
            tokio::select! {
                opened = &mut opening => {
                    let stream = opened?;
                    if !told {
                        self.publisher.connected(address, variant);
                    }
                    if let Some(place) = &self.place {
                        place.hold(address.clone(), channel);
                    }
                    return Ok(stream);
                }
                () = self.publisher.due() => drop(self.publisher.catch_up().await),
                () = renewed(self.place.as_ref()) => return Err(ChannelError::Renewed),
                () = &mut settled, if !told => {
                    told = true;
                    self.publisher.connected(address, variant);
                }
                () = &mut patience, if !serves => return Err(ChannelError::Silent(FIRST_ANSWER)),
            }
        }
    }

    /// Takes what is there; returns the end of the stream, if that is there, too.
    async fn batch(&mut self, first: Response, stream: &mut Stream) -> Option<ChannelError> {
        self.publisher.receive(first);
        for _ in 1..BATCH {
            match stream.ready().await? {
                Ok(response) => self.publisher.receive(response),
                Err(error) => return Some(error),
            }
        }
        None
    }
}

async fn renewed(place: Option<&Place>) {
    match place {
        Some(place) => place.renewed().await,
        None => std::future::pending().await,
    }
}

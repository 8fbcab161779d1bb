//! One stream of configuration: a session and its socket.

use std::future;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tonic::{Status, Streaming};
use weir_wire::Kind;

use super::accept::Peer;
use super::agent::{self, Agent, describe};
use super::gate::{Admitted, Offered, Refusal};
use super::hub::{Group, Told};
use super::proxies::{ProxyStatus, Seat};
use super::{Shared, stopped};
use crate::limits::{BULK_BYTES, BULK_PATIENCE, FIRST_REQUEST_TIMEOUT};
use crate::session::{Broken, Heard, Protocol, Push, Session};

/// The messages of one protocol.
pub(super) trait Dialect: Send + 'static {
    const PROTOCOL: Protocol;
    type Request: Send + 'static;
    type Response: Send + 'static;

    fn node(request: &Self::Request) -> Option<&Node>;
    fn kind(request: &Self::Request) -> Option<Kind>;
    fn feed(session: &mut Session, request: &Self::Request, now: Instant) -> Result<Heard, Broken>;
    fn render(push: Push, instance: &str) -> Self::Response;
}

pub(super) struct Delta;

impl Dialect for Delta {
    const PROTOCOL: Protocol = Protocol::Delta;
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn kind(request: &Self::Request) -> Option<Kind> {
        Kind::of(&request.type_url)
    }

    fn feed(session: &mut Session, request: &Self::Request, now: Instant) -> Result<Heard, Broken> {
        session.on_delta(request, now)
    }

    fn render(push: Push, instance: &str) -> Self::Response {
        push.into_delta(instance)
    }
}

pub(super) struct Sotw;

impl Dialect for Sotw {
    const PROTOCOL: Protocol = Protocol::Sotw;
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }

    fn kind(request: &Self::Request) -> Option<Kind> {
        Kind::of(&request.type_url)
    }

    fn feed(session: &mut Session, request: &Self::Request, now: Instant) -> Result<Heard, Broken> {
        session.on_sotw(request, now)
    }

    fn render(push: Push, instance: &str) -> Self::Response {
        push.into_sotw(instance)
    }
}

/// Where responses go.
pub(super) type Out<D> = mpsc::Sender<Result<<D as Dialect>::Response, Status>>;

/// Who is at the other end, as far as the connection and the head of the call tell.
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) token: Option<String>,
}

impl Shared {
    /// Lets a client in by what it shows, or counts that it was not.
    pub(super) fn admit(&self, caller: &Caller, node: &Node) -> Result<Admitted, Status> {
        // Connections outlive the handshake in which it was looked at.
        if caller.peer.has_ended() {
            return Err(self.refuse(caller, &Refusal::Ended));
        }
        let sidecar = agent::sidecar(node);
        let chain = &caller.peer.chain;
        let identity = self.mesh.as_ref().and_then(|mesh| mesh.identify(chain));
        let offered = Offered {
            node: &node.id,
            // A certificate of the mesh says who somebody is there, and names no node.
            certificate: caller.peer.names.as_deref().filter(|_| identity.is_none()),
            identity: identity.as_ref(),
            sidecar: sidecar.as_ref(),
            token: caller.token.as_deref(),
        };
        self.gate
            .admit(&offered)
            .map_err(|refusal| self.refuse(caller, &refusal))
    }

    pub(super) fn refuse(&self, caller: &Caller, refusal: &Refusal) -> Status {
        let text = refusal.to_string();
        self.refusals
            .note(refusal.word(), caller.peer.address, &text);
        refusal.status()
    }
}

/// Serves one stream to its end. What ends it early is told to the client.
pub(super) async fn drive<D: Dialect>(
    shared: Arc<Shared>,
    caller: Caller,
    mut incoming: Streaming<D::Request>,
    out: Out<D>,
) {
    shared.seen.tally.streams(1);
    if let Err(status) = converse::<D>(&shared, &caller, &mut incoming, &out).await {
        tracing::debug!(peer = %caller.peer.address, %status, "a stream of xDS ended");
        // A client that does not read is not waited for.
        let _ = out.try_send(Err(status));
    }
    shared.seen.tally.streams(-1);
}

async fn converse<D: Dialect>(
    shared: &Arc<Shared>,
    caller: &Caller,
    incoming: &mut Streaming<D::Request>,
    out: &Out<D>,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, incoming.message()).await;
    let first = match first {
        Ok(first) => first?,
        Err(_) => return Err(shared.refuse(caller, &Refusal::Silent)),
    };
    let Some(first) = first else {
        return Ok(());
    };
    let nobody = Node::default();
    let node = D::node(&first).unwrap_or(&nobody);
    let admitted = shared.admit(caller, node)?;
    let group = Group {
        listeners: admitted.listeners,
        sidecar: admitted.sidecar,
        agent: Agent::of(node),
    };
    let agent = group.agent;
    let Some(views) = shared.hub.follow(group).await else {
        return Err(Status::unavailable(
            "what this node is to know cannot be made; see the control plane's log",
        ));
    };
    let told = views.borrow().clone();
    let status = ProxyStatus {
        name: admitted.name,
        service: admitted.service,
        agent,
        version: describe(node),
        protocol: D::PROTOCOL,
        peer: caller.peer.address,
        connected: SystemTime::now(),
        progress: crate::Progress::default(),
        behind_since: Some(Instant::now()),
        left_out: Arc::clone(&told.left_out),
    };
    let mut stream = Stream::<D> {
        session: Session::new(D::PROTOCOL, told.view),
        seat: shared.seen.proxies.join(status),
        shared,
        views,
        waiting: None,
        place: None,
        dialect: std::marker::PhantomData,
    };
    stream.hear(&first)?;
    tokio::select! {
        done = stream.run(incoming, out) => done,
        () = caller.peer.ended() => Err(shared.refuse(caller, &Refusal::Ended)),
    }
}

/// A place among the large responses, until the client answered or was given time enough.
struct Place {
    _permit: OwnedSemaphorePermit,
    nonce: u64,
    until: Instant,
}

struct Stream<'s, D> {
    session: Session,
    seat: Seat,
    shared: &'s Arc<Shared>,
    views: watch::Receiver<Told>,
    /// Made, and not yet taken by the transport.
    waiting: Option<(Push, usize)>,
    place: Option<Place>,
    dialect: std::marker::PhantomData<D>,
}

impl<D: Dialect> Stream<'_, D> {
    async fn run(
        &mut self,
        incoming: &mut Streaming<D::Request>,
        out: &Out<D>,
    ) -> Result<(), Status> {
        let mut stop = self.shared.stop.clone();
        loop {
            let now = Instant::now();
            self.leave_place(now);
            if self.waiting.is_none() {
                let push = self.session.next(now);
                self.waiting = push.map(|push| {
                    let bytes = push.bytes();
                    (push, bytes)
                });
            }
            self.note(now);
            let large = self
                .waiting
                .as_ref()
                .is_some_and(|(_, bytes)| *bytes >= BULK_BYTES);
            let needs_place = large && self.place.is_none();
            let bulk = Arc::clone(&self.shared.bulk);
            let may_send = self.waiting.is_some() && !needs_place;
            let deadline = self.deadline();
            tokio::select! {
                permit = bulk.acquire_owned(), if needs_place => self.take_place(permit.ok()),
                slot = out.reserve(), if may_send => match (slot, self.waiting.take()) {
                    (Ok(slot), Some((push, _))) => {
                        self.shared.seen.tally.pushed(push.kind, push.moves.len());
                        slot.send(Ok(D::render(push, &self.shared.instance)));
                    }
                    _ => return Ok(()),
                },
                request = incoming.message() => match request? {
                    Some(request) => self.hear(&request)?,
                    None => return Ok(()),
                },
                changed = self.views.changed() => match changed {
                    Ok(()) => {
                        let view = Arc::clone(&self.views.borrow_and_update().view);
                        self.session.retarget(view);
                    }
                    Err(_) => return Err(Status::unavailable("the control plane is stopping")),
                },
                () = until(deadline) => {}
                () = stopped(&mut stop) => {
                    return Err(Status::unavailable("the control plane is stopping"));
                }
            }
        }
    }

    fn hear(&mut self, request: &D::Request) -> Result<(), Status> {
        let heard = D::feed(&mut self.session, request, Instant::now())
            .map_err(|broken| Status::resource_exhausted(broken.to_string()))?;
        let tally = &self.shared.seen.tally;
        match (heard, D::kind(request)) {
            (Heard::Ack, Some(kind)) => tally.acked(kind),
            (Heard::Nack(_), Some(kind)) => tally.nacked(kind),
            (Heard::Stale, _) => tally.stale(),
            (Heard::Unserved, _) => tally.unserved(),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, now: Instant) {
        let left_out = Arc::clone(&self.views.borrow().left_out);
        self.seat.note(&self.session.progress(), &left_out, now);
    }

    fn deadline(&self) -> Option<Instant> {
        let place = self.place.as_ref().map(|place| place.until);
        // What waits for the transport is sent before anything else is looked for.
        let session = self.session.deadline().filter(|_| self.waiting.is_none());
        session.into_iter().chain(place).min()
    }

    fn take_place(&mut self, permit: Option<OwnedSemaphorePermit>) {
        if let (Some(permit), Some((push, _))) = (permit, &self.waiting) {
            self.place = Some(Place {
                _permit: permit,
                nonce: push.nonce,
                until: Instant::now() + BULK_PATIENCE,
            });
        }
    }

    fn leave_place(&mut self, now: Instant) {
        let session = &self.session;
        self.place
            .take_if(|place| place.until <= now || !session.is_unanswered(place.nonce));
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

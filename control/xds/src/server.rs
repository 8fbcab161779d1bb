//! The sessions behind gRPC: TLS, who may come in, what each may see, and what became of it.
//!
//! One listener, one task a stream. Everything runs on the runtime that [`Server::serve`] is called from, which should serve
//! nothing else: a thousand proxies that come back at once keep it busy for a moment.

#![allow(
    clippy::result_large_err,
    reason = "tonic's own type is what a call ends with"
)]

mod accept;
mod ads;
mod agent;
mod authority;
mod drive;
mod gate;
mod hub;
mod load;
mod lrs;
mod proxies;
mod refusals;
mod tally;
pub mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingServiceServer;
use tokio::sync::{Semaphore, watch};
use tonic::transport::Server as Tonic;

pub use agent::Agent;
pub use authority::{Mesh, MeshRefusal};
pub use gate::{Admitted, Gate, Offered, Refusal, Sidecar};
pub use hub::{Encode, Encoded, Encoding, Group, Hub};
pub use load::{Load, Loads, Recent};
pub use proxies::{Proxies, ProxyStatus, Watch};
pub use tally::Tally;

use crate::limits::{
    FAREWELL, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_BULK, MAX_REQUEST_BYTES,
    MAX_RESPONSE_BYTES, MAX_STREAMS,
};
use accept::Door;
use refusals::Refusals;

/// What a server needs of the control plane around it.
pub struct Options {
    /// Who may come in.
    pub gate: Arc<dyn Gate>,
    /// What each group is told.
    pub hub: Arc<Hub>,
    /// Told how each proxy is doing.
    pub watch: Arc<dyn Watch>,
    /// The TLS settings in force; each connection takes the newest. `None`: plain text.
    pub tls: Option<watch::Receiver<Arc<rustls::ServerConfig>>>,
    /// Knows the mesh's identities and hands them out, on the same port. `None`: there is no mesh.
    pub mesh: Option<Arc<dyn Mesh>>,
    /// Names this run of the control plane: numbers of generations are compared within one run alone.
    pub instance: String,
}

/// What there is to see of a server from outside.
#[derive(Clone)]
pub struct Seen {
    pub proxies: Arc<Proxies>,
    pub loads: Arc<Loads>,
    pub tally: Arc<Tally>,
}

/// A server of xDS. It is bound before it serves, so that a taken port is told of at the start.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Option<watch::Receiver<Arc<rustls::ServerConfig>>>,
    stop: watch::Receiver<bool>,
}

/// Ends a server, when told to or dropped.
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Ends every stream and the server.
    pub fn now(&self) {
        self.0.send_replace(true);
    }
}

/// What the streams share.
pub(crate) struct Shared {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) seen: Seen,
    pub(crate) mesh: Option<Arc<dyn Mesh>>,
    pub(crate) refusals: Refusals,
    /// Places for large responses.
    pub(crate) bulk: Arc<Semaphore>,
    pub(crate) instance: String,
    pub(crate) stop: watch::Receiver<bool>,
}

/// A server that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("xDS: {0}")]
    Io(#[from] io::Error),
    #[error("xDS: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl Server {
    /// Binds.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub fn bind(address: SocketAddr, options: Options) -> io::Result<(Self, Stop)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let (sender, stop) = watch::channel(false);
        let tally = Arc::new(Tally::default());
        let shared = Arc::new(Shared {
            gate: options.gate,
            hub: options.hub,
            seen: Seen {
                proxies: Arc::new(Proxies::new(options.watch)),
                loads: Arc::new(Loads::default()),
                tally: Arc::clone(&tally),
            },
            mesh: options.mesh,
            refusals: Refusals::new(tally),
            bulk: Arc::new(Semaphore::new(MAX_BULK)),
            instance: options.instance,
            stop: stop.clone(),
        });
        let server = Self {
            listener,
            shared,
            tls: options.tls,
            stop,
        };
        Ok((server, Stop(sender)))
    }

    /// Where it is, with the port that was really taken.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What is to be seen of it, now and later.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.shared.seen.clone()
    }

    /// Serves until [`Stop::now`]. Connections may take a moment to hear of that; one whose other end does not answer any more, as
    /// with a network that is cut, is not waited for.
    ///
    /// # Errors
    /// [`ServeError`] when it cannot go on.
    pub async fn serve(self) -> Result<(), ServeError> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let door = Door::new(self.tls, Arc::clone(&self.shared));
        let incoming = door.open(listener);
        let service = Arc::new(ads::Ads(Arc::clone(&self.shared)));
        let discovery = AggregatedDiscoveryServiceServer::from_arc(service)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_RESPONSE_BYTES);
        let mesh = self.shared.mesh.as_ref();
        let authority = mesh.map(|mesh| authority::service(Arc::clone(mesh)));
        let reports = Arc::new(lrs::Lrs(self.shared));
        let reports = LoadReportingServiceServer::from_arc(reports)
            .max_decoding_message_size(MAX_REQUEST_BYTES);
        let (mut stop, mut late) = (self.stop.clone(), self.stop);
        let serving = Tonic::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(MAX_STREAMS)
            .add_service(discovery)
            .add_service(reports)
            .add_optional_service(authority)
            .serve_with_incoming_shutdown(incoming, async move { stopped(&mut stop).await });
        tokio::select! {
            ended = serving => Ok(ended?),
            () = async {
                stopped(&mut late).await;
                tokio::time::sleep(FAREWELL).await;
            } => Ok(()),
        }
    }
}

/// Ends when the server is to end.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without a sender there is nobody left who could say so.
    let _ = stop.wait_for(|stop| *stop).await;
}

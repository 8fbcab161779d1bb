//! `weir proxy` from the inside: the data plane, a follower of a control plane, and the admin server.
//!
//! Three kinds of threads: the data workers, one that follows, and the admin server's. This thread only waits for a signal.

mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use weir_config::file;
use weir_config::model::{Locality, Model};
use weir_config::settings::{AccessLogFormat, Admin, AdminBind, Settings};
use weir_plan::mesh::{Beside, INBOUND};
use weir_proxy::{Handle, Options, Proxy};
use weir_xds_client::last_good::Store;
use weir_xds_client::{Access, Address, Apply, Follower, Limits, Variant};

use super::admin::AdminServer;
use super::app::{self, App};
use super::identity::{Identity, Running};
use super::load;
use super::weave::Weaver;
use super::{drain_or_leave, keep_house, limits};
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::{Ending, survive_hangup};

/// The last good state has a directory of its own: a `weir run` may use the same state directory.
const DIRECTORY: &str = "proxy";

/// Why nothing is served before anybody said what.
const UNCONFIGURED: &str = "no configuration yet: the control plane has not answered, and there is no last good state; see `weir status`";

/// The same for a part of the mesh, which asks for nothing before it has an identity.
const UNCERTIFIED: &str = "no configuration yet: there is no identity, or the control plane has not answered and there is no last good state; see `weir status`";

/// Everything that [`run`] needs.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) node: String,
    pub(crate) control: Vec<Address>,
    pub(crate) access: Access,
    pub(crate) variant: Option<Variant>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) admin: AdminBind,
    pub(crate) workers: Option<usize>,
    pub(crate) access_log: AccessLogFormat,
    /// Its part in the mesh. `None`: it has none.
    pub(crate) mesh: Option<Mesh>,
    /// What is started once it is ready, and ended before it ends. Empty: nothing.
    pub(crate) app: Vec<String>,
}

/// A part in the mesh.
#[derive(Debug, Clone)]
pub(crate) struct Mesh {
    pub(crate) identity: Identity,
    /// The app beside which it is a sidecar. `None`: it is an edge.
    pub(crate) beside: Option<Beside>,
    /// Services that the app calls; `None`: any.
    pub(crate) calls: Option<Vec<String>>,
}

/// Serves until a signal, then drains (semantics 35).
///
/// # Errors
/// What keeps it from starting: a taken admin port, no threads. A control plane that is not there does not.
pub(crate) fn run(plan: Plan) -> Outcome {
    limits::raise_open_files();
    let admin = AdminServer::bind(&plan.admin)?;
    // Without files these are the defaults, and what the environment says.
    let settings = file::load(&[]).settings;
    let proxy = start_proxy(&plan, &settings)?;
    let handle = proxy.handle();
    let (store, not_kept) = open_store(&plan);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        survive_hangup()?;
        let shown = status::Shown::new(handle.clone(), &plan, not_kept);
        let url = admin.url();
        let guarded = Admin {
            bind: admin.address(),
            ..Admin::default()
        };
        let router = weir_control::api::protect_reading(router(&shown), &guarded);
        let admin = admin.serve(router)?;
        let identity = match join(&plan, &shown, &mut ending).await {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                admin.stop();
                return Ok(Exit::Ok);
            }
            Err(failure) => {
                admin.stop();
                return Err(failure);
            }
        };
        let access = identity
            .as_ref()
            .map_or_else(|| plan.access.clone(), Running::access);
        let apply = apply(&plan, &handle, identity.as_ref());
        let locality = settings.locality.as_ref();
        let follower = start_follower(&plan, access, locality, apply, &handle, store)?;
        let follower = Arc::new(follower);
        shown.follows(Arc::clone(&follower));
        tracing::info!(node = plan.node, admin = %url, "following");
        tokio::spawn(keep_house());

        let (grace, drain) = (settings.grace_period, settings.drain_timeout);
        let ended = serve_app(&plan, &handle, &mut ending, drain).await?;
        let beside = plan.mesh.as_ref().and_then(|mesh| mesh.beside.as_ref());
        if beside.is_some() {
            // What the app does for its last requests goes through here, too.
            handle.set_draining();
            let resting = app::at_rest(&handle, drain);
            tokio::select! {
                () = resting => {}
                signal = ending.next() => tracing::warn!("{signal}: the app is not waited for"),
            }
        }
        let grace = if beside.is_some() {
            Duration::ZERO
        } else {
            grace
        };
        let drained = drain_or_leave(proxy.shutdown(grace, drain), &mut ending).await;
        let exit = ended.unwrap_or(drained);
        follower.finish();
        admin.stop();
        Ok(exit)
    })
}

/// The identity, where it is to have one; `None` after a signal. The admin server shows meanwhile what it waits for.
async fn join(
    plan: &Plan,
    shown: &status::Shown,
    ending: &mut Ending,
) -> Result<Option<Option<Running>>, Failure> {
    let Some(mesh) = &plan.mesh else {
        return Ok(Some(None));
    };
    tokio::select! {
        identity = mesh.identity.start(shown.standing()) => Ok(Some(Some(identity?))),
        signal = ending.next() => {
            tracing::info!("{signal}: leaving before there was an identity");
            Ok(None)
        }
    }
}

/// What the data plane shows, and how it stands with the control plane.
fn router(shown: &status::Shown) -> axum::Router {
    let counting = shown.clone();
    let data = (shown.handle()).router_with(Arc::new(move || counting.metrics_text()));
    data.merge(status::router(shown.clone()))
}

fn start_proxy(plan: &Plan, settings: &Settings) -> Result<Proxy, Failure> {
    let mut options = Options {
        access_log: plan.access_log,
        locality: settings.locality.clone(),
        overload: settings.overload.clone(),
        unconfigured: match plan.mesh {
            Some(_) => UNCERTIFIED,
            None => UNCONFIGURED,
        },
        // An app that others do not reach by it is not to be started, nor called.
        essential: (plan.mesh.as_ref()).and_then(|mesh| mesh.beside.is_some().then_some(INBOUND)),
        ..Options::default()
    };
    if let Some(workers) = plan.workers {
        options.workers = workers;
    }
    Proxy::start(options).map_err(|e| Failure::runtime(e.to_string()))
}

/// Until a signal, or the end of the app where there is one; how that ended.
async fn serve_app(
    plan: &Plan,
    handle: &Handle,
    ending: &mut Ending,
    drain: Duration,
) -> Result<Option<Exit>, Failure> {
    let mut app = tokio::select! {
        app = App::start(&plan.app, handle) => app?,
        signal = ending.next() => {
            tracing::info!("{signal}: leaving before the app was started");
            return Ok(None);
        }
    };
    let Some(app) = &mut app else {
        let signal = ending.next().await;
        tracing::info!("{signal}: draining; once more leaves at once");
        return Ok(None);
    };
    tokio::select! {
        status = app.ended() => Ok(Some(app.exit_of(status))),
        signal = ending.next() => {
            tracing::info!("{signal}: the app is told to end, and served until it has; once more kills it");
            handle.set_draining();
            tokio::select! {
                exit = app.end(drain) => Ok(Some(exit)),
                signal = ending.next() => {
                    tracing::warn!("{signal} again: the app is killed");
                    Ok(Some(app.kill().await))
                }
            }
        }
    }
}

/// How what was told comes into force.
fn apply(plan: &Plan, handle: &Handle, identity: Option<&Running>) -> Apply {
    if let (Some(mesh), Some(identity)) = (&plan.mesh, identity) {
        let credentials = identity.credentials();
        let weaver = Weaver::new(handle.clone(), credentials, mesh.beside.clone());
        let weaver = Arc::new(weaver);
        tokio::spawn(Arc::clone(&weaver).follow());
        return tidied(move |model, generation| weaver.tell(model, generation));
    }
    let publishing = handle.clone();
    tidied(move |model, generation| {
        let applied = publishing.publish(model, generation);
        let errors = applied.listener_errors.into_iter();
        errors.map(|(name, why)| (name.to_string(), why)).collect()
    })
}

/// It runs on a thread that sleeps afterwards, and would keep what it has freed.
fn tidied(
    apply: impl Fn(Arc<Model>, u64) -> Vec<(String, String)> + Send + Sync + 'static,
) -> Apply {
    Arc::new(move |model, generation| {
        let unbound = apply(model, generation);
        weir_sys::release_memory();
        unbound
    })
}

fn start_follower(
    plan: &Plan,
    access: Access,
    locality: Option<&Locality>,
    apply: Apply,
    handle: &Handle,
    store: Option<Store>,
) -> Result<Follower, Failure> {
    let mut node = weir_xds_client::node(&plan.node, locality, env!("CARGO_PKG_VERSION"));
    if let Some(mesh) = &plan.mesh
        && let Some(beside) = &mesh.beside
    {
        node = weir_xds_client::beside(node, beside.service.as_str(), mesh.calls.as_deref());
    }
    let options = weir_xds_client::Options {
        node,
        control: plan.control.clone(),
        access,
        variant: plan.variant,
        limits: Limits::default(),
        load: Some(load::of(handle, |listener| listener != INBOUND)),
        tidy: weir_sys::release_memory,
    };
    Ok(Follower::start(options, store, apply)?)
}

/// Where the last good state is kept, else why it is not. A proxy without such a place serves all the same, and says so: a
/// dead disk must not keep it from starting.
fn open_store(plan: &Plan) -> (Option<Store>, Option<String>) {
    let opened = match &plan.state_dir {
        Some(dir) => Store::open(&dir.join(DIRECTORY), &plan.node).map_err(|e| e.to_string()),
        None => Err("there is no state directory; name one with --state-dir".into()),
    };
    match opened {
        Ok(store) => (Some(store), None),
        Err(error) => {
            tracing::error!(
                "THE LAST GOOD STATE IS NOT KEPT: {error}; after a restart nothing is served until a control plane answers"
            );
            (None, Some(error))
        }
    }
}

//! `weir run` and `weir demo` from the inside: discovery, control plane and data plane in one process.
//!
//! Three kinds of threads: the data workers of the proxy, one runtime for the control plane (this thread), one
//! for the admin server, so that neither a slow scrape nor a large re-list is felt by a request. A generation
//! flows one way: `Control::models` -> [`publish`] -> `Handle::publish`, and what became of it flows back
//! through `Control::applied`.

pub(crate) mod admin;
mod app;
pub(crate) mod control;
pub(crate) mod docker;
pub(crate) mod follow;
mod house;
pub(crate) mod identity;
pub(crate) mod limits;
mod load;
pub(crate) mod logging;
mod operate;
pub(crate) mod plan;
mod publish;
pub(crate) mod socket;
mod weave;

use std::sync::Arc;
use std::time::Duration;

use weir_control::xds::{Waiting, XdsServer};
use weir_control::{Control, ControlOptions};
use weir_proxy::{Handle, Options, Proxy};

use crate::exit::{Exit, Failure, Outcome};
use crate::signals::{Ending, survive_hangup};
use crate::state_dir;
use admin::AdminServer;
use house::keep_house;
use plan::Plan;

/// What was started, for whoever wants to print it.
pub(crate) struct Started {
    /// Where the admin API is, as `--admin` takes it.
    pub(crate) admin: String,
}

/// Runs until a signal, or until `limit` where one is given; then drains (semantics 35).
///
/// # Errors
/// What keeps it from starting: a taken port, an unusable state directory, no socket of an engine.
pub(crate) fn run(plan: Plan, limit: Option<Duration>, started: impl FnOnce(&Started)) -> Outcome {
    limits::raise_open_files();
    docker::preflight_all(&plan.settings)?;
    let admin = AdminServer::bind(&plan.settings.admin.bind)?;
    let proxy = start_proxy(&plan)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        survive_hangup()?;
        let handle = proxy.handle();
        let options = with_proxy(control_options(&plan, &admin), &handle);
        let control = Control::start(options)
            .await
            .map_err(|e| Failure::runtime(e.to_string()))?;
        let edge = publish::Edge::of(&control)?;
        let models = publish::first(&control, &handle, edge.as_ref()).await?;
        let following = publish::follow(models, control.clone(), handle.clone(), edge);
        let following = tokio::spawn(following);
        let xds = plan.settings.control.as_ref();
        let xds = xds.map(|settings| XdsServer::start(&control, settings, Waiting::default()));
        let xds = xds
            .transpose()
            .map_err(|e| Failure::runtime(e.to_string()))?;
        let url = admin.url();
        let admin = admin.serve(router(&handle, &control))?;
        tracing::info!(admin = %url, "serving");
        started(&Started { admin: url });
        tokio::spawn(keep_house());
        if plan.settings.control.is_some() && plan.settings.mesh.is_some() {
            tokio::spawn(load::report(handle.clone(), control.clone()));
        }

        wait(&mut ending, limit).await;
        let (grace, drain) = (plan.settings.grace_period, plan.settings.drain_timeout);
        following.abort();
        // Another process may be starting on the same state already, so that is given up at once.
        let drained = drain_or_leave(proxy.shutdown(grace, drain), &mut ending);
        let (exit, ()) = tokio::join!(drained, control.hand_over());
        control.stop();
        if let Some(xds) = xds {
            xds.stop();
        }
        admin.stop();
        Ok(exit)
    })
}

/// Waits for a signal, or for the limit.
async fn wait(ending: &mut Ending, limit: Option<Duration>) {
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        signal = ending.next() => tracing::info!("{signal}: draining; once more leaves at once"),
        () = limit => {}
    }
}

/// Waits for the drain to end; a second signal does not.
pub(crate) async fn drain_or_leave(drain: impl Future<Output = bool>, ending: &mut Ending) -> Exit {
    tokio::select! {
        complete = drain => {
            if !complete {
                tracing::warn!("the drain timeout is over; what was still in flight is cut off");
            }
            Exit::Ok
        }
        signal = ending.next() => {
            tracing::warn!("{signal} again: leaving at once");
            Exit::Failure
        }
    }
}

fn start_proxy(plan: &Plan) -> Result<Proxy, Failure> {
    let options = Options {
        workers: plan.workers,
        access_log: plan.settings.access_log,
        locality: plan.settings.locality.clone(),
        overload: plan.settings.overload.clone(),
        ..Options::default()
    };
    Proxy::start(options).map_err(|e| Failure::runtime(e.to_string()))
}

/// What the plan says of the control plane, with or without a data plane in this process.
fn control_options(plan: &Plan, admin: &AdminServer) -> ControlOptions {
    let mut server = plan.settings.admin.clone();
    server.bind = admin.address();
    ControlOptions {
        base: vec![plan.base.clone()],
        files: plan.files.clone(),
        docker: plan.settings.docker.clone(),
        swarm: plan.settings.swarm.clone(),
        dns: plan.settings.dns.clone(),
        endpoint_files: plan.settings.endpoint_files.clone(),
        state_dir: state_dir::choose(plan.settings.state_dir.as_deref()),
        history: plan.settings.history,
        mesh: plan.settings.mesh.clone(),
        embedded: true,
        admin: server,
        settings: plan.file_settings.clone(),
        version: env!("CARGO_PKG_VERSION"),
        ..ControlOptions::default()
    }
}

/// Asks this process's data plane what is asked of one.
fn with_proxy(options: ControlOptions, handle: &Handle) -> ControlOptions {
    let (observing, asking) = (handle.clone(), handle.clone());
    ControlOptions {
        observed: Arc::new(move |service| observing.observed_split(service)),
        ready: Arc::new(move || {
            let readiness = asking.ready();
            (readiness.ready, readiness.reason)
        }),
        operate: operate::by(handle.clone()),
        ..options
    }
}

/// The admin API: what the data plane shows, what the control plane shows and changes, and both in `/metrics`.
fn router(handle: &Handle, control: &Control) -> axum::Router {
    let counting = control.clone();
    let data = handle.router_with(Arc::new(move || counting.metrics_text()));
    let all = data.merge(weir_control::api::router(control.clone()));
    weir_control::api::protect(all, control)
}

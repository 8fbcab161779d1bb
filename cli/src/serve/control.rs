//! `weir control` from the inside: as [`super::run`] without a data plane, and with an xDS server in its place.

use std::sync::Arc;

use weir_control::operate::EndpointRefused;
use weir_control::xds::{Waiting, XdsServer};
use weir_control::{Control, ControlOptions, api};

use super::admin::AdminServer;
use super::plan::Plan;
use super::{control_options, docker, keep_house, limits};
use crate::exit::{Exit, Failure, Outcome};
use crate::signals::{Ending, survive_hangup};

const NO_SECTION: &str = "the configuration has no control section, so no proxy could follow";

/// Runs until a signal.
///
/// # Errors
/// What keeps it from starting: no `control:` section, a taken port, an unusable certificate or state directory.
pub(crate) fn run(plan: &Plan) -> Outcome {
    let Some(settings) = &plan.settings.control else {
        return Err(Failure::new(Exit::Invalid, NO_SECTION)
            .help("to try it on this machine: control: { bind: 127.0.0.1:9902, insecure: true }")
            .help("for other machines give tls and nodes, see docs/control-plane.md"));
    };
    limits::raise_open_files();
    docker::preflight_all(&plan.settings)?;
    let admin = AdminServer::bind(&plan.settings.admin.bind)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ending = Ending::listen()?;
        survive_hangup()?;
        let waiting = Waiting::default();
        let control = Control::start(options(plan, &admin, &waiting))
            .await
            .map_err(|e| Failure::runtime(e.to_string()))?;
        let xds = XdsServer::start(&control, settings, waiting)
            .map_err(|e| Failure::runtime(e.to_string()))?;
        let (url, address) = (admin.url(), xds.address());
        let routes = api::router(control.clone()).merge(api::standalone(control.clone()));
        let admin = admin.serve(api::protect(routes, &control))?;
        tracing::info!(admin = %url, control = %address, "serving proxies");
        tokio::spawn(keep_house());

        let signal = ending.next().await;
        tracing::info!("{signal}: leaving; proxies go on with what they have");
        // Another process may be starting on the same state already.
        control.hand_over().await;
        control.stop();
        xds.stop();
        admin.stop();
        Ok(Exit::Ok)
    })
}

fn options(plan: &Plan, admin: &AdminServer, waiting: &Waiting) -> ControlOptions {
    let asking = waiting.clone();
    ControlOptions {
        embedded: false,
        observed: Arc::new(|_| Vec::new()),
        ready: Arc::new(move || asking.ready()),
        operate: Arc::new(|_| Err(EndpointRefused::Unattached)),
        ..control_options(plan, admin)
    }
}

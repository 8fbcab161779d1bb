//! What this proxy sent to each service, as a control plane is told of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_control::Control;
use weir_proxy::Handle;
use weir_xds_client::report::{Load, Reports, Served};

/// How often a proxy in the control plane's own process reports: as often as that asks others to.
const EVERY: Duration = Duration::from_secs(10);

/// What went to each service from listeners of which `counts` is true by their names: in a sidecar from the app alone.
pub(super) fn of(handle: &Handle, counts: fn(&str) -> bool) -> Load {
    let handle = handle.clone();
    Arc::new(move || {
        let served = handle.served(counts);
        let model = Arc::clone(&handle.snapshot().model);
        let secured = |name: &str| {
            let service = model.service(name);
            service.is_some_and(|service| service.mesh.is_some() && service.tls.is_some())
        };
        served
            .into_iter()
            .map(|(service, served)| Served {
                secured: secured(&service),
                service,
                succeeded: served.succeeded,
                failed: served.failed,
                buckets: served.buckets,
            })
            .collect()
    })
}

/// Reports to the control plane of this process for as long as it runs.
pub(super) async fn report(handle: Handle, control: Control) {
    let load = of(&handle, |_| true);
    let (mut reports, mut since) = (Reports::default(), Instant::now());
    loop {
        tokio::time::sleep(EVERY).await;
        let stats = reports.next(load(), since.elapsed());
        since = Instant::now();
        control.report(&stats);
    }
}

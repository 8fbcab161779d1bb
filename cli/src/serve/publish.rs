//! From the control plane's generations to the data plane, and what became of them back.

use std::time::Duration;

use tokio::sync::watch;
use weir_control::{Control, Published};
use weir_proxy::Handle;

use crate::exit::Failure;

/// Puts the first generation in force, which must work: a port that is taken now is a mistake to show, not
/// to live with.
///
/// # Errors
/// Names each listener that could not be bound.
pub(super) async fn first(
    control: &Control,
    handle: &Handle,
) -> Result<watch::Receiver<Published>, Failure> {
    let mut models = control.models();
    let published = models.borrow_and_update().clone();
    let errors = publish(control, handle, published).await;
    if errors.is_empty() {
        return Ok(models);
    }
    Err(Failure::runtime(errors.join("; "))
        .help("change the listener's bind in the configuration, or give --listen"))
}

/// How long a port that was taken is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Puts each new generation in force, the newest where several came at once; one with a listener that could not be
/// bound is tried again, for whoever holds the port may let it go. Ends with the control plane.
pub(super) async fn follow(
    mut models: watch::Receiver<Published>,
    control: Control,
    handle: Handle,
) {
    let mut failed: Vec<String> = Vec::new();
    loop {
        let again = !failed.is_empty();
        tokio::select! {
            changed = models.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if again => {}
        }
        let published = models.borrow_and_update().clone();
        let errors = publish(&control, &handle, published).await;
        for error in errors.iter().filter(|error| !failed.contains(error)) {
            tracing::error!("{error}");
        }
        failed = errors;
    }
}

/// Publishes off this runtime, for building a snapshot of many routes takes a moment.
async fn publish(control: &Control, handle: &Handle, published: Published) -> Vec<String> {
    let Published { generation, model } = published;
    if generation == 0 {
        return Vec::new();
    }
    let worker = handle.clone();
    let publishing = tokio::task::spawn_blocking(move || worker.publish(model, generation));
    let errors: Vec<String> = match publishing.await {
        Ok(applied) => {
            let errors = applied.listener_errors.into_iter();
            errors
                .map(|(name, error)| format!("listener {name}: {error}"))
                .collect()
        }
        Err(error) => vec![format!(
            "generation {generation} could not be applied: {error}"
        )],
    };
    control.applied(generation, errors.clone());
    errors
}

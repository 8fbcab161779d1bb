//! From the control plane's generations to the data plane, and what became of them back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_control::{Control, EdgeIdentity, Published};
use weir_identity::Identity;
use weir_plan::mesh::{Credentials, weave, with_modes};
use weir_proxy::Handle;

use crate::exit::Failure;

/// This proxy's identity in the mesh that it is an edge of.
pub(super) struct Edge(watch::Receiver<Arc<EdgeIdentity>>, Arc<Credentials>);

impl Edge {
    /// # Errors
    /// Where the authority does not sign, or what it signed does not fit together.
    pub(super) fn of(control: &Control) -> Result<Option<Self>, Failure> {
        let identities = control.edge().map_err(Failure::runtime)?;
        let edge = identities.map(|mut identities| -> Result<Self, String> {
            let first = credentials(&identities.borrow_and_update())?;
            Ok(Self(identities, first))
        });
        edge.transpose().map_err(Failure::runtime)
    }

    fn now(&self) -> Arc<Credentials> {
        Arc::clone(&self.1)
    }
}

/// Waits until there is another identity.
async fn renewed(edge: &mut Option<Edge>) {
    let Some(Edge(identities, now)) = edge else {
        return std::future::pending().await;
    };
    if identities.changed().await.is_err() {
        // The control plane is ending, and this with it.
        return std::future::pending().await;
    }
    match credentials(&identities.borrow_and_update()) {
        Ok(next) => *now = next,
        Err(error) => tracing::error!("mesh: the renewed identity is not used: {error}"),
    }
}

fn credentials(edge: &EdgeIdentity) -> Result<Arc<Credentials>, String> {
    let (chain, key) = (edge.chain.clone(), edge.key.clone_key());
    let own = Identity::new(chain, key, edge.bundle.clone());
    let own = own.map_err(|error| error.to_string())?;
    Ok(super::identity::credentials(&own))
}

/// Puts the first generation in force, which must work: a port that is taken now is a mistake to show, not
/// to live with.
///
/// # Errors
/// Names each listener that could not be bound.
pub(super) async fn first(
    control: &Control,
    handle: &Handle,
    edge: Option<&Edge>,
) -> Result<watch::Receiver<Published>, Failure> {
    let mut models = control.models();
    let published = models.borrow_and_update().clone();
    let errors = publish(control, handle, published, edge.map(Edge::now)).await;
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
    mut edge: Option<Edge>,
) {
    let mut failed: Vec<String> = Vec::new();
    loop {
        let again = !failed.is_empty();
        tokio::select! {
            changed = models.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if again => {}
            () = renewed(&mut edge) => {}
        }
        let published = models.borrow_and_update().clone();
        let now = edge.as_ref().map(Edge::now);
        let errors = publish(&control, &handle, published, now).await;
        for error in errors.iter().filter(|error| !failed.contains(error)) {
            tracing::error!("{error}");
        }
        failed = errors;
    }
}

/// Publishes off this runtime, for building a snapshot of many routes takes a moment.
async fn publish(
    control: &Control,
    handle: &Handle,
    published: Published,
    edge: Option<Arc<Credentials>>,
) -> Vec<String> {
    let Published { generation, model } = published;
    if generation == 0 {
        return Vec::new();
    }
    let worker = handle.clone();
    let publishing = tokio::task::spawn_blocking(move || {
        let model = match edge {
            Some(edge) => Arc::new(weave(&with_modes(&model), &edge, None)),
            None => model,
        };
        worker.publish(model, generation)
    });
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

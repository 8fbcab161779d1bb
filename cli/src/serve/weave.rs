//! Putting in force what was told, with this proxy's identity in it, and again when either changes.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use weir_config::model::Model;
use weir_plan::mesh::{Beside, Credentials, closed, weave};
use weir_proxy::Handle;

/// What was told last, and what it was told with.
pub(crate) struct Weaver {
    handle: Handle,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
    beside: Option<Beside>,
    told: Mutex<Option<(Arc<Model>, u64)>>,
}

impl Weaver {
    pub(crate) fn new(
        handle: Handle,
        credentials: watch::Receiver<Option<Arc<Credentials>>>,
        beside: Option<Beside>,
    ) -> Self {
        Self {
            handle,
            credentials,
            beside,
            told: Mutex::default(),
        }
    }

    /// Puts a model in force, and returns the listeners that could not be bound with the reasons. While there is no identity
    /// that holds, nothing of the mesh is in it. Blocks.
    pub(crate) fn tell(&self, model: Arc<Model>, generation: u64) -> Vec<(String, String)> {
        // Held until it is in force: what is told and what renews the identity come from two threads.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Some((model, generation));
        self.publish(told.as_ref())
    }

    /// The same model with the identity that there is now. Blocks.
    pub(crate) fn renew(&self) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for (listener, why) in self.publish(told.as_ref()) {
            tracing::warn!(listener, "not bound: {why}");
        }
    }

    fn publish(&self, told: Option<&(Arc<Model>, u64)>) -> Vec<(String, String)> {
        let credentials = self.credentials.borrow().clone();
        let Some((model, generation)) = told else {
            return Vec::new();
        };
        let woven = match credentials {
            Some(credentials) => weave(model, &credentials, self.beside.as_ref()),
            None => closed(model, self.beside.as_ref()),
        };
        let applied = self.handle.publish(Arc::new(woven), *generation);
        let errors = applied.listener_errors.into_iter();
        errors.map(|(name, why)| (name.to_string(), why)).collect()
    }

    /// Follows the identity for as long as there is one to come.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut credentials = self.credentials.clone();
        while credentials.changed().await.is_ok() {
            let weaver = Arc::clone(&self);
            // Compiling takes a moment, which a signal must not wait for.
            if let Err(error) = tokio::task::spawn_blocking(move || weaver.renew()).await {
                tracing::error!(%error, "the renewed identity could not be put in force");
            }
        }
    }
}

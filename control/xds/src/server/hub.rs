//! One view for all nodes that may see the same and are told it in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use weir_wire::Resources;

use super::agent::Agent;
use super::gate::Sidecar;
use crate::view::View;

/// Nodes that are told the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The listeners that they may see; `None`: all.
    pub listeners: Option<BTreeSet<String>>,
    /// They are sidecars of a service.
    pub sidecar: Option<Sidecar>,
    pub agent: Agent,
}

/// What a group is to know.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    pub generation: u64,
    pub resources: Resources,
    /// What could not be said to this kind of client, in words.
    pub left_out: Vec<String>,
}

/// Makes the resources of a group from what is published at the time. It is called off the runtime, once for each view, and may
/// keep what it made for the next one.
pub type Encoding = Box<dyn FnMut() -> Encoded + Send>;

/// Knows how each group is told.
pub trait Encode: Send + Sync + 'static {
    /// Begins to tell a group.
    fn begin(&self, group: &Group) -> Encoding;
}

/// The views of all groups that somebody follows.
pub struct Hub {
    encode: Arc<dyn Encode>,
    groups: Mutex<BTreeMap<Group, Followed>>,
}

/// A group that somebody follows.
struct Followed {
    sender: watch::Sender<Told>,
    encoding: Encoding,
}

/// What a group is told now.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) view: Arc<View>,
    pub(crate) left_out: Arc<[String]>,
}

impl Hub {
    /// A hub without followers.
    #[must_use]
    pub fn new(encode: Arc<dyn Encode>) -> Self {
        Self {
            encode,
            groups: Mutex::default(),
        }
    }

    /// Follows a group's views; its first is made here. `None` if it cannot be made.
    pub(crate) async fn follow(&self, group: Group) -> Option<watch::Receiver<Told>> {
        let mut groups = self.groups.lock().await;
        if let Some(followed) = groups.get(&group) {
            return Some(followed.sender.subscribe());
        }
        let (told, encoding) = make(self.encode.begin(&group), None).await?;
        let (sender, receiver) = watch::channel(told);
        groups.insert(group, Followed { sender, encoding });
        Some(receiver)
    }

    /// Makes every group's view anew and hands it out. Groups that nobody follows any more are dropped. Returns how many
    /// resources changed, over all groups.
    pub async fn refresh(&self) -> usize {
        let mut groups = self.groups.lock().await;
        let mut changed = 0;
        for (group, followed) in std::mem::take(&mut *groups) {
            let Followed { sender, encoding } = followed;
            if sender.receiver_count() == 0 {
                continue;
            }
            let before = Arc::clone(&sender.borrow().view);
            let encoding = match make(encoding, Some(before)).await {
                Some((told, encoding)) => {
                    changed += told.view.changed();
                    sender.send_replace(told);
                    encoding
                }
                // What it kept is gone with it.
                None => self.encode.begin(&group),
            };
            groups.insert(group, Followed { sender, encoding });
        }
        changed
    }
}

/// Makes a view off the runtime. An encoder that panics costs its nodes this one view, not the server.
async fn make(mut encoding: Encoding, before: Option<Arc<View>>) -> Option<(Told, Encoding)> {
    let making = tokio::task::spawn_blocking(move || {
        let encoded = encoding();
        let view = match &before {
            Some(before) => before.next(encoded.generation, &encoded.resources),
            None => View::new(encoded.generation, encoded.resources),
        };
        let told = Told {
            view: Arc::new(view),
            left_out: encoded.left_out.into(),
        };
        (told, encoding)
    });
    making
        .await
        .inspect_err(|error| {
            tracing::error!(%error, "a view could not be made; its nodes keep what they have");
        })
        .ok()
}

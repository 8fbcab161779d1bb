//! Label values as numbers, so that a counter is found by comparing integers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A label value; equal ids are equal texts for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LabelId(pub u32);

/// The labels of a request's series; the id of the empty text stands for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeriesIds {
    pub listener: LabelId,
    pub route: LabelId,
    pub service: LabelId,
    pub version: LabelId,
    /// Who called, by an identity that was proved.
    pub source: LabelId,
}

/// All label values that configuration has ever named, and the identities that were proved. No request can add to it.
#[derive(Debug)]
pub struct Interner {
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    ids: HashMap<Arc<str>, LabelId>,
    /// By id.
    texts: Vec<Arc<str>>,
}

impl Default for Interner {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        let ids = HashMap::from([(Arc::clone(&empty), LabelId(0))]);
        Self {
            inner: RwLock::new(Inner {
                ids,
                texts: vec![empty],
            }),
        }
    }
}

impl Interner {
    /// The number of a text.
    pub fn id(&self, text: &str) -> LabelId {
        if let Some(id) = self
            .inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .ids
            .get(text)
        {
            return *id;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let text: Arc<str> = Arc::from(text);
        if let Some(id) = inner.ids.get(&text) {
            return *id;
        }
        // Four billion names do not fit into memory before the number wraps.
        let id = LabelId(inner.texts.len() as u32);
        inner.ids.insert(Arc::clone(&text), id);
        inner.texts.push(text);
        id
    }

    /// The text of a number; empty for one that was never given out.
    #[must_use]
    pub fn text(&self, id: LabelId) -> Arc<str> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .texts
            .get(id.0 as usize)
            .or_else(|| inner.texts.first())
            .cloned()
            .unwrap_or_else(|| Arc::from(""))
    }
}

//! What goes into one response, and how much of it.

use std::sync::Arc;

use weir_wire::Resource;

/// One step of the client's: to this resource, or to none.
#[derive(Debug, Clone)]
pub struct Move {
    pub name: String,
    pub to: Option<Arc<Resource>>,
}

/// How much goes into one response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) resources: usize,
}

/// A response being filled.
pub(super) struct Basket {
    pub(super) moves: Vec<Move>,
    bytes: usize,
    budget: Budget,
}

impl Basket {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            moves: Vec::new(),
            bytes: 0,
            budget,
        }
    }

    /// Whether it still fitted. The first always does.
    pub(super) fn put(&mut self, name: &str, to: Option<&Arc<Resource>>) -> bool {
        let bytes = name.len() + to.map_or(0, |to| to.body.value.len());
        let full = self.moves.len() >= self.budget.resources
            || self.bytes.saturating_add(bytes) > self.budget.bytes;
        if full && !self.moves.is_empty() {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.moves.push(Move {
            name: name.to_owned(),
            to: to.cloned(),
        });
        true
    }
}

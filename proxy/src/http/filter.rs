//! Filters, compiled with the rule: what a request asks of them is done already.

pub(crate) mod limit;
pub(crate) mod mirror;
mod redirect;
mod rewrite;

use std::sync::Arc;

use weir_config::model::{Fault, Filter, HeaderEdits, Redirect, Rewrite};

pub(crate) use redirect::location;
pub(crate) use rewrite::rewritten;

use super::client::Client;
use super::h1::write::line;

/// The field of [`Filters::hsts`].
pub(crate) const HSTS: &str = "Strict-Transport-Security";

/// The filters of one rule.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    pub(crate) request: Edits,
    pub(crate) response: Edits,
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) reply: Option<Reply>,
    pub(crate) fault: Option<Fault>,
    /// Told to clients that speak TLS (RFC 6797).
    pub(crate) hsts: Option<Arc<str>>,
    /// gRPC-Web is taken for what it is.
    pub(crate) grpc_web: bool,
}

/// A filter that answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Redirect(Redirect),
    Direct {
        status: u16,
        body: Arc<str>,
        content_type: Arc<str>,
    },
}

/// Edits of a head, merged in their order: take out what is named, then add.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Edits {
    pub(crate) drop: Vec<Arc<str>>,
    pub(crate) add: Vec<(Arc<str>, Arc<str>)>,
}

impl Filters {
    pub(crate) fn compile(filters: &[Filter]) -> Self {
        let mut compiled = Self::default();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edits) => compiled.request.merge(edits),
                Filter::ResponseHeaders(edits) => compiled.response.merge(edits),
                Filter::Rewrite(rewrite) => compiled.rewrite = Some(rewrite.clone()),
                Filter::Redirect(redirect) => {
                    compiled.reply_first(Reply::Redirect(redirect.clone()))
                }
                Filter::DirectResponse {
                    status,
                    body,
                    content_type,
                } => compiled.reply_first(Reply::Direct {
                    status: *status,
                    body: Arc::clone(body),
                    content_type: Arc::clone(content_type),
                }),
                Filter::Fault(fault) => compiled.fault = Some(fault.clone()),
                // What they need outlives this snapshot, or refers to the rest of it: the rule's table holds them.
                Filter::RateLimit(_) | Filter::Mirror(_) => {}
                Filter::Hsts(value) => compiled.hsts = Some(Arc::clone(value)),
                Filter::GrpcWeb => compiled.grpc_web = true,
            }
        }
        compiled
    }

    /// Writes what browsers are told of TLS, over TLS alone (RFC 6797, section 7.2); whether there was something to say.
    pub(crate) fn say_hsts(&self, client: &Client, out: &mut Vec<u8>) -> bool {
        let Some(value) = self.hsts.as_ref().filter(|_| client.is_secure()) else {
            return false;
        };
        line(out, HSTS.as_bytes(), value.as_bytes());
        true
    }

    fn reply_first(&mut self, reply: Reply) {
        if self.reply.is_none() {
            self.reply = Some(reply);
        }
    }
}

impl Edits {
    /// Whether a field of this name is taken out.
    pub(crate) fn drops(&self, name: &[u8]) -> bool {
        self.drop
            .iter()
            .any(|drop| name.eq_ignore_ascii_case(drop.as_bytes()))
    }

    fn merge(&mut self, edits: &HeaderEdits) {
        for name in edits
            .remove
            .iter()
            .chain(edits.set.iter().map(|(name, _)| name))
        {
            self.add.retain(|(added, _)| added != name);
            if !self.drop.contains(name) {
                self.drop.push(Arc::clone(name));
            }
        }
        self.add.extend(edits.set.iter().chain(&edits.add).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_filter_undoes_an_earlier_one() {
        let pair = |n: &str, v: &str| (Arc::from(n), Arc::from(v));
        let first = HeaderEdits {
            set: vec![pair("a", "1")],
            add: vec![pair("b", "1")],
            remove: vec![],
        };
        let second = HeaderEdits {
            set: vec![pair("b", "2")],
            add: vec![],
            remove: vec!["a".into()],
        };
        let filters = Filters::compile(&[
            Filter::RequestHeaders(first),
            Filter::RequestHeaders(second),
        ]);
        assert_eq!(filters.request.add, [pair("b", "2")]);
        assert!(filters.request.drops(b"A") && filters.request.drops(b"B"));
    }
}

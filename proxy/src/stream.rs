//! What streams of TCP and UDP have in common: the way to an endpoint's service, and the record at the end.

pub(crate) mod authorize;
mod entry;
pub(crate) mod place;
pub(crate) mod standing;

use weir_decide::route::Request;

pub(crate) use entry::Entry;

use crate::snapshot::{ListenerId, ListenerTable};
use crate::upstream::local::Local;
use crate::upstream::pick::{self, Choice, NoChoice};

/// Why a stream leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWay {
    /// No route takes it.
    Route,
    Choice(NoChoice),
}

/// Picks the version of a service for a new stream, and notes the way in its entry.
pub(crate) fn choose(
    local: &Local,
    listener: ListenerId,
    table: &ListenerTable,
    entry: &mut Entry,
) -> Result<Choice, NoWay> {
    // The table of streams is one of requests whose rules take everything but by host.
    let nothing: &[(String, String)] = &[];
    let found = table.table.find(&Request {
        host: entry.server_name.as_deref().unwrap_or_default(),
        path: "/",
        query: None,
        method: "",
        headers: nothing,
    });
    let id = found.ok_or(NoWay::Route)?.id;
    let rule = &table.rules[id.index()];
    entry.routed(rule.route.name.clone(), rule.label);
    let choice = pick::version(local, listener, rule, id.index(), None).map_err(NoWay::Choice)?;
    entry.chosen(&choice.service, choice.version);
    Ok(choice)
}

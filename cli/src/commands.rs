//! One module per command: its arguments, its help, and what it does.

pub(crate) mod apply;
pub(crate) mod canary;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod control;
pub(crate) mod decide;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod docker_gate;
pub(crate) mod endpoint;
pub(crate) mod explain;
pub(crate) mod forward;
pub(crate) mod healthcheck;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod mesh;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sidecar;
pub(crate) mod status;
pub(crate) mod token;

use crate::output::Tone;

/// How an endpoint's state is painted, wherever it shows.
pub(crate) fn endpoint_tone(state: &str, available: bool) -> Tone {
    match (available, state) {
        (true, _) => Tone::Good,
        (false, "probing" | "draining") => Tone::Warn,
        (false, _) => Tone::Bad,
    }
}

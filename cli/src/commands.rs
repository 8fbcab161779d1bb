//! One module per command: its arguments, its help, and what it does.

pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod forward;
pub(crate) mod healthcheck;
pub(crate) mod list;
pub(crate) mod origin;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;

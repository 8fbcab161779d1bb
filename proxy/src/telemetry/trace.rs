//! Tracing: which trace a request is part of, who is told, and the spans that are recorded of it.
//!
//! A request that is traced carries a [`Traced`]: a few numbers, drawn or read from the caller's fields, and put into
//! the head that the endpoint gets. Only where the trace is recorded and there is somewhere to send spans to does it carry a
//! [`Recording`], and only that allocates. When the request has ended, what is known of it is copied into a [`span::Ended`] and goes
//! with others of the same worker to a bounded [`queue::Queue`], which the auxiliary thread empties: it
//! encodes and sends (`export`). A receiver that is slow or gone costs spans, which are counted, and never a request.
//!
//! There is a SERVER span for the request and a CLIENT span for each try (OpenTelemetry, semantic conventions for HTTP
//! spans); the endpoint becomes the child of the CLIENT span of the try that reached it.
//!
//! Nothing of this is touched while `tracing` is not configured, and fields of callers pass through as they came.

mod b3;
pub(crate) mod context;
pub(crate) mod export;
mod ids;
pub(crate) mod queue;
pub(crate) mod span;
mod traced;
pub(crate) mod w3c;

pub(crate) use ids::{SpanId, TraceId};
pub(crate) use traced::Traced;

//! HTTP/1.1 through the binary, seen from both of its sides.

mod expect;
mod flow;
mod framing;
mod headers;
mod hostile;
mod limits;
mod observe;
mod pause;
mod pool;
mod replay;
mod review;
mod targets;
mod upgrade;

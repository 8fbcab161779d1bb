//! Filters that hold requests back, copy them, or spoil them: rate limits, mirrors, faults.

mod calls;
mod fault;
mod limit;
mod mirror;

use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// Waits for a line with this text in the access log.
fn wait_logged(weir: &Weir, text: &str) {
    eventually(&format!("{text} in the access log"), || {
        weir.stdout().contains(text).then_some(())
    });
}

//! An origin in a process of its own, for tests that kill it: prints its address and answers every request with 200
//! after the milliseconds given, until its input ends. A third argument is where it listens.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use weir_tests::origin::Origin;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let wait = args.next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let wait = Duration::from_millis(wait);
    let origin = match args.next().and_then(|addr| addr.parse().ok()) {
        Some(addr) => Origin::slow_at(addr, &name, wait),
        None => Origin::slow(&name, wait),
    };
    writeln!(std::io::stdout(), "{}", origin.addr())?;
    std::io::stdout().flush()?;
    // Ends with whoever started it, however that ends.
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

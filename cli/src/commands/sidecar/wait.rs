//! `weir sidecar --wait -- COMMAND` where the sidecar is another process.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::client::{AdminAddress, Client, TokenSource, block_on};
use crate::exit::{Exit, Failure, Outcome};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// After this long it is said what is waited for, and again each time.
const WORD: u32 = 100;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the sidecar at that address is ready, and becomes the command. Waits for as long as it takes: an app that
/// starts without its sidecar reaches nobody.
pub(super) fn for_another(admin: &AdminAddress, command: &[String]) -> Outcome {
    let client = Client::new(admin.clone(), TokenSource::new(None)).with_timeout(TIMEOUT);
    let mut looks: u32 = 0;
    loop {
        let answer = block_on(client.look("/ready"));
        let why = match answer {
            Ok(answer) if answer.status.is_success() => break,
            Ok(answer) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
            Err(failure) => failure.to_string(),
        };
        looks += 1;
        if looks.is_multiple_of(WORD) {
            eprintln!("waiting for the sidecar at {admin}: {why}");
        }
        std::thread::sleep(PAUSE);
    }
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| Failure::new(Exit::Usage, "there is no command behind --"))?;
    // Returns only where it cannot be.
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::not_started(program, &error))
}

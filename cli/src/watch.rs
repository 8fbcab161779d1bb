//! `--watch`: the same view again and again.

use std::time::Duration;

use clap::Args;

use crate::client::block_on;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Tone, print};
use crate::units;

/// Options of commands that can be watched.
#[derive(Debug, Clone, Args)]
pub(crate) struct WatchArgs {
    /// Ask again and again until Ctrl-C; when piped, print only what changed
    #[arg(short, long)]
    watch: bool,
    /// Time between two looks with --watch
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::duration)]
    interval: Duration,
}

/// Prints what `render` gives, once or until Ctrl-C.
///
/// The first failure ends the command; a later one (Weir restarts) is shown and asked again.
///
/// # Errors
/// The first look's failure, or a stdout that fails.
pub(crate) fn show(
    args: &WatchArgs,
    printer: Printer,
    render: impl AsyncFn() -> Result<String, Failure>,
) -> Outcome {
    if !args.watch {
        print(&block_on(render())?)?;
        return Ok(Exit::Ok);
    }
    block_on(async {
        let mut shown = render().await?;
        draw(printer, &shown)?;
        loop {
            tokio::time::sleep(args.interval.max(Duration::from_millis(100))).await;
            let now = match render().await {
                Ok(text) => text,
                Err(failure) => format!("{}\n", printer.paint(Tone::Bad, &failure.to_string())),
            };
            if now != shown {
                draw(printer, &now)?;
                shown = now;
            }
        }
    })
}

/// On a terminal in place of the last view, else below it.
fn draw(printer: Printer, text: &str) -> Result<(), Failure> {
    match printer.terminal && !printer.is_data() {
        // Home, then clear each line's rest and all below: no flicker of an empty screen.
        true => print(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))),
        false => print(text),
    }
}

//! Instructions by `perf stat`, where the machine has counters.

use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

const EVENTS: &str = "instructions:u,instructions:k";

/// Instructions of user and kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instructions {
    pub(crate) user: u64,
    pub(crate) kernel: u64,
}

/// Whether perf is there and may count on this machine.
pub(crate) fn can_count() -> bool {
    let output = Command::new("perf")
        .args(["stat", "-x,", "-e", EVENTS, "true"])
        .output();
    output.is_ok_and(|output| {
        parse(&String::from_utf8_lossy(&output.stderr)).is_some_and(|counted| counted.user > 0)
    })
}

/// A running count.
pub(crate) struct Counter(Child);

impl Counter {
    /// Counts what these processes do from now on.
    pub(crate) fn start(pids: &[u32]) -> anyhow::Result<Self> {
        let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let child = Command::new("perf")
            .args(["stat", "-x,", "-e", EVENTS, "-p", &list.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("run perf")?;
        Ok(Self(child))
    }

    /// Ends the count.
    pub(crate) fn stop(self) -> anyhow::Result<Instructions> {
        // perf writes its result when it is interrupted.
        Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status()
            .context("interrupt perf")?;
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        parse(&text).with_context(|| format!("perf printed {text}"))
    }
}

fn parse(text: &str) -> Option<Instructions> {
    let count = |event: &str| {
        text.lines()
            .find(|line| line.contains(event))?
            .split(',')
            .next()?
            .parse()
            .ok()
    };
    Some(Instructions {
        user: count("instructions:u")?,
        kernel: count("instructions:k")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_its_absence_too() {
        let good = "1234,,instructions:u,1000,100.00,,\n5678,,instructions:k,1000,100.00,,\n";
        assert_eq!(
            parse(good),
            Some(Instructions {
                user: 1234,
                kernel: 5678
            })
        );
        assert_eq!(parse("<not supported>,,instructions:u,0,100.00,,\n"), None);
    }
}

//! Asking a running `weir` about itself: its admin server, its metrics, its client commands.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::Weir;
use crate::binary;
use crate::client::{Client, Response};
use crate::wait;

impl Weir {
    /// A GET at the admin address.
    ///
    /// # Errors
    /// As the connection gives them.
    pub fn try_admin(&self, target: &str) -> std::io::Result<Response> {
        let mut client = Client::try_connect(self.ports.admin)?;
        let host = self.ports.admin;
        client.wire.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))?;
        client
            .try_response("GET")?
            .ok_or_else(|| std::io::Error::other("closed without an answer"))
    }

    /// A GET at the admin address.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn admin(&self, target: &str) -> Response {
        self.try_admin(target)
            .unwrap_or_else(|e| panic!("GET {target} at the admin address: {e}"))
    }

    /// The JSON at an admin path.
    ///
    /// # Panics
    /// When the answer is not 200 with JSON.
    #[must_use]
    pub fn json(&self, target: &str) -> serde_json::Value {
        let response = self.admin(target);
        assert_eq!(response.status(), 200, "GET {target}: {}", response.text());
        serde_json::from_slice(&response.body.data)
            .unwrap_or_else(|e| panic!("GET {target}: {e}: {}", response.text()))
    }

    /// The sum of a metric family's samples whose labels contain all of these texts.
    #[must_use]
    pub fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let text = self.admin("/metrics").text();
        let samples = text.lines().filter(|line| {
            line.strip_prefix(family)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits for [`Weir::metric`] to be `count`: a request is counted when it has ended, which is a
    /// moment after its client has the last byte of the answer.
    ///
    /// # Panics
    /// When it is another number for all of [`wait::PATIENCE`]; the message says which.
    pub fn counts(&self, family: &str, labels: &[&str], count: f64) {
        let start = Instant::now();
        loop {
            let counted = self.metric(family, labels);
            if counted == count {
                return;
            }
            assert!(
                start.elapsed() < wait::PATIENCE,
                "{family} {labels:?} is {counted}, not {count}"
            );
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Runs a client command against it: `weir.cli(&["status"])`.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_command(args)
            .output()
            .expect("run the client command")
    }

    /// The client command of [`Weir::cli`], not yet run.
    #[must_use]
    pub fn cli_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary::weir());
        command
            .arg("--admin")
            .arg(format!("http://{}", self.ports.admin))
            .args(args);
        command
            .env("WEIR_STATE_DIR", self.state_dir())
            .env_remove("WEIR_TOKEN")
            .env("NO_COLOR", "1");
        command
    }

    /// The generation in force.
    ///
    /// # Panics
    /// When the status does not tell.
    #[must_use]
    pub fn generation(&self) -> u64 {
        let status = self.json("/api/v1/status");
        status["appliedGeneration"]
            .as_u64()
            .unwrap_or_else(|| panic!("no appliedGeneration in {status}"))
    }
}

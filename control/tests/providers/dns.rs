//! A name on a DNS server.

use std::sync::Mutex;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use weir_config::settings::{DnsLookup, RecordKind};
use weir_control::ControlOptions;

use super::{Source, address};
use crate::HOLD;
use crate::dns_server::{DnsServer, Mood};

pub(crate) struct Dns {
    server: DnsServer,
    /// In every answer from now on.
    spoiled: Mutex<bool>,
}

impl Source for Dns {
    async fn start() -> Self {
        Self {
            server: DnsServer::start().await,
            spoiled: Mutex::new(false),
        }
    }

    fn name() -> String {
        "dns:web/web.test:80/A".into()
    }

    fn options(&self) -> ControlOptions {
        let service = "web".parse().unwrap();
        let mut lookup = DnsLookup::new(service, "web.test", RecordKind::A, 80);
        lookup.resolvers = vec![self.server.address];
        lookup.min_ttl = Duration::from_millis(500);
        lookup.hold = HOLD;
        ControlOptions {
            dns: vec![lookup],
            ..ControlOptions::default()
        }
    }

    fn set(&self, hosts: &[u8]) {
        let mut addresses: Vec<String> = hosts.iter().copied().map(address).collect();
        if *self.spoiled.lock().unwrap() {
            addresses.push("127.0.0.1".into());
        }
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        self.server.addresses("web.test", 0, &addresses);
    }

    fn lose_all(&self) {
        self.server.addresses("web.test", 0, &[]);
    }

    fn lose_but(&self, host: u8) {
        self.set(&[host]);
    }

    fn down(&self) {
        self.server.mood(Mood::Code(ResponseCode::ServFail));
    }

    fn up(&self) {
        self.server.mood(Mood::Answer);
    }

    fn spoil(&self) -> &'static str {
        *self.spoiled.lock().unwrap() = true;
        self.set(&[1, 2]);
        "dns web.test A"
    }
}

//! Names that are looked up: the addresses behind one are endpoints of one service.
//!
//! An answer holds for its TTL, within bounds, and the next one replaces it as a whole. DNS tells no stop from a gap, so
//! nothing here empties a service: an answer without addresses (NXDOMAIN, no records, none that may be called) keeps what
//! is known and raises the alarm, and where more than half goes missing at once it is held for a while (semantics 36).
//! The order of an answer means nothing, as resolvers rotate it.
//!
//! Names are asked as they are written: no search domains, no `/etc/hosts`, no `getaddrinfo`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use weir_config::settings::{DnsLookup, RecordKind};

use self::ask::{AskError, Client, Reply};
use self::known::{Known, Seen, Taken};
use self::spot::Target;
use super::provider::{self, Answer, Desk, End, Provider, Words};
use crate::control::Shared;
use crate::watcher::Command;

mod ask;
mod known;
mod spot;

/// While a name has nothing, it is asked again at least this often, however long the absence is said to hold.
const ABSENT_AT_MOST: Duration = Duration::from_secs(5);

/// Looks a name up until the control plane stops.
pub(crate) fn watch(shared: &Arc<Shared>, lookup: DnsLookup, commands: mpsc::Sender<Command>) {
    provider::watch(shared, Dns::new(lookup), commands);
}

/// One lookup and what is known from it.
struct Dns {
    name: String,
    lookup: DnsLookup,
    known: Known,
    started: Instant,
}

impl Provider for Dns {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        let resolvers: Vec<String> = self
            .lookup
            .resolvers
            .iter()
            .map(ToString::to_string)
            .collect();
        let from = match resolvers.is_empty() {
            true => ask::SYSTEM.to_owned(),
            false => resolvers.join(", "),
        };
        format!(
            "{} {} from {from}",
            self.lookup.name,
            self.lookup.type_text()
        )
    }

    fn words(&self) -> Words {
        Words {
            source: "the resolver",
            things: "addresses",
            counted: "addresses",
        }
    }

    fn count(&self) -> usize {
        self.known.count()
    }

    async fn session(&mut self, desk: &mut Desk) -> End {
        match self.ask_on(desk).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

impl From<AskError> for End {
    fn from(error: AskError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Dns {
    fn new(lookup: DnsLookup) -> Self {
        Self {
            name: format!("dns:{}", lookup.id()),
            known: Known::new(&lookup),
            lookup,
            started: Instant::now(),
        }
    }

    /// Asks again whenever an answer has had its time. A session begins with reading who is to be asked, so that a
    /// resolver that moved is found after the old one has failed.
    async fn ask_on(&mut self, desk: &mut Desk) -> Result<Infallible, End> {
        // The service is there from the start, whatever becomes of the answer: its routes give 503, not 500.
        desk.tell(self.known.found(&self.name)).await?;
        let client = Client::open(&self.lookup)?;
        loop {
            let seen = self.ask(&client).await?;
            let (ttl, absence) = (seen.ttl, seen.absence.clone());
            let now = self.started.elapsed();
            let taken = self.known.take(now, seen);
            let wait = self.wait(ttl, &taken, now);
            desk.answered(verdict(&taken, absence), self.known.count());
            if taken.changed {
                desk.tell(self.known.found(&self.name)).await?;
            }
            sleep(wait).await;
        }
    }

    async fn ask(&self, client: &Client) -> Result<Seen, AskError> {
        let reply = match self.lookup.kind {
            RecordKind::Srv => client.services(&self.lookup.name).await?,
            RecordKind::A | RecordKind::Aaaa => {
                let reply = client
                    .addresses(&self.lookup.name, self.lookup.kind)
                    .await?;
                reply.map(|addresses| vec![Target::plain(self.lookup.port, addresses)])
            }
        };
        Ok(match reply {
            Reply::Found { value, ttl } => Seen {
                targets: value,
                ttl: Some(ttl),
                absence: None,
            },
            Reply::Absent { why, ttl } => Seen {
                targets: Vec::new(),
                ttl,
                absence: Some(why),
            },
        })
    }

    /// Until the next question: the answer's TTL within its bounds, and no later than the end of a hold.
    fn wait(&self, ttl: Option<Duration>, taken: &Taken, now: Duration) -> Duration {
        let (least, most) = (self.lookup.min_ttl, self.lookup.max_ttl);
        let most = match taken.absent {
            true => most.min(ABSENT_AT_MOST).max(least),
            false => most,
        };
        let wait = ttl.unwrap_or(least).clamp(least, most);
        let until_release = taken.until.map(|until| until.saturating_sub(now));
        until_release.map_or(wait, |until| wait.min(until.max(Duration::from_millis(10))))
    }
}

/// How an answer shows on the board.
fn verdict(taken: &Taken, absence: Option<String>) -> Answer {
    let mut answer = Answer {
        released: taken.released,
        ..Answer::default()
    };
    let held = taken.held;
    let absence = absence.or_else(|| {
        let none =
            "none of the addresses in the answer may be called; see the problems below".to_owned();
        taken.absent.then_some(none)
    });
    match absence {
        Some(why) if held > 0 => {
            answer.holding = Some(format!(
                "{why}; keeping the {held} known addresses until it has some"
            ));
        }
        Some(why) => answer.useless = Some(why),
        None if held > 0 => {
            answer.holding = Some(format!(
                "{held} addresses, more than half, vanished from the answer; keeping them for now"
            ));
        }
        None => {}
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(change: impl FnOnce(&mut DnsLookup)) -> Dns {
        let service = "web".parse().unwrap();
        let mut lookup = DnsLookup::new(service, "web.test", RecordKind::A, 80);
        change(&mut lookup);
        Dns::new(lookup)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn an_answer_holds_for_its_ttl_within_bounds() {
        let dns = dns(|lookup| lookup.min_ttl = secs(2));
        let taken = Taken::default();
        for (ttl, expected) in [(0, 2), (2, 2), (17, 17), (30, 30), (600, 30)] {
            assert_eq!(dns.wait(Some(secs(ttl)), &taken, secs(0)), secs(expected));
        }
    }

    // RFC 2308
    #[test]
    fn an_absence_holds_for_its_own_ttl_but_never_for_long() {
        let dns = dns(|_| {});
        let taken = Taken {
            absent: true,
            ..Taken::default()
        };
        assert_eq!(dns.wait(None, &taken, secs(0)), secs(1));
        assert_eq!(dns.wait(Some(secs(3)), &taken, secs(0)), secs(3));
        assert_eq!(dns.wait(Some(secs(3600)), &taken, secs(0)), secs(5));
    }

    // semantics 36
    #[test]
    fn the_end_of_a_hold_is_not_slept_through() {
        let dns = dns(|_| {});
        let taken = Taken {
            until: Some(secs(107)),
            ..Taken::default()
        };
        assert_eq!(dns.wait(Some(secs(20)), &taken, secs(100)), secs(7));
        assert_eq!(dns.wait(Some(secs(3)), &taken, secs(100)), secs(3));
    }
}

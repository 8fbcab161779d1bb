//! Which containers have been told to stop (semantics 34).
//!
//! The engine says `kill` when it sends the signal, while the container is still running and listed as running.
//! A container that was told to stop is marked from that event on; lists do not clear the mark, only its next
//! start does. Nothing here waits or asks: events go in, effects come out.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{EventMessage, EventMessageScopeEnum, EventMessageTypeEnum};

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Ignore,
    /// The list may have changed.
    Relist,
    /// A container is on its way out: publish before anything else, and list again.
    Drain,
}

/// Marks by container id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    stopping: BTreeMap<String, Mark>,
    /// Those whose process ended, by the number of the event: a list asked for earlier is wrong about them.
    dead: BTreeMap<String, u64>,
    /// Events taken.
    count: u64,
    last_nanos: Option<i128>,
    /// Events up to this time were taken in an earlier session.
    resumed_at: Option<i128>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// The event's time on the engine's clock, in nanoseconds.
    nanos: i128,
    /// The event's number.
    moment: u64,
}

impl Marks {
    /// A new stream of events begins, which may repeat some of those before.
    pub(crate) fn resume(&mut self) {
        self.resumed_at = self.last_nanos;
    }

    /// Takes an event. `stop_signal` tells the signal that a container's image names for stopping it.
    pub(crate) fn on_event(
        &mut self,
        event: &EventMessage,
        stop_signal: impl Fn(&str) -> Option<String>,
    ) -> Effect {
        if event.scope == Some(EventMessageScopeEnum::SWARM) || of_swarm(event.typ) {
            // Its time is that of the Swarm's leader, whose clock is not this engine's.
            return Effect::Relist;
        }
        let at = event.time_nano.map_or(0, i128::from);
        if at > 0 && self.resumed_at.is_some_and(|last| at <= last) {
            return Effect::Ignore;
        }
        self.count += 1;
        self.last_nanos = self.last_nanos.max(Some(at).filter(|at| *at > 0));
        let action = event.action.as_deref().unwrap_or_default();
        if matches!(action, "create" | "update" | "remove") {
            // Asked for because of services: a container or a network that is merely made changes nothing.
            return Effect::Ignore;
        }
        if event.typ == Some(EventMessageTypeEnum::NETWORK) {
            return Effect::Relist;
        }
        let actor = event.actor.as_ref();
        let Some(id) = actor.and_then(|actor| actor.id.clone()) else {
            return Effect::Relist;
        };
        let attribute = |name: &str| {
            actor
                .and_then(|actor| actor.attributes.as_ref())
                .and_then(|all| all.get(name))
                .cloned()
        };
        match action {
            "start" | "restart" => {
                self.stopping.remove(&id);
                self.dead.remove(&id);
                Effect::Relist
            }
            "kill" => {
                let sent = attribute("signal").and_then(|text| signal_number(&text));
                let own = stop_signal(&id).and_then(|text| signal_number(&text));
                match sent.is_none_or(|sent| STOPPING.contains(&sent) || Some(sent) == own) {
                    true => self.mark(id, at),
                    false => Effect::Ignore,
                }
            }
            "stop" => self.mark(id, at),
            "die" | "destroy" => {
                self.dead.insert(id.clone(), self.count);
                self.mark(id, at)
            }
            _ => Effect::Relist,
        }
    }

    fn mark(&mut self, id: String, at: i128) -> Effect {
        let mark = Mark {
            nanos: at,
            moment: self.count,
        };
        match self.stopping.insert(id, mark) {
            None => Effect::Drain,
            Some(_) => Effect::Relist,
        }
    }

    /// Whether a container is on its way out.
    pub(crate) fn is_stopping(&self, id: &str) -> bool {
        self.stopping.contains_key(id)
    }

    /// All that are.
    pub(crate) fn stopping(&self) -> BTreeSet<String> {
        self.stopping.keys().cloned().collect()
    }

    /// The moment, for [`Self::died_since`].
    pub(crate) fn now(&self) -> u64 {
        self.count
    }

    /// Whether the container's process ended after that moment and it was not started again.
    pub(crate) fn died_since(&self, id: &str, moment: u64) -> bool {
        self.dead.get(id).is_some_and(|at| *at > moment)
    }

    /// The time of the newest event on the engine's clock.
    pub(crate) fn last_nanos(&self) -> Option<i128> {
        self.last_nanos
    }

    /// Clears the mark of a container that was started after it: its start event was missed.
    pub(crate) fn saw_started(&mut self, id: &str, started_nanos: i128) {
        if self
            .stopping
            .get(id)
            .is_some_and(|mark| started_nanos > mark.nanos)
        {
            self.stopping.remove(id);
            self.dead.remove(id);
        }
    }

    /// Forgets what a list that was asked for at that moment does not hold any more.
    pub(crate) fn retain(&mut self, listed: &BTreeSet<String>, moment: u64) {
        self.stopping
            .retain(|id, mark| listed.contains(id) || mark.moment > moment);
        self.dead
            .retain(|id, at| listed.contains(id) || *at > moment);
    }
}

fn of_swarm(typ: Option<EventMessageTypeEnum>) -> bool {
    use EventMessageTypeEnum::{NODE, SERVICE};
    matches!(typ, Some(SERVICE | NODE))
}

/// SIGINT, SIGQUIT, SIGKILL, SIGTERM: an end, whatever the image says.
const STOPPING: [u32; 4] = [2, 3, 9, 15];

/// The number of `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3`, on Linux (signal(7), x86 and ARM).
fn signal_number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset = offset
            .strip_prefix('+')
            .unwrap_or("0")
            .parse::<u32>()
            .ok()?;
        return Some(34 + offset);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        let offset = offset
            .strip_prefix('-')
            .unwrap_or("0")
            .parse::<u32>()
            .ok()?;
        return 64_u32.checked_sub(offset);
    }
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let at = NAMES.iter().position(|known| *known == name)?;
    u32::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn event(action: &str, id: &str, nanos: i64, signal: Option<&str>) -> EventMessage {
        let attributes = signal.map(|signal| [("signal".to_owned(), signal.to_owned())].into());
        EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some(action.into()),
            actor: Some(EventActor {
                id: Some(id.into()),
                attributes,
            }),
            time_nano: Some(nanos),
            ..EventMessage::default()
        }
    }

    fn check(signal: &str, own: Option<&str>, expected: Effect) {
        let mut marks = Marks::default();
        let effect = marks.on_event(&event("kill", "a", 1, Some(signal)), |_| {
            own.map(str::to_owned)
        });
        assert_eq!(effect, expected, "{signal} with {own:?}");
        assert_eq!(marks.is_stopping("a"), expected == Effect::Drain);
    }

    // semantics 34
    #[test]
    fn only_a_signal_that_stops_is_a_stop() {
        for signal in ["15", "9", "2", "3", "SIGTERM", "KILL"] {
            check(signal, None, Effect::Drain);
        }
        check("1", None, Effect::Ignore);
        check("HUP", None, Effect::Ignore);
        check("10", Some("SIGTERM"), Effect::Ignore);
        check("10", Some("SIGUSR1"), Effect::Drain);
        check("28", Some("WINCH"), Effect::Drain);
        check("37", Some("SIGRTMIN+3"), Effect::Drain);
        check("15", Some("SIGQUIT"), Effect::Drain);
    }

    // semantics 34
    #[test]
    fn a_mark_stays_until_the_next_start() {
        let mut marks = Marks::default();
        let none = |_: &str| None;
        assert_eq!(
            marks.on_event(&event("kill", "a", 1, Some("15")), none),
            Effect::Drain
        );
        assert_eq!(
            marks.on_event(&event("health_status: healthy", "a", 2, None), none),
            Effect::Relist
        );
        assert!(marks.is_stopping("a"));
        assert_eq!(
            marks.on_event(&event("die", "a", 3, None), none),
            Effect::Relist
        );
        assert_eq!(
            marks.on_event(&event("start", "a", 4, None), none),
            Effect::Relist
        );
        assert!(!marks.is_stopping("a"));
    }

    #[test]
    fn a_list_asked_for_before_a_death_is_wrong_about_it() {
        let mut marks = Marks::default();
        let none = |_: &str| None;
        let moment = marks.now();
        marks.on_event(&event("die", "a", 1, None), none);
        assert!(marks.died_since("a", moment));
        assert!(!marks.died_since("a", marks.now()));
    }

    #[test]
    fn a_missed_start_is_seen_by_its_time() {
        let mut marks = Marks::default();
        marks.on_event(&event("kill", "a", 100, Some("15")), |_| None);
        marks.saw_started("a", 50);
        assert!(marks.is_stopping("a"));
        marks.saw_started("a", 101);
        assert!(!marks.is_stopping("a"));
    }

    #[test]
    fn a_replayed_event_counts_once() {
        let mut marks = Marks::default();
        let none = |_: &str| None;
        marks.on_event(&event("kill", "a", 5, Some("15")), none);
        marks.on_event(&event("start", "a", 6, None), none);
        marks.resume();
        assert_eq!(
            marks.on_event(&event("kill", "a", 5, Some("15")), none),
            Effect::Ignore
        );
        assert!(!marks.is_stopping("a"));
        assert_eq!(marks.last_nanos(), Some(6));
    }

    #[test]
    fn an_event_of_a_service_asks_for_a_list_and_sets_no_clock() {
        let mut marks = Marks::default();
        for action in ["create", "update", "remove"] {
            let mut event = event(action, "a", 900, None);
            event.typ = Some(EventMessageTypeEnum::SERVICE);
            assert_eq!(marks.on_event(&event, |_| None), Effect::Relist);
        }
        assert_eq!(marks.last_nanos(), None);
        let made = event("create", "a", 5, None);
        assert_eq!(marks.on_event(&made, |_| None), Effect::Ignore);
    }

    #[test]
    fn an_event_without_a_body_only_asks_for_a_list() {
        let mut marks = Marks::default();
        assert_eq!(
            marks.on_event(&EventMessage::default(), |_| None),
            Effect::Relist
        );
    }
}

//! Proxies: one line each, those in trouble in colour.

use weir_control::api::types::{Proxies, Proxy, ProxyState};

use crate::output::{Cell, Printer, Table, Tone};

/// One line per proxy.
pub(super) fn render(proxies: &Proxies, printer: Printer) -> String {
    let mut headings = vec![
        "PROXY",
        "STATE",
        "GENERATION",
        "LAG",
        "VERSION",
        "CONNECTED",
        "LEFT OUT",
        "WHY",
    ];
    if printer.is_wide() {
        headings.extend(["PROTOCOL", "PEER", "REQUESTS"]);
    }
    let mut table = Table::new(&headings);
    for proxy in &proxies.proxies {
        let generation = proxy
            .generation
            .map_or("-".into(), |acked| acked.to_string());
        let mut row: Vec<Cell> = vec![
            proxy.name.as_str().into(),
            state(proxy.state),
            generation.into(),
            lag(proxy).into(),
            dash(&proxy.version).into(),
            connected(proxy).into(),
            count(proxy.left_out.len()).into(),
            proxy.reason.clone().unwrap_or_default().into(),
        ];
        if printer.is_wide() {
            let requests: u64 = proxy.load.iter().map(|load| load.requests).sum();
            row.extend([
                Cell::from(dash(proxy.protocol.as_deref().unwrap_or_default())),
                dash(proxy.peer.as_deref().unwrap_or_default()).into(),
                count(usize::try_from(requests).unwrap_or(usize::MAX)).into(),
            ]);
        }
        table.row(row);
    }
    table.or_none(
        printer.color,
        "nobody follows: start one with weir proxy --control URL, see docs/control-plane.md",
    )
}

fn state(state: ProxyState) -> Cell {
    let tone = match state {
        ProxyState::Synced => Tone::Good,
        ProxyState::Syncing => Tone::Warn,
        ProxyState::Stale | ProxyState::Refused => Tone::Bad,
    };
    Cell::toned(state.text(), tone)
}

/// `2 for 1.4s`: generations and time.
fn lag(proxy: &Proxy) -> String {
    match (proxy.behind, proxy.lag_ms) {
        (0, _) => "-".to_owned(),
        (behind, 0) => behind.to_string(),
        (behind, ms) => format!("{behind} for {}.{}s", ms / 1000, ms % 1000 / 100),
    }
}

/// How long it has been connected, or since when it is not.
fn connected(proxy: &Proxy) -> String {
    match (&proxy.connected, &proxy.since) {
        (Some(at), _) => at.get(..19).unwrap_or(at).to_owned(),
        (None, Some(since)) if proxy.state == ProxyState::Stale => {
            format!("gone since {}", since.get(..19).unwrap_or(since))
        }
        _ => "-".to_owned(),
    }
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        text.to_owned()
    }
}

fn count(number: usize) -> String {
    match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn proxy(name: &str, state: ProxyState, generation: Option<u64>) -> Proxy {
        Proxy {
            name: name.into(),
            embedded: false,
            version: "weir 0.1.0".into(),
            state,
            reason: None,
            generation,
            behind: 7 - generation.unwrap_or(0),
            lag_ms: 0,
            connected: Some("2026-11-22T02:00:00.000Z".into()),
            since: None,
            protocol: Some("delta".into()),
            peer: Some("127.0.0.1:4711".into()),
            left_out: Vec::new(),
            load: Vec::new(),
        }
    }

    #[test]
    fn a_proxy_that_refused_shows_why_and_how_far_behind_it_is() {
        let refused = Proxy {
            reason: Some("cluster shop: no such balancer".into()),
            lag_ms: 1_450,
            ..proxy("edge-2", ProxyState::Refused, Some(5))
        };
        let proxies = Proxies {
            generation: 7,
            proxies: vec![proxy("edge-1", ProxyState::Synced, Some(7)), refused],
        };
        let printer = Printer {
            format: Format::Table,
            color: false,
            terminal: false,
        };
        let text = render(&proxies, printer);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("edge-1") && lines[1].contains("synced"),
            "{text}"
        );
        assert!(lines[2].contains("2 for 1.4s"), "{text}");
        assert!(
            lines[2].contains("cluster shop: no such balancer"),
            "{text}"
        );
    }
}

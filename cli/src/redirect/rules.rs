//! Which connections are redirected.

use std::net::IpAddr;

use clap::ValueEnum;

use super::TABLE;
use super::message::{Attributes, Batch, Expression, Header, Kind, Meta, expressions};
use super::network::Network;

/// How connections that others make to the app come to the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Interception {
    /// Their address is rewritten
    Redirect,
    /// They are handed over as they are
    Tproxy,
}

/// What is redirected in a workload's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Where the sidecar takes what the app connects to.
    pub(crate) outbound: u16,
    /// Where it takes what others connect to.
    pub(crate) inbound: u16,
    pub(crate) interception: Interception,
    /// The app's ports, which others connect to.
    pub(crate) ports: Vec<u16>,
    /// The user that the sidecar runs as: what that one connects to is left alone.
    pub(crate) user: u32,
    /// Ports of others that the app reaches without the sidecar, beside [`DNS`].
    pub(crate) exclude_ports: Vec<u16>,
    /// Networks that it reaches without the sidecar.
    pub(crate) exclude: Vec<Network>,
}

/// What a name resolves to says which service is meant, so resolvers are asked as they always were, over TCP, too.
pub(super) const DNS: u16 = 53;

/// The numbers of these protocols.
const TCP: u8 = 6;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The loopback interface has this number in every network namespace.
const LOOPBACK: u32 = 1;
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;
/// Where a TCP header has its flags, and those that tell what a packet is for (RFC 9293, section 3.1).
const FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0b1_0111;
const SYN: u8 = 0b10;

/// What a chain is for, and where packets pass it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    pub(super) kind: &'static str,
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) priority: i32,
}

/// Before others that change where a connection goes.
pub(super) const GOING_OUT: Hook = Hook {
    kind: "nat",
    number: OUTPUT,
    name: "output",
    priority: -100,
};
const COMING_IN: Hook = Hook {
    number: PREROUTING,
    name: "prerouting",
    ..GOING_OUT
};
/// Of every packet, not of a connection's first alone; before what rewrites addresses.
const HANDED_OVER: Hook = Hook {
    kind: "filter",
    priority: -150,
    ..COMING_IN
};

fn table() -> Attributes {
    Attributes::default().text(1, TABLE)
}

/// Made first, so that there is one to be taken away.
pub(super) fn remove() -> Batch {
    Batch::new()
        .say(Kind::NewTable, &table())
        .say(Kind::DeleteTable, &table())
}

fn chain(batch: Batch, hook: Hook) -> Batch {
    let place = Attributes::default()
        .number(1, hook.number)
        .bytes(2, &hook.priority.to_be_bytes());
    let chain = Attributes::default()
        .text(1, TABLE)
        .text(3, hook.name)
        .nested(4, &place)
        .text(7, hook.kind);
    batch.say(Kind::NewChain, &chain)
}

fn rule(batch: Batch, chain: &str, steps: &[Expression]) -> Batch {
    let rule = Attributes::default()
        .text(1, TABLE)
        .text(2, chain)
        .nested(4, &expressions(steps));
    batch.say(Kind::NewRule, &rule)
}

fn is(key: Meta, value: &[u8]) -> [Expression; 2] {
    [Expression::meta(key), Expression::compare(value, true)]
}

fn to_port(port: u16) -> Vec<Expression> {
    let mut steps = Vec::from(is(Meta::TransportProtocol, &[TCP]));
    steps.push(Expression::payload(Header::Transport, 2, 2));
    steps.push(Expression::compare(&port.to_be_bytes(), true));
    steps
}

fn to_network(network: &Network) -> Vec<Expression> {
    // Where the destination stands in a header (RFC 791, section 3.1; RFC 8200, section 3).
    let (family, offset) = match network.address {
        IpAddr::V4(_) => (IPV4, 16),
        IpAddr::V6(_) => (IPV6, 24),
    };
    let mask = network.mask();
    let mut steps = Vec::from(is(Meta::NetworkProtocol, &[family]));
    steps.push(Expression::payload(
        Header::Network,
        offset,
        mask.len() as u32,
    ));
    steps.push(Expression::mask(&mask));
    steps.push(Expression::compare(&network.first(), true));
    steps
}

/// The first packet of a connection.
fn begins() -> [Expression; 3] {
    [
        Expression::payload(Header::Transport, FLAGS, 1),
        Expression::mask(&[FIN_SYN_RST_ACK]),
        Expression::compare(&[SYN], true),
    ]
}

fn leaving(mut steps: Vec<Expression>) -> Vec<Expression> {
    steps.push(Expression::leave());
    steps
}

impl Rules {
    pub(super) fn hook(&self) -> Hook {
        match self.interception {
            Interception::Redirect => COMING_IN,
            Interception::Tproxy => HANDED_OVER,
        }
    }

    /// Ports of others that are not redirected.
    pub(super) fn ports_left_alone(&self) -> impl Iterator<Item = u16> + '_ {
        let others = self.exclude_ports.iter().copied();
        std::iter::once(DNS).chain(others.filter(|port| *port != DNS))
    }

    pub(super) fn install(&self) -> Batch {
        let batch = remove().say(Kind::NewTable, &table());
        self.coming_in(self.going_out(batch))
    }

    fn going_out(&self, batch: Batch) -> Batch {
        let mut batch = chain(batch, GOING_OUT);
        let own = is(Meta::Owner, &self.user.to_ne_bytes());
        batch = rule(batch, "output", &leaving(own.into()));
        let local = is(Meta::OutputInterface, &LOOPBACK.to_ne_bytes());
        batch = rule(batch, "output", &leaving(local.into()));
        for network in &self.exclude {
            batch = rule(batch, "output", &leaving(to_network(network)));
        }
        for port in self.ports_left_alone() {
            batch = rule(batch, "output", &leaving(to_port(port)));
        }
        let mut all = Vec::from(is(Meta::TransportProtocol, &[TCP]));
        all.extend(Expression::redirect(self.outbound));
        rule(batch, "output", &all)
    }

    fn coming_in(&self, batch: Batch) -> Batch {
        let mut batch = chain(batch, self.hook());
        let local = is(Meta::InputInterface, &LOOPBACK.to_ne_bytes());
        batch = rule(batch, "prerouting", &leaving(local.into()));
        for port in &self.ports {
            let mut steps = to_port(*port);
            match self.interception {
                Interception::Redirect => steps.extend(Expression::redirect(self.inbound)),
                // What is handed over was addressed to this machine and is delivered here without a route of its own.
                Interception::Tproxy => {
                    steps.extend(Expression::hand_over(self.inbound));
                    batch = rule(batch, "prerouting", &steps);
                    // Without a sidecar nobody gets past it to the app. Packets of connections that exist, or that the app
                    // makes from this very port, are left alone, as a redirection does.
                    steps = to_port(*port);
                    steps.extend(begins());
                    steps.push(Expression::refuse());
                }
            }
            batch = rule(batch, "prerouting", &steps);
        }
        batch
    }
}

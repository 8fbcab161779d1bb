//! Which connections are redirected.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;

use super::TABLE;
use super::message::{Attributes, Batch, Expression, Header, Kind, Meta, expressions};

/// Addresses that are left alone: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let bad = || format!("{text:?} is no network; write one as in 10.0.0.0/8 or fd00::/8");
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(bad)?,
            None => most,
        };
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    fn mask(&self) -> Vec<u8> {
        let length = self.octets().len();
        let bit = |at: usize| u8::from(at < usize::from(self.bits));
        (0..length)
            .map(|octet| (0..8).fold(0, |byte, at| byte << 1 | bit(octet * 8 + at)))
            .collect()
    }

    fn first(&self) -> Vec<u8> {
        let pairs = self.octets().into_iter().zip(self.mask());
        pairs.map(|(octet, mask)| octet & mask).collect()
    }
}

/// What is redirected in a workload's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Where the sidecar takes what the app connects to.
    pub(crate) outbound: u16,
    /// Where it takes what others connect to.
    pub(crate) inbound: u16,
    /// The app's ports, which others connect to.
    pub(crate) ports: Vec<u16>,
    /// The user that the sidecar runs as: what that one connects to is left alone.
    pub(crate) user: u32,
    /// Ports of others that the app reaches without the sidecar.
    pub(crate) exclude_ports: Vec<u16>,
    /// Networks that it reaches without the sidecar.
    pub(crate) exclude: Vec<Network>,
}

/// The numbers of these protocols.
const TCP: u8 = 6;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The loopback interface has this number in every network namespace.
const LOOPBACK: u32 = 1;
/// Before others that change where a connection goes.
const PRIORITY: i32 = -100;
const PREROUTING: u32 = 0;
const OUTPUT: u32 = 3;

fn table() -> Attributes {
    Attributes::default().text(1, TABLE)
}

/// Made first, so that there is one to be taken away.
pub(super) fn remove() -> Batch {
    Batch::new()
        .say(Kind::NewTable, &table())
        .say(Kind::DeleteTable, &table())
}

fn chain(batch: Batch, name: &str, hook: u32) -> Batch {
    let place = Attributes::default()
        .number(1, hook)
        .bytes(2, &PRIORITY.to_be_bytes());
    let chain = Attributes::default()
        .text(1, TABLE)
        .text(3, name)
        .nested(4, &place)
        .text(7, "nat");
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

fn leaving(mut steps: Vec<Expression>) -> Vec<Expression> {
    steps.push(Expression::leave());
    steps
}

impl Rules {
    pub(super) fn install(&self) -> Batch {
        let mut batch = remove().say(Kind::NewTable, &table());
        batch = chain(batch, "output", OUTPUT);
        let own = is(Meta::Owner, &self.user.to_ne_bytes());
        batch = rule(batch, "output", &leaving(own.into()));
        let local = is(Meta::OutputInterface, &LOOPBACK.to_ne_bytes());
        batch = rule(batch, "output", &leaving(local.into()));
        for network in &self.exclude {
            batch = rule(batch, "output", &leaving(to_network(network)));
        }
        for port in &self.exclude_ports {
            batch = rule(batch, "output", &leaving(to_port(*port)));
        }
        let mut all = Vec::from(is(Meta::TransportProtocol, &[TCP]));
        all.extend(Expression::redirect(self.outbound));
        batch = rule(batch, "output", &all);
        batch = chain(batch, "prerouting", PREROUTING);
        let local = is(Meta::InputInterface, &LOOPBACK.to_ne_bytes());
        batch = rule(batch, "prerouting", &leaving(local.into()));
        for port in &self.ports {
            let mut steps = to_port(*port);
            steps.extend(Expression::redirect(self.inbound));
            batch = rule(batch, "prerouting", &steps);
        }
        batch
    }

    /// The same as `nft -f` takes it, to be read by people or used without us.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n\tchain output {{\n\t\t\
             type nat hook output priority {PRIORITY}; policy accept;\n\t\tmeta skuid {} return\n\t\toif \"lo\" return\n",
            self.user
        );
        for network in &self.exclude {
            let family = if network.address.is_ipv4() {
                "ip"
            } else {
                "ip6"
            };
            let _ = writeln!(text, "\t\t{family} daddr {network} return");
        }
        for port in &self.exclude_ports {
            let _ = writeln!(text, "\t\ttcp dport {port} return");
        }
        let _ = write!(
            text,
            "\t\tmeta l4proto tcp redirect to :{}\n\t}}\n\tchain prerouting {{\n\t\t\
             type nat hook prerouting priority {PRIORITY}; policy accept;\n\t\tiif \"lo\" return\n",
            self.outbound
        );
        for port in &self.ports {
            let _ = writeln!(text, "\t\ttcp dport {port} redirect to :{}", self.inbound);
        }
        text.push_str("\t}\n}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_and_its_host_part_does_not_count() {
        let network: Network = "10.1.2.3/8".parse().unwrap();
        assert_eq!(network.mask(), [255, 0, 0, 0]);
        assert_eq!(network.first(), [10, 0, 0, 0]);
        let network: Network = "192.168.1.129/25".parse().unwrap();
        assert_eq!((network.mask()[3], network.first()[3]), (128, 128));
        assert_eq!("fd00::1".parse::<Network>().unwrap().bits, 128);
        for text in [
            "10.0.0.0/33",
            "fd00::/129",
            "here",
            "10.0.0.0/",
            "10.0.0/8",
            "1.2.3.4/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_text_says_whose_connections_are_left_alone_before_it_takes_any() {
        let rules = Rules {
            outbound: 15001,
            inbound: 15006,
            ports: vec![8000],
            user: 1337,
            exclude_ports: vec![5432],
            exclude: vec!["10.9.0.0/16".parse().unwrap()],
        };
        let text = rules.text();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        let order = [
            at("meta skuid 1337 return"),
            at("oif \"lo\" return"),
            at("ip daddr 10.9.0.0/16 return"),
            at("tcp dport 5432 return"),
            at("redirect to :15001"),
            at("tcp dport 8000 redirect to :15006"),
        ];
        assert!(order.is_sorted(), "{text}");
    }
}

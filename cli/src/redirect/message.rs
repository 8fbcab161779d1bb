//! Messages of nf_tables, written out (linux/netfilter/nfnetlink.h and nf_tables.h).

/// Of the nf_tables subsystem.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// An attribute whose value is attributes.
const NESTED: u16 = 0x8000;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    NewRule = 6,
}

/// Families of protocols that a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Unspecified = 0,
    /// IPv4 and IPv6.
    Inet = 1,
}

/// Attributes, one after another, each padded to four bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    /// A text with its zero byte.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// A number in the network's order, as nf_tables wants them.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(mut self, kind: u16, value: &Self) -> Self {
        self.push(kind | NESTED, &value.0);
        self
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// One transaction: all of it comes into force, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Messages that are answered.
    messages: u32,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            messages: 0,
        };
        batch.push(
            BATCH_BEGIN,
            REQUEST,
            Family::Unspecified,
            SUBSYSTEM,
            &Attributes::default(),
        );
        batch
    }

    /// Adds a message.
    pub(super) fn say(mut self, kind: Kind, attributes: &Attributes) -> Self {
        let flags = match kind {
            Kind::NewTable | Kind::NewChain => CREATE,
            Kind::NewRule => CREATE | APPEND,
            Kind::DeleteTable => 0,
        };
        self.messages += 1;
        let kind = SUBSYSTEM << 8 | kind as u16;
        self.push(kind, REQUEST | ACK | flags, Family::Inet, 0, attributes);
        self
    }

    /// The whole transaction, and how many answers are to be waited for.
    pub(super) fn finish(mut self) -> (Vec<u8>, u32) {
        self.push(
            BATCH_END,
            REQUEST,
            Family::Unspecified,
            SUBSYSTEM,
            &Attributes::default(),
        );
        (self.bytes, self.messages)
    }

    fn push(&mut self, kind: u16, flags: u16, family: Family, resource: u16, rest: &Attributes) {
        let length = u32::try_from(16 + 4 + rest.0.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // The sequence: answers come in order and name it, which nobody needs.
        self.bytes.extend(self.messages.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family as u8, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(&rest.0);
    }
}

/// One step of a rule.
pub(super) struct Expression {
    name: &'static str,
    data: Attributes,
}

/// Where a step leaves its value, and the next finds it.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;
const RETURN: i32 = -5;
const ACCEPT: i32 = 1;
/// Of either version of IP, whichever a packet has.
const ANY_FAMILY: u32 = 0;
const TCP_RESET: u32 = 1;

/// What of a packet's path is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    InputInterface = 4,
    OutputInterface = 5,
    Owner = 10,
    NetworkProtocol = 15,
    TransportProtocol = 16,
}

/// Which header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

impl Expression {
    pub(super) fn meta(key: Meta) -> Self {
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, key as u32);
        Self { name: "meta", data }
    }

    pub(super) fn payload(header: Header, offset: u32, length: u32) -> Self {
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, header as u32)
            .number(3, offset)
            .number(4, length);
        Self {
            name: "payload",
            data,
        }
    }

    /// Goes on only with this value, or only with another.
    pub(super) fn compare(value: &[u8], equal: bool) -> Self {
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, u32::from(!equal))
            .nested(3, &Attributes::default().bytes(1, value));
        Self { name: "cmp", data }
    }

    /// Keeps the bits of a mask.
    pub(super) fn mask(mask: &[u8]) -> Self {
        let value = |bytes: &[u8]| Attributes::default().bytes(1, bytes);
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, REGISTER)
            .number(3, mask.len() as u32)
            .nested(4, &value(mask))
            .nested(5, &value(&vec![0; mask.len()]));
        Self {
            name: "bitwise",
            data,
        }
    }

    /// Leaves the chain: the packet goes where it was going.
    pub(super) fn leave() -> Self {
        Self::verdict(RETURN)
    }

    fn verdict(code: i32) -> Self {
        let verdict = Attributes::default().bytes(1, &code.to_be_bytes());
        let data = Attributes::default()
            .number(1, VERDICT)
            .nested(2, &Attributes::default().nested(2, &verdict));
        Self {
            name: "immediate",
            data,
        }
    }

    fn port(port: u16) -> Self {
        let data = Attributes::default()
            .number(1, REGISTER)
            .nested(2, &Attributes::default().bytes(1, &port.to_be_bytes()));
        Self {
            name: "immediate",
            data,
        }
    }

    /// Sends the connection to a port of this machine.
    pub(super) fn redirect(port: u16) -> [Self; 2] {
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, REGISTER);
        [
            Self::port(port),
            Self {
                name: "redir",
                data,
            },
        ]
    }

    /// Hands the packet to a transparent socket on a port of this machine. Where there is none, the rule ends here and the next
    /// one is asked.
    pub(super) fn hand_over(port: u16) -> [Self; 3] {
        let data = Attributes::default()
            .number(1, ANY_FAMILY)
            .number(3, REGISTER);
        [
            Self::port(port),
            Self {
                name: "tproxy",
                data,
            },
            Self::verdict(ACCEPT),
        ]
    }

    /// Refuses the connection.
    pub(super) fn refuse() -> Self {
        let data = Attributes::default().number(1, TCP_RESET).bytes(2, &[0]);
        Self {
            name: "reject",
            data,
        }
    }
}

/// The expressions of a rule.
pub(super) fn expressions(all: &[Expression]) -> Attributes {
    all.iter().fold(Attributes::default(), |list, expression| {
        let element = Attributes::default()
            .text(1, expression.name)
            .nested(2, &expression.data);
        list.nested(1, &element)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_their_length_is_not() {
        let attributes = Attributes::default().text(3, "lo").number(4, 1);
        let mut expected = Vec::new();
        expected.extend(7u16.to_ne_bytes());
        expected.extend(3u16.to_ne_bytes());
        expected.extend(*b"lo\0\0");
        expected.extend(8u16.to_ne_bytes());
        expected.extend(4u16.to_ne_bytes());
        expected.extend([0, 0, 0, 1]);
        assert_eq!(attributes.0, expected);
    }

    #[test]
    fn a_transaction_is_begun_and_ended() {
        let table = Attributes::default().text(1, "t");
        let (bytes, messages) = Batch::new().say(Kind::NewTable, &table).finish();
        assert_eq!(messages, 1);
        assert_eq!(bytes.len(), 20 + 20 + 8 + 20);
        let kind = |at: usize| u16::from_ne_bytes([bytes[at + 4], bytes[at + 5]]);
        assert_eq!(
            [kind(0), kind(20), kind(48)],
            [BATCH_BEGIN, SUBSYSTEM << 8, BATCH_END]
        );
    }
}

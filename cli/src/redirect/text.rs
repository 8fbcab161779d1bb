//! The rules in the words of `nft`.

use std::fmt::Write as _;

use super::TABLE;
use super::rules::{GOING_OUT, Hook, Interception, Rules};

impl Rules {
    /// The same as `nft -f` takes it, to be read by people or used without us.
    pub(crate) fn text(&self) -> String {
        let mut text =
            format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
        chain(&mut text, GOING_OUT, &self.going_out_in_words());
        chain(&mut text, self.hook(), &self.coming_in_in_words());
        text.push_str("}\n");
        text
    }

    fn going_out_in_words(&self) -> Vec<String> {
        let mut lines = vec![
            format!("meta skuid {} return", self.user),
            "oif \"lo\" return".to_owned(),
        ];
        lines.extend(self.exclude.iter().map(|network| {
            let family = if network.address.is_ipv4() {
                "ip"
            } else {
                "ip6"
            };
            format!("{family} daddr {network} return")
        }));
        let ports = self.ports_left_alone();
        lines.extend(ports.map(|port| format!("tcp dport {port} return")));
        lines.push(format!("meta l4proto tcp redirect to :{}", self.outbound));
        lines
    }

    fn coming_in_in_words(&self) -> Vec<String> {
        let inbound = self.inbound;
        let mut lines = vec!["iif \"lo\" return".to_owned()];
        for port in &self.ports {
            match self.interception {
                Interception::Redirect => {
                    lines.push(format!("tcp dport {port} redirect to :{inbound}"));
                }
                Interception::Tproxy => lines.extend([
                    format!("tcp dport {port} tproxy to :{inbound} accept"),
                    format!(
                        "tcp dport {port} tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset"
                    ),
                ]),
            }
        }
        lines
    }
}

fn chain(text: &mut String, hook: Hook, lines: &[String]) {
    let Hook {
        kind,
        name,
        priority,
        ..
    } = hook;
    let _ = writeln!(
        text,
        "\tchain {name} {{\n\t\ttype {kind} hook {name} priority {priority}; policy accept;"
    );
    for line in lines {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_whose_connections_are_left_alone_before_it_takes_any() {
        let rules = Rules {
            outbound: 15001,
            inbound: 15006,
            interception: Interception::Redirect,
            ports: vec![8000],
            user: 1337,
            exclude_ports: vec![53, 5432],
            exclude: vec!["10.9.0.0/16".parse().unwrap()],
        };
        let text = rules.text();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        let order = [
            at("meta skuid 1337 return"),
            at("oif \"lo\" return"),
            at("ip daddr 10.9.0.0/16 return"),
            at("tcp dport 53 return"),
            at("tcp dport 5432 return"),
            at("redirect to :15001"),
            at("tcp dport 8000 redirect to :15006"),
        ];
        assert!(order.is_sorted(), "{text}");
        assert_eq!(text.matches("dport 53 ").count(), 1, "{text}");
    }

    #[test]
    fn what_nobody_takes_over_is_refused() {
        let rules = Rules {
            outbound: 15001,
            inbound: 15006,
            interception: Interception::Tproxy,
            ports: vec![8000],
            user: 0,
            exclude_ports: Vec::new(),
            exclude: Vec::new(),
        };
        let text = rules.text();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        let order = [
            at("tcp dport 53 return"),
            at("type filter hook prerouting"),
            at("iif \"lo\" return"),
            at("tcp dport 8000 tproxy to :15006 accept"),
            at("reject with tcp reset"),
        ];
        assert!(order.is_sorted(), "{text}");
    }
}

//! Why a call was admitted or refused: every rule asked, with the attribute that it did not fit by. For people.

use std::fmt;

use weir_config::model::{
    AccessAction, AccessCondition, AccessOperation, AccessRule, AccessSource, Among, Authorization,
};

use super::pattern::Reading;
use super::{
    Call, address_fits, condition_fits, operation_fits, port_fits, principal_fits, source_fits,
};
use crate::route::Headers;

/// One policy, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Index of the policy.
    pub policy: usize,
    /// For each of its rules: `None`, it fits, or why not.
    pub rules: Vec<Option<Why>>,
}

impl Tried {
    /// Whether the policy is about this call.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.rules.iter().any(Option::is_none)
    }
}

/// An attribute that is not as a rule wants it. Its text continues "this rule does not fit: ...".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    attribute: String,
    value: Option<String>,
    wanted: String,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} {value} is not {}", self.attribute, self.wanted),
            None => write!(f, "there is no {}, wanted {}", self.attribute, self.wanted),
        }
    }
}

/// Every policy in turn.
#[must_use]
pub fn explain<H: Headers + ?Sized>(
    authorization: &Authorization,
    call: &Call<'_, H>,
) -> Vec<Tried> {
    let all = authorization.policies.iter().enumerate();
    all.map(|(at, policy)| {
        let reading = match policy.action {
            AccessAction::Allow => Reading::All,
            AccessAction::Deny | AccessAction::Audit => Reading::Any,
        };
        Tried {
            policy: at,
            rules: policy
                .rules
                .iter()
                .map(|rule| missed(rule, call, reading))
                .collect(),
        }
    })
    .collect()
}

fn missed<H: Headers + ?Sized>(
    rule: &AccessRule,
    call: &Call<'_, H>,
    reading: Reading,
) -> Option<Why> {
    let from = || {
        let fits = rule.from.iter().any(|source| source_fits(source, call));
        let first = rule.from.first().filter(|_| !fits)?;
        Some(alternatives(source(first, call), rule.from.len()))
    };
    let to = || {
        let fits = |operation| operation_fits(operation, call, reading);
        let first = rule.to.first().filter(|_| !rule.to.iter().any(fits))?;
        Some(alternatives(operation(first, call, reading), rule.to.len()))
    };
    let when = || {
        let not = |condition: &&AccessCondition| !condition_fits(condition, call, reading);
        rule.when.iter().find(not).map(|c| condition(c, call))
    };
    from().or_else(to).or_else(when)
}

fn alternatives(mut why: Why, count: usize) -> Why {
    if count > 1 {
        why.wanted = format!("{}, and {} more do not fit either", why.wanted, count - 1);
    }
    why
}

fn source<H: ?Sized>(source: &AccessSource, call: &Call<'_, H>) -> Why {
    if !principal_fits(&source.principals, call.principal) {
        return principal(&source.principals, call);
    }
    if !address_fits(&source.peers, call.peer) {
        return why("peer", Some(call.peer), &source.peers);
    }
    why("client", Some(call.client), &source.clients)
}

fn principal<H: ?Sized, T: fmt::Display>(wanted: &Among<T>, call: &Call<'_, H>) -> Why {
    why("identity", call.principal, wanted)
}

fn operation<H: Headers + ?Sized>(
    operation: &AccessOperation,
    call: &Call<'_, H>,
    reading: Reading,
) -> Why {
    let asked = call.request.as_ref();
    if !port_fits(&operation.ports, call.port) {
        return why("port", Some(call.port), &operation.ports);
    }
    let alone = |change: fn(&mut AccessOperation, &AccessOperation)| {
        let mut only = AccessOperation::default();
        change(&mut only, operation);
        operation_fits(&only, call, reading)
    };
    if !alone(|only, all| only.methods = all.methods.clone()) {
        return why(
            "method",
            asked.map(|asked| asked.method),
            &operation.methods,
        );
    }
    if !alone(|only, all| only.paths = all.paths.clone()) {
        return why("path", asked.map(|asked| asked.path), &operation.paths);
    }
    if !alone(|only, all| only.hosts = all.hosts.clone()) {
        return why("host", asked.map(|asked| asked.host), &operation.hosts);
    }
    why("listener", Some(call.listener), &operation.listeners)
}

fn condition<H: Headers + ?Sized>(condition: &AccessCondition, call: &Call<'_, H>) -> Why {
    match condition {
        AccessCondition::Header { name, values } => {
            let asked = call.request.as_ref();
            let value = asked.and_then(|asked| asked.headers.values(name).next());
            let value = value.map(String::from_utf8_lossy);
            why(&format!("header {name}"), value, values)
        }
        AccessCondition::Principal(wanted) => principal(wanted, call),
        AccessCondition::Peer(wanted) => why("peer", Some(call.peer), wanted),
        AccessCondition::Client(wanted) => why("client", Some(call.client), wanted),
        AccessCondition::Port(wanted) => why("port", Some(call.port), wanted),
        AccessCondition::ServerName(wanted) => why("server name", call.server_name, wanted),
    }
}

fn why<T: fmt::Display>(
    attribute: &str,
    value: Option<impl fmt::Display>,
    wanted: &Among<T>,
) -> Why {
    let list = |all: &[T]| {
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        all.join(", ")
    };
    let wanted = match (wanted.only.is_empty(), wanted.never.is_empty()) {
        (false, true) => list(&wanted.only),
        (true, _) => format!("something else than {}", list(&wanted.never)),
        (false, false) => format!("{} without {}", list(&wanted.only), list(&wanted.never)),
    };
    Why {
        attribute: attribute.to_owned(),
        value: value.map(|value| value.to_string()),
        wanted,
    }
}

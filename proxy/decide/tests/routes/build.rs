//! Routes in few words.

use std::sync::Arc;

use weir_config::model::{
    HostPattern, Match, PathMatch, Retry, Route, RouteName, Rule, Source, Timeouts, ValueMatch,
};

pub(crate) fn route(name: &str, age: u64, hosts: &[&str], rules: Vec<Rule>) -> Arc<Route> {
    Arc::new(Route {
        name: RouteName::new(name).unwrap(),
        listeners: Vec::new(),
        hostnames: hosts
            .iter()
            .filter_map(|host| HostPattern::parse(host).unwrap())
            .collect(),
        rules,
        age,
        source: Source::default(),
    })
}

pub(crate) fn rule(matches: Vec<Match>) -> Rule {
    Rule {
        matches,
        filters: Vec::new(),
        backends: Vec::new(),
        sticky: None,
        timeouts: Timeouts::default(),
        retry: Retry::default(),
    }
}

pub(crate) fn prefix(path: &str) -> Match {
    on(PathMatch::Prefix(path.into()))
}

pub(crate) fn exact(path: &str) -> Match {
    on(PathMatch::Exact(path.into()))
}

pub(crate) fn pattern(path: &str) -> Match {
    on(PathMatch::Regex(
        regex::Regex::new(&format!("^(?:{path})$")).unwrap(),
    ))
}

pub(crate) fn header(mut to: Match, name: &str, value: &str) -> Match {
    to.headers
        .push((name.into(), ValueMatch::Exact(value.into())));
    to
}

pub(crate) fn query(mut to: Match, name: &str, value: &str) -> Match {
    to.query
        .push((name.into(), ValueMatch::Exact(value.into())));
    to
}

pub(crate) fn method(mut to: Match, method: &str) -> Match {
    to.method = Some(method.into());
    to
}

fn on(path: PathMatch) -> Match {
    Match {
        path,
        headers: Vec::new(),
        query: Vec::new(),
        method: None,
    }
}

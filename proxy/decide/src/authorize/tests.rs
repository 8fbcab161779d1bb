#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use proptest::prelude::*;
use weir_config::model::{PolicyName, Source};

use super::*;

type Fields = [(&'static str, &'static str)];

/// One call of a small world.
#[derive(Debug, Clone, Copy)]
struct Sent {
    principal: Option<&'static str>,
    method: &'static str,
    path: &'static str,
    host: &'static str,
    port: u16,
    client: [u8; 4],
    fields: &'static Fields,
}

const WEB: &str = "spiffe://weir.local/svc/web";
const SHOP: &str = "spiffe://weir.local/svc/shop";
const OTHERS: &str = "spiffe://other.example/svc/web";

impl Sent {
    fn get(principal: Option<&'static str>, path: &'static str) -> Self {
        Self {
            principal,
            method: "GET",
            path,
            host: "shop.example",
            port: 8080,
            client: [10, 0, 0, 1],
            fields: &[],
        }
    }

    fn call(&self) -> Call<'_, Fields> {
        Call {
            request: Some(Asked {
                host: self.host,
                method: self.method,
                path: self.path,
                headers: self.fields,
            }),
            ..self.connection()
        }
    }

    fn connection(&self) -> Call<'_, Fields> {
        Call {
            listener: "inbound",
            principal: self.principal,
            peer: self.client.into(),
            client: self.client.into(),
            port: self.port,
            server_name: None,
            request: None,
        }
    }
}

fn only(texts: &[&str]) -> Among<Pattern> {
    Among {
        only: texts
            .iter()
            .map(|text| Pattern::new(text).unwrap())
            .collect(),
        never: Vec::new(),
    }
}

fn never(texts: &[&str]) -> Among<Pattern> {
    Among {
        never: only(texts).only,
        only: Vec::new(),
    }
}

fn from(principals: Among<Pattern>) -> Vec<AccessSource> {
    vec![AccessSource {
        principals,
        ..AccessSource::default()
    }]
}

fn paths(paths: Among<Pattern>) -> Vec<AccessOperation> {
    vec![AccessOperation {
        paths,
        ..AccessOperation::default()
    }]
}

fn policy(action: AccessAction, rules: Vec<AccessRule>) -> AccessPolicy {
    AccessPolicy {
        name: PolicyName::new(action.text()).unwrap(),
        action,
        log_only: false,
        rules,
        source: Source::default(),
    }
}

fn allow(rules: Vec<AccessRule>) -> AccessPolicy {
    policy(AccessAction::Allow, rules)
}

fn deny(rules: Vec<AccessRule>) -> AccessPolicy {
    policy(AccessAction::Deny, rules)
}

fn admits(policies: Vec<AccessPolicy>, sent: Sent) -> bool {
    let authorization = Authorization {
        policies,
        port: None,
    };
    judge(&authorization, &sent.call()).ruling.admitted
}

#[test]
fn without_an_allow_everybody_may_and_with_one_it_must_fit() {
    let web = || AccessRule {
        from: from(only(&[WEB])),
        ..AccessRule::default()
    };
    let sent = |principal| Sent::get(principal, "/");
    assert!(admits(vec![], sent(None)));
    assert!(admits(vec![deny(vec![web()])], sent(None)));
    assert!(!admits(vec![deny(vec![web()])], sent(Some(WEB))));
    assert!(admits(vec![allow(vec![web()])], sent(Some(WEB))));
    assert!(!admits(vec![allow(vec![web()])], sent(Some(SHOP))));
    assert!(!admits(vec![allow(vec![web()])], sent(None)));
    // DENY stands before ALLOW.
    let both = vec![allow(vec![web()]), deny(vec![web()])];
    assert!(!admits(both, sent(Some(WEB))));
    // An ALLOW without rules fits nobody, a DENY with an empty rule everybody.
    assert!(!admits(vec![allow(vec![])], sent(Some(WEB))));
    assert!(!admits(vec![deny(vec![AccessRule::default()])], sent(None)));
    assert!(admits(vec![allow(vec![AccessRule::default()])], sent(None)));
    // An AUDIT admits and refuses nobody.
    let audit = policy(AccessAction::Audit, vec![web()]);
    assert!(admits(vec![audit.clone()], sent(None)));
    let authorization = Authorization::new(vec![audit]);
    let verdict = |principal| judge(&authorization, &sent(principal).call()).audited;
    assert_eq!((verdict(Some(WEB)), verdict(None)), (Some(0), None));
}

#[test]
fn identities_are_compared_byte_for_byte_and_a_star_means_any() {
    for (pattern, principal, fits) in [
        (WEB, Some(WEB), true),
        (WEB, Some(OTHERS), false),
        (WEB, Some("spiffe://weir.local/svc/webx"), false),
        (WEB, Some("spiffe://weir.local/svc/WEB"), false),
        (WEB, None, false),
        ("*", Some(OTHERS), true),
        ("*", None, false),
        ("spiffe://weir.local/*", Some(SHOP), true),
        ("spiffe://weir.local/*", Some(OTHERS), false),
        ("*/svc/web", Some(OTHERS), true),
        ("*/svc/web", Some(SHOP), false),
    ] {
        let rule = AccessRule {
            from: from(only(&[pattern])),
            ..AccessRule::default()
        };
        let got = admits(vec![allow(vec![rule])], Sent::get(principal, "/"));
        assert_eq!(got, fits, "{pattern} {principal:?}");
    }
    // Who has no identity is none of those.
    let rule = AccessRule {
        from: from(never(&[WEB])),
        ..AccessRule::default()
    };
    assert!(admits(
        vec![allow(vec![rule.clone()])],
        Sent::get(None, "/")
    ));
    assert!(!admits(vec![allow(vec![rule])], Sent::get(Some(WEB), "/")));
}

#[test]
fn an_exception_is_read_against_who_asks() {
    let but = |path| AccessRule {
        to: paths(never(&[path])),
        ..AccessRule::default()
    };
    // Everything but /admin, in whatever spelling.
    for path in ["/admin", "/ADMIN", "/admin;x", "/admin/"] {
        assert!(!admits(
            vec![allow(vec![but("/admin")])],
            Sent::get(None, path)
        ));
    }
    assert!(admits(
        vec![allow(vec![but("/admin")])],
        Sent::get(None, "/a")
    ));
    // Refused but on /health, in that spelling alone.
    for path in ["/HEALTH", "/health;x", "/health/", "/a"] {
        assert!(!admits(
            vec![deny(vec![but("/health")])],
            Sent::get(None, path)
        ));
    }
    let health = Sent::get(None, "/health");
    assert!(admits(vec![deny(vec![but("/health")])], health));
}

#[test]
fn a_connection_without_requests_is_refused_what_it_cannot_show() {
    let on = |rule: AccessRule, action| {
        let authorization = Authorization::new(vec![policy(action, vec![rule])]);
        let sent = Sent::get(Some(WEB), "/");
        judge(&authorization, &sent.connection()).ruling.admitted
    };
    let rule = |to| AccessRule {
        from: from(only(&[WEB])),
        to,
        ..AccessRule::default()
    };
    for wanted in [only(&["/admin"]), never(&["/admin"])] {
        assert!(!on(rule(paths(wanted.clone())), AccessAction::Deny));
        assert!(!on(rule(paths(wanted)), AccessAction::Allow));
    }
    assert!(on(rule(Vec::new()), AccessAction::Allow));
    let header = AccessRule {
        when: vec![AccessCondition::Header {
            name: "x-a".into(),
            values: only(&["1"]),
        }],
        ..AccessRule::default()
    };
    assert!(!on(header.clone(), AccessAction::Allow) && !on(header, AccessAction::Deny));
}

#[test]
fn every_attribute_of_a_rule_must_fit() {
    let whole = AccessRule {
        from: vec![AccessSource {
            principals: only(&[WEB]),
            peers: Among {
                only: vec!["10.0.0.0/8".parse().unwrap()],
                never: vec!["10.9.0.0/16".parse().unwrap()],
            },
            clients: Among::default(),
        }],
        to: vec![AccessOperation {
            hosts: only(&["shop.example"]),
            methods: only(&["GET"]),
            paths: only(&["/api/*"]),
            ports: Among {
                only: vec![8080],
                never: vec![],
            },
            listeners: only(&["inbound"]),
        }],
        when: vec![AccessCondition::Header {
            name: "x-tier".into(),
            values: only(&["gold"]),
        }],
    };
    let good = Sent {
        fields: &[("X-Tier", "gold")],
        ..Sent::get(Some(WEB), "/api/x")
    };
    let admits = |sent| admits(vec![allow(vec![whole.clone()])], sent);
    assert!(admits(good));
    // A name with a dot at its end is the same host.
    assert!(admits(Sent {
        host: "shop.example.",
        ..good
    }));
    for sent in [
        Sent {
            principal: None,
            ..good
        },
        Sent {
            client: [11, 0, 0, 1],
            ..good
        },
        Sent {
            client: [10, 9, 0, 1],
            ..good
        },
        Sent {
            host: "other.example",
            ..good
        },
        Sent {
            method: "POST",
            ..good
        },
        Sent { path: "/", ..good },
        Sent { port: 8081, ..good },
        Sent {
            fields: &[],
            ..good
        },
        Sent {
            fields: &[("x-tier", "gold"), ("x-tier", "tin")],
            ..good
        },
    ] {
        assert!(!admits(sent), "{sent:?}");
        let authorization = Authorization::new(vec![allow(vec![whole.clone()])]);
        let tried = explain(&authorization, &sent.call());
        let why = tried[0].rules[0].as_ref().expect("a reason").to_string();
        assert!(!why.is_empty() && !tried[0].fits(), "{why}");
    }
    let authorization = Authorization::new(vec![allow(vec![whole.clone()])]);
    assert!(explain(&authorization, &good.call())[0].fits());
    let post = Sent {
        method: "POST",
        ..good
    };
    let why = explain(&authorization, &post.call())[0].rules[0].clone();
    assert_eq!(why.unwrap().to_string(), "method POST is not GET");
}

#[test]
fn what_is_for_the_log_changes_no_answer() {
    let log = |mut policy: AccessPolicy| {
        policy.log_only = true;
        policy
    };
    let everybody = || vec![AccessRule::default()];
    for (policies, admitted, would) in [
        (vec![log(deny(everybody()))], true, false),
        (vec![log(allow(vec![]))], true, false),
        (vec![log(allow(everybody())), allow(vec![])], false, true),
    ] {
        let verdict = judge(&Authorization::new(policies), &Sent::get(None, "/").call());
        assert_eq!(verdict.ruling.admitted, admitted);
        assert_eq!(verdict.logged.map(|ruling| ruling.admitted), Some(would));
    }
    let plain = Authorization::new(vec![deny(everybody())]);
    assert_eq!(judge(&plain, &Sent::get(None, "/").call()).logged, None);
}

fn patterns(from: &'static [&'static str]) -> impl Strategy<Value = Among<Pattern>> {
    let list = || prop::collection::vec(prop::sample::select(from), 0..3);
    (list(), list()).prop_map(|(some, none)| Among {
        only: only(&some).only,
        never: only(&none).only,
    })
}

fn rules() -> impl Strategy<Value = Vec<AccessRule>> {
    let source = patterns(&["*", WEB, SHOP, "spiffe://weir.local/*", "*/svc/web"]);
    let source = source.prop_map(|principals| AccessSource {
        principals,
        ..AccessSource::default()
    });
    let operation = (
        patterns(&["/a", "/a*", "*b", "/A", "/a;x"]),
        patterns(&["GET", "POST", "*"]),
        patterns(&["shop.example", "*.example"]),
        prop::collection::vec(prop::sample::select(&[8080u16, 8081]), 0..2),
    );
    let operation = operation.prop_map(|(paths, methods, hosts, ports)| AccessOperation {
        paths,
        methods,
        hosts,
        ports: Among {
            only: ports,
            never: Vec::new(),
        },
        ..AccessOperation::default()
    });
    let rule = (
        prop::collection::vec(source, 0..3),
        prop::collection::vec(operation, 0..3),
    );
    let rule = rule.prop_map(|(from, to)| AccessRule {
        from,
        to,
        when: Vec::new(),
    });
    prop::collection::vec(rule, 0..3)
}

fn any_policy() -> impl Strategy<Value = AccessPolicy> {
    let action =
        prop::sample::select(&[AccessAction::Deny, AccessAction::Allow, AccessAction::Audit]);
    (action, rules(), any::<bool>()).prop_map(|(action, rules, log_only)| AccessPolicy {
        log_only,
        ..policy(action, rules)
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    (
        prop::sample::select(&[None, Some(WEB), Some(SHOP), Some(OTHERS)]),
        prop::sample::select(&["GET", "get", "POST"]),
        prop::sample::select(&["/", "/a", "/A", "/a;x", "/a/", "/b", "/a/b", "/c;b"]),
        prop::sample::select(&["shop.example", "other"]),
        prop::sample::select(&[8080u16, 8081]),
    )
        .prop_map(|(principal, method, path, host, port)| Sent {
            method,
            host,
            port,
            ..Sent::get(principal, path)
        })
}

/// The policies, with everything inside of them in another order.
fn shuffled(policies: &[AccessPolicy]) -> Vec<AccessPolicy> {
    let mut out: Vec<AccessPolicy> = policies.iter().rev().cloned().collect();
    for policy in &mut out {
        policy.rules.reverse();
        for rule in &mut policy.rules {
            rule.from.reverse();
            rule.to.reverse();
            for operation in &mut rule.to {
                operation.paths.only.reverse();
                operation.paths.never.reverse();
                operation.methods.only.reverse();
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn no_order_changes_an_answer(
        policies in prop::collection::vec(any_policy(), 0..5),
        turn in 0usize..5,
        sent in sent(),
    ) {
        let before = admits(policies.clone(), sent);
        prop_assert_eq!(before, admits(shuffled(&policies), sent));
        let mut turned = policies.clone();
        let by = turn % policies.len().max(1);
        turned.rotate_left(by);
        prop_assert_eq!(before, admits(turned, sent));
    }

    #[test]
    fn another_deny_never_widens(
        policies in prop::collection::vec(any_policy(), 0..4),
        rules in rules(),
        at in 0usize..4,
        sent in sent(),
    ) {
        let before = admits(policies.clone(), sent);
        let mut more = policies;
        more.insert(at.min(more.len()), deny(rules));
        prop_assert!(before || !admits(more, sent));
    }

    #[test]
    fn the_first_allow_narrows_and_the_others_never_do(
        policies in prop::collection::vec(any_policy(), 0..4),
        rules in rules(),
        sent in sent(),
    ) {
        let enforced = |p: &AccessPolicy| p.action == AccessAction::Allow && !p.log_only;
        let has_one = policies.iter().any(enforced);
        let before = admits(policies.clone(), sent);
        let mut more = policies;
        more.push(allow(rules));
        let after = admits(more, sent);
        match has_one {
            true => prop_assert!(after || !before),
            false => prop_assert!(before || !after),
        }
    }

    #[test]
    fn what_is_tried_and_what_is_decided_agree(
        policies in prop::collection::vec(any_policy(), 0..4),
        sent in sent(),
    ) {
        let authorization = Authorization { policies, port: None };
        let tried = explain(&authorization, &sent.call());
        let of = |action| {
            let fitting = tried.iter().filter(|tried| tried.fits()).map(|tried| tried.policy);
            let mut ours = fitting.map(|at| &authorization.policies[at]);
            ours.any(|policy| policy.action == action && !policy.log_only)
        };
        let policies = &authorization.policies;
        let guarded = policies.iter().any(|p| p.action == AccessAction::Allow && !p.log_only);
        let expected = !of(AccessAction::Deny) && (!guarded || of(AccessAction::Allow));
        prop_assert_eq!(judge(&authorization, &sent.call()).ruling.admitted, expected);
    }

    #[test]
    fn an_allow_admits_nobody_whom_the_same_deny_would_not_refuse(
        rules in rules(),
        sent in sent(),
    ) {
        // What admits reads no more widely than what refuses.
        let admitted = admits(vec![allow(rules.clone())], sent);
        prop_assert!(!admitted || !admits(vec![deny(rules)], sent));
    }
}

//! Who may call, in all its forms.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use weir_config::model::{
    AccessAction, AccessCondition, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among,
    Authorization, Pattern, PolicyName, Source,
};

fn among<T: std::fmt::Debug + Clone>(
    one: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Among<T>> {
    (vec(one.clone(), 0..3), vec(one, 0..2)).prop_map(|(only, never)| Among { only, never })
}

fn pattern() -> impl Strategy<Value = Pattern> + Clone {
    let text = select(&["a", "/api", "spiffe://a/svc/shop", "\"{}", "ü"]).prop_map(Arc::from);
    (0u8..5, text).prop_map(|(kind, text)| match kind {
        0 => Pattern::Any,
        1 => Pattern::Exact(text),
        2 => Pattern::Prefix(text),
        3 => Pattern::Suffix(text),
        _ => Pattern::Under(text),
    })
}

fn network() -> impl Strategy<Value = ipnet::IpNet> + Clone {
    select(&["10.0.0.0/8", "::1/128", "0.0.0.0/0"]).prop_map(|text| text.parse().unwrap())
}

fn rule() -> impl Strategy<Value = AccessRule> {
    let source = (among(pattern()), among(network()), among(network())).prop_map(
        |(principals, peers, clients)| AccessSource {
            principals,
            peers,
            clients,
        },
    );
    let operation = (
        among(pattern()),
        among(pattern()),
        among(pattern()),
        among(pattern()),
        among(any::<u16>()),
    )
        .prop_map(
            |(listeners, hosts, methods, paths, ports)| AccessOperation {
                listeners,
                hosts,
                methods,
                paths,
                ports,
            },
        );
    let condition = prop_oneof![
        among(pattern()).prop_map(|values| AccessCondition::Header {
            name: "x-tier".into(),
            values
        }),
        among(pattern()).prop_map(AccessCondition::Principal),
        among(pattern()).prop_map(AccessCondition::ServerName),
        among(network()).prop_map(AccessCondition::Peer),
        among(network()).prop_map(AccessCondition::Client),
        among(any::<u16>()).prop_map(AccessCondition::Port),
    ];
    (
        vec(source, 0..3),
        vec(operation, 0..3),
        vec(condition, 0..3),
    )
        .prop_map(|(from, to, when)| AccessRule { from, to, when })
}

pub(super) fn authorization() -> impl Strategy<Value = Authorization> {
    let action = select(&[AccessAction::Allow, AccessAction::Deny, AccessAction::Audit]);
    let policy =
        (action, any::<bool>(), vec(rule(), 0..3)).prop_map(|(action, log_only, rules)| {
            AccessPolicy {
                name: PolicyName::new("some/policy").unwrap(),
                action,
                log_only,
                rules,
                source: Source::default(),
            }
        });
    (vec(policy, 0..4), proptest::option::of(any::<u16>()))
        .prop_map(|(policies, port)| Authorization { policies, port })
}

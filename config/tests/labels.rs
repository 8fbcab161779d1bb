//! Labels: what containers of one service mean together, and what a label can never do.

use std::collections::BTreeMap;

use weir_config::labels::{self, Container, ContainerState, Health, LabelOptions};
use weir_config::model::{Admission, AppProtocol, MeshMode, Model};
use weir_config::{Fragment, compile};

fn container(id: &str, created: u64, labels: &[(&str, &str)]) -> Container {
    let mut all: BTreeMap<String, String> = labels
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect();
    all.entry("weir.enable".into())
        .or_insert_with(|| "true".into());
    Container {
        id: format!("{id:0<64}"),
        name: id.to_owned(),
        labels: all,
        created,
        since: created,
        state: ContainerState::Running {
            health: Some(Health::Healthy),
        },
        addresses: [("net".to_owned(), "10.0.0.1".parse().unwrap())].into(),
        exposed: vec![80],
        default_network: None,
    }
}

fn model(containers: &[Container]) -> Model {
    let (fragment, ..) = labels::read(containers);
    let web = Fragment::with_listener("web", "127.0.0.1:1".parse().unwrap(), Default::default());
    compile(&[web, fragment]).model
}

fn weights(model: &Model, service: &str) -> Vec<(String, String)> {
    let versions = &model.service(service).unwrap().versions;
    versions
        .iter()
        .map(|v| (v.name.to_string(), v.weight.to_string()))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn a_container_with_a_host_is_a_service_and_a_route() {
    let model = model(&[container("shop", 1, &[("weir.host", "shop.example.com")])]);
    assert_eq!(model.routes[0].name.as_str(), "shop");
    assert_eq!(model.routes[0].hostnames[0].text(), "shop.example.com");
    assert_eq!(model.routes[0].rules[0].backends[0].version, None);
    assert_eq!(weights(&model, "shop"), pairs(&[("stable", "100")]));
}

#[test]
fn the_service_is_named_by_label_then_compose_then_swarm_then_container() {
    let compose = [
        ("com.docker.compose.project", "p"),
        ("com.docker.compose.service", "web"),
    ];
    let swarm = ("com.docker.swarm.service.name", "stack_api");
    for (labels, name) in [
        (
            vec![("weir.service", "stated"), compose[0], compose[1]],
            "stated",
        ),
        (vec![compose[0], compose[1], swarm], "web"),
        (vec![swarm], "stack_api"),
        (vec![], "box"),
    ] {
        let (fragment, found, reports) = labels::read(&[container("box", 1, &labels)]);
        assert!(found.is_empty());
        assert_eq!(reports[0].service.as_deref(), Some(name));
        assert_eq!(fragment.services.len(), 1);
    }
}

// semantics 19
#[test]
fn the_share_of_a_version_is_independent_of_its_replicas() {
    let canary = [
        ("weir.service", "shop"),
        ("weir.version", "canary"),
        ("weir.weight", "10%"),
    ];
    let mut all = vec![container("s1", 1, &[("weir.service", "shop")])];
    for n in 0..5 {
        all.push(container(&format!("c{n}"), 2, &canary));
    }
    assert_eq!(
        weights(&model(&all), "shop"),
        pairs(&[("canary", "10"), ("stable", "90")])
    );
}

#[test]
fn the_newest_container_decides_and_hosts_add_up() {
    let base = ("weir.service", "shop");
    let old = container(
        "old",
        1,
        &[
            base,
            ("weir.host", "a.example.com"),
            ("weir.timeout", "1s"),
            ("weir.weight", "5"),
        ],
    );
    let new = container(
        "new",
        2,
        &[
            base,
            ("weir.host", "b.example.com"),
            ("weir.timeout", "2s"),
            ("weir.weight", "6"),
        ],
    );
    let both = model(&[new.clone(), old.clone()]);
    let route = &both.routes[0];
    assert_eq!(
        route.hostnames.iter().map(|h| h.text()).collect::<Vec<_>>(),
        ["a.example.com", "b.example.com"]
    );
    assert_eq!(route.rules[0].timeouts.request.unwrap().as_secs(), 2);
    assert_eq!(weights(&both, "shop"), pairs(&[("stable", "6")]));

    // One that is told to stop has no say while others stay, but what only it says holds until it is gone.
    let leaving = Container {
        state: ContainerState::Stopping,
        ..new
    };
    let rolled_back = model(&[old, leaving]);
    assert_eq!(
        rolled_back.routes[0].rules[0]
            .timeouts
            .request
            .unwrap()
            .as_secs(),
        1
    );
    assert_eq!(rolled_back.routes[0].hostnames.len(), 2);
}

// semantics 38
#[test]
fn a_wrong_label_of_a_new_container_leaves_what_runs_alone() {
    let base = [
        ("weir.service", "shop"),
        ("weir.host", "shop.example.com"),
        ("weir.path", "/api"),
        ("weir.timeout", "1s"),
    ];
    let good = container("good", 1, &base);
    let before = model(std::slice::from_ref(&good));
    for wrong in [
        ("weir.path", "api"),
        ("weir.timeout", "soon"),
        ("weir.host", "not a host"),
        ("weir.listener", "no listener"),
        ("weir.listener", "unknown"),
        ("weir.healthcheck.path", "healthz"),
        ("weir.healthcheck.status", "204"),
        ("weir.healthcheck.tcp", "false"),
        ("weir.healthcheck.grpc", "false"),
        ("weir.healthcheck.expect", r"\q"),
        ("weir.healthcheck.port", "0"),
        ("weir.sticky", "maybe"),
        ("weir.retry.on", "never"),
        ("weir.pool.connectTimeout", "0s"),
        ("weir.balancer", "MAGLEV"),
        ("weir.nonsense", "x"),
    ] {
        let mut labels = base.to_vec();
        labels.push(wrong);
        let after = {
            let (fragment, found, _) = labels::read(&[good.clone(), container("bad", 2, &labels)]);
            let web =
                Fragment::with_listener("web", "127.0.0.1:1".parse().unwrap(), Default::default());
            let compiled = compile(&[web, fragment]);
            let said = found
                .iter()
                .chain(&compiled.diagnostics)
                .any(|d| d.to_string().contains(wrong.0) && d.is_error());
            assert!(said, "{wrong:?} is not reported");
            compiled.model
        };
        let (old, new) = (&before.routes[0], &after.routes[0]);
        assert_eq!(
            (&old.hostnames, &old.listeners, &old.rules),
            (&new.hostnames, &new.listeners, &new.rules),
            "{wrong:?}"
        );
        assert_eq!(
            before.service("shop").unwrap().health_check,
            after.service("shop").unwrap().health_check
        );
    }
}

#[test]
fn a_wrong_label_alone_never_widens_what_a_container_answers_for() {
    for labels in [
        vec![("weir.host", "not a host"), ("weir.path", "/x")],
        vec![("weir.host", ""), ("weir.path", "/x")],
        vec![("weir.host", "a.example.com"), ("weir.path", "x")],
        vec![("weir.host", "a.example.com"), ("weir.listener", "not one")],
        vec![("weir.host", "a.example.com"), ("weir.listener", "unknown")],
    ] {
        let model = model(&[container("c", 1, &labels)]);
        assert!(
            model.routes.is_empty(),
            "{labels:?} made {:?}",
            model.routes
        );
        assert_eq!(model.services.len(), 1);
    }
}

// semantics 14, 16
#[test]
fn a_recycled_address_is_another_endpoint_and_a_kept_container_the_same() {
    let ids = |model: &Model| {
        model.services[0]
            .endpoints
            .iter()
            .map(|e| e.id.to_string())
            .collect::<Vec<_>>()
    };
    let first = container("aaaa", 1, &[("weir.service", "shop")]);
    let second = container(
        "bbbb",
        2,
        &[("weir.service", "shop"), ("weir.timeout", "9s")],
    );
    let before = ids(&model(std::slice::from_ref(&first)));
    assert_eq!(before, ["aaaa00000000:80"]);
    assert_eq!(
        ids(&model(std::slice::from_ref(&second))),
        ["bbbb00000000:80"]
    );
    assert!(ids(&model(&[first, second])).contains(&before[0]));
}

// semantics 16
#[test]
fn the_state_of_a_container_gates_its_endpoint() {
    let running = |health| ContainerState::Running { health };
    for (state, want) in [
        (running(None), Admission::Probe),
        (running(Some(Health::Healthy)), Admission::Ready),
        (
            running(Some(Health::Starting)),
            Admission::NotReady("starting".into()),
        ),
        (
            running(Some(Health::Unhealthy)),
            Admission::NotReady("unhealthy".into()),
        ),
        (ContainerState::Paused, Admission::NotReady("paused".into())),
        (ContainerState::Stopping, Admission::Draining),
    ] {
        let box_ = Container {
            state,
            ..container("c", 1, &[])
        };
        assert_eq!(model(&[box_]).services[0].endpoints[0].admission, want);
    }
}

// semantics 18
#[test]
fn a_version_that_cannot_take_a_request_yet_or_any_more_has_no_share() {
    let stable = container("s", 1, &[("weir.service", "shop")]);
    let canary = container(
        "c",
        2,
        &[
            ("weir.service", "shop"),
            ("weir.version", "canary"),
            ("weir.weight", "20"),
        ],
    );
    let with = |state| {
        weights(
            &model(&[
                stable.clone(),
                Container {
                    state,
                    ..canary.clone()
                },
            ]),
            "shop",
        )
    };
    let nothing = pairs(&[("canary", "0"), ("stable", "100")]);
    assert_eq!(
        with(ContainerState::Running {
            health: Some(Health::Starting)
        }),
        nothing
    );
    assert_eq!(with(ContainerState::Stopping), nothing);
    let share = pairs(&[("canary", "20"), ("stable", "80")]);
    assert_eq!(
        with(ContainerState::Running {
            health: Some(Health::Healthy)
        }),
        share
    );
    // semantics 24: a dead version keeps its share.
    assert_eq!(
        with(ContainerState::Running {
            health: Some(Health::Unhealthy)
        }),
        share
    );
}

#[test]
fn labels_name_no_address_that_would_reach_around_the_network() {
    for address in [
        "127.0.0.1",
        "169.254.169.254",
        "169.254.1.1",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
    ] {
        let mut c = container("c", 1, &[("weir.host", "a.example.com")]);
        c.addresses
            .insert("net".to_owned(), address.parse().unwrap());
        let (fragment, found, reports) = labels::read(std::slice::from_ref(&c));
        assert!(
            fragment.is_empty() && found.len() == 1 && !reports[0].included,
            "{address}"
        );
        let allowed = LabelOptions {
            allow_loopback_endpoints: true,
            ..LabelOptions::default()
        };
        let (fragment, ..) = labels::read_with(&[c], allowed);
        assert_eq!(fragment.services.len(), 1, "{address}");
    }
}

#[test]
fn nothing_is_taken_from_a_container_that_does_not_opt_in() {
    for value in ["false", "", "no", "1"] {
        let mut c = container("c", 1, &[("weir.host", "a.example.com")]);
        c.labels.insert("weir.enable".into(), value.into());
        let (fragment, _, reports) = labels::read(&[c]);
        assert!(fragment.is_empty() && !reports[0].included, "{value:?}");
    }
}

#[test]
fn a_label_cannot_reach_the_environment() {
    let labels = [
        ("weir.healthcheck.path", "/"),
        ("weir.healthcheck.body", "${HOME}"),
    ];
    let shown = weir_config::dump(&model(&[container("c", 1, &labels)])).to_string();
    assert!(shown.contains("${HOME}"), "{shown}");
}

#[test]
fn the_older_claim_holds_whatever_came_with_it() {
    let shop = container("shop", 10, &[("weir.host", "x.example.com")]);
    let late = container(
        "late",
        1,
        &[("weir.service", "late"), ("weir.host", "y.example.com")],
    );
    let grab = container(
        "grab",
        20,
        &[("weir.service", "late"), ("weir.host", "X.example.com")],
    );
    let (fragment, ..) = labels::read(&[grab, late, shop]);
    let web = Fragment::with_listener("web", "127.0.0.1:1".parse().unwrap(), Default::default());
    let compiled = compile(&[web, fragment]);
    let hosts = |name: &str| {
        let route = compiled
            .model
            .routes
            .iter()
            .find(|r| r.name.as_str() == name)
            .unwrap();
        route.hostnames.iter().map(|h| h.text()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("shop"), ["x.example.com"]);
    assert_eq!(hosts("late"), ["y.example.com"]);
    let said = compiled.diagnostics[0].to_string();
    assert!(
        said.contains("container grab") && said.contains("container shop"),
        "{said}"
    );
}

#[test]
fn a_container_says_which_form_of_http_it_speaks() {
    for (word, want) in [
        ("http", AppProtocol::Http),
        ("http1", AppProtocol::Http1),
        ("h2c", AppProtocol::H2c),
        ("gRPC", AppProtocol::H2c),
    ] {
        let labels = [("weir.host", "a.example.com"), ("weir.protocol", word)];
        let model = model(&[container("shop", 1, &labels)]);
        assert_eq!(model.service("shop").unwrap().protocol, want, "{word}");
        assert_eq!(model.routes.len(), 1, "{word}");
    }
}

#[test]
fn no_label_names_a_file_or_says_whom_to_believe() {
    for (label, value) in [
        ("weir.tls.cert", "/etc/passwd"),
        ("weir.tls.validation.caCertificates", "/etc/shadow"),
        ("weir.tls.insecureSkipVerify", "true"),
        ("weir.certificate", "/run/secrets/tls.crt"),
        ("weir.protocol", "https"),
    ] {
        let host = ("weir.host", "a.example.com");
        let (fragment, found, _) = labels::read(&[container("shop", 1, &[host, (label, value)])]);
        assert!(found.iter().any(|d| d.is_error()), "{label}");
        let model = compile(std::slice::from_ref(&fragment)).model;
        assert_eq!(model.service("shop").unwrap().tls, None, "{label}");
        let mut asked = fragment;
        asked.look_up(&|path| panic!("{label} made Weir look at {}", path.display()));
    }
}

#[test]
fn a_typo_in_a_label_of_the_mesh_opens_nothing() {
    let mesh = |labels: &[(&str, &str)]| {
        let container = [container("shop", 1, labels)];
        let mesh = model(&container).service("shop").unwrap().mesh;
        mesh.map(|mesh| (mesh.mode, mesh.port))
    };
    let errors = |labels: &[(&str, &str)]| {
        let (_, found, _) = labels::read(&[container("shop", 1, labels)]);
        found
            .into_iter()
            .filter(weir_config::Diagnostic::is_error)
            .count()
    };
    let strict = Some((MeshMode::Strict, 15006));
    assert_eq!(mesh(&[("weir.mesh", "strct")]), strict);
    assert_eq!(errors(&[("weir.mesh", "strct")]), 1);
    assert_eq!(
        mesh(&[("weir.mesh", "strct"), ("weir.mesh.port", "16006")]),
        Some((MeshMode::Strict, 16006))
    );
    for wrong in [
        ("weir.mesh.port", "0"),
        ("weir.mesh.port", "many"),
        ("weir.mesh.protocol", "tpc"),
        ("weir.mesh.listen", "15432"),
    ] {
        let labels = [("weir.mesh", "strict"), wrong];
        assert_eq!(mesh(&labels), strict, "{wrong:?}");
        assert_eq!(errors(&labels), 1, "{wrong:?}");
        assert_eq!(mesh(&[("weir.mesh", "off"), wrong]), None, "{wrong:?}");
    }
}

//! Files: hostile YAML, the environment, several files, and what `check` holds them to.

use std::path::Path;

use weir_config::file::{self, Loaded, parse_with};
use weir_config::settings::{AccessLogFormat, AdminBind};
use weir_config::{Diagnostic, Severity, check, compile, diagnostic};

fn parse(text: &str) -> Loaded {
    parse_with(Path::new("weir.yaml"), text, &|_| None)
}

fn one_error<'a>(found: &'a [Diagnostic], part: &str) -> &'a Diagnostic {
    let mut errors = found.iter().filter(|d| d.is_error());
    let error = errors
        .next()
        .unwrap_or_else(|| panic!("no error, wanted {part:?}"));
    assert!(
        error.message.contains(part),
        "{error} does not say {part:?}"
    );
    assert!(errors.next().is_none(), "more than one error: {found:?}");
    error
}

#[test]
fn yaml_that_expands_without_end_is_refused() {
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("b{level}: &a{level} [{refs}]\n"));
    }
    one_error(&parse(&bomb).diagnostics, "more than 500000 values");
}

#[test]
fn yaml_nested_too_deep_is_refused() {
    for text in [
        "[".repeat(10_000),
        "a: ".to_owned() + &"[".repeat(100) + &"]".repeat(100),
        "- ".repeat(10_000),
        (0..200).map(|n| " ".repeat(n) + "a:\n").collect(),
    ] {
        assert!(parse(&text).has_errors(), "{}", &text[..20]);
    }
    // By aliases, too, which the parser itself does not see.
    let mut text = String::from("l0: &l0 [x]\n");
    for level in 1..80 {
        text.push_str(&format!("l{level}: &l{level} [*l{}]\n", level - 1));
    }
    one_error(&parse(&text).diagnostics, "nested more than 64 deep");
}

#[test]
fn text_larger_than_eight_mebibytes_is_refused() {
    let text = "# ".to_owned() + &"x".repeat(8 << 20);
    one_error(&parse(&text).diagnostics, "bytes, at most");
}

#[test]
fn a_key_given_twice_is_refused_where_it_stands() {
    let loaded = parse("workers: 1\nlisteners: []\nworkers: 2\n");
    let error = one_error(&loaded.diagnostics, "given twice, first on line 1");
    assert_eq!(error.source.to_string(), "weir.yaml:3:1");
    assert_eq!(loaded.settings.workers, Some(1));
}

#[test]
fn overload_has_marks_in_order_whatever_is_left_out() {
    let overload = |text: &str| {
        let loaded = parse(text);
        assert!(!loaded.has_errors(), "{text}: {:?}", loaded.diagnostics);
        let overload = loaded.settings.overload;
        (
            overload.memory_limit,
            overload.close_idle_at,
            overload.shed_at,
            overload.max_requests,
        )
    };
    assert_eq!(overload(""), (None, 80, 90, None));
    assert_eq!(overload("overload: {}\n"), (None, 80, 90, None));
    let all =
        "overload: { memory: { limit: 1GiB, shedAt: 95%, closeIdleAt: 60 }, maxRequests: 7 }\n";
    assert_eq!(overload(all), (Some(1 << 30), 60, 95, Some(7)));
    // The milder mark follows where the other goes below its default.
    let low = "overload: { memory: { shedAt: 70% } }\n";
    assert_eq!(overload(low), (None, 70, 70, None));
}

#[test]
fn an_alias_of_itself_and_own_tags_are_refused() {
    assert!(parse("services: &a [*a]\n").has_errors());
    one_error(
        &parse("workers: !exec 4\n").diagnostics,
        "has no meaning here",
    );
    one_error(
        &parse("admin: { <<: { bind: 127.0.0.1:1 } }\n").diagnostics,
        "unknown key",
    );
    assert_eq!(parse("workers: !!int 4\n").settings.workers, Some(4));
}

#[test]
fn what_is_not_yaml_names_line_and_column() {
    let loaded = parse("listeners:\n  - name: web\n    bind: [1\n");
    let error = one_error(&loaded.diagnostics, "not YAML");
    assert!(
        error.source.to_string().starts_with("weir.yaml:"),
        "{error}"
    );
    let shown = diagnostic::render(&loaded.diagnostics, false, &loaded.files);
    assert!(shown.contains("error: this is not YAML"), "{shown}");
}

#[test]
fn an_alias_is_read_as_what_it_names() {
    let text = "
services:
  - &shop { name: shop, endpoints: [&e { address: 127.0.0.1:1 }] }
  - { name: again, endpoints: [*e] }
";
    let compiled = compile(&[parse(text).fragment]);
    assert!(
        compiled.diagnostics.is_empty(),
        "{:?}",
        compiled.diagnostics
    );
    assert_eq!(
        compiled.model.service("again").unwrap().endpoints[0]
            .address
            .port(),
        1
    );
}

#[test]
fn the_environment_fills_values_in() {
    let env = |name: &str| (name == "PORT").then(|| "9123".to_owned());
    let text = "admin: { bind: \"127.0.0.1:${PORT}\" }\nstateDir: ${STATE:-/tmp/weir}\n";
    let loaded = parse_with(Path::new("weir.yaml"), text, &env);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    assert_eq!(loaded.settings.admin.bind.to_string(), "127.0.0.1:9123");
    assert_eq!(loaded.settings.state_dir.unwrap(), Path::new("/tmp/weir"));
    one_error(&parse(text).diagnostics, "PORT is not set");
}

#[test]
fn the_place_of_the_proxy_is_the_files_or_the_environments() {
    let env =
        |text: &'static str| move |name: &str| (name == "WEIR_LOCALITY").then(|| text.to_owned());
    let read = |file: &str, text: &'static str| {
        let loaded = parse_with(Path::new("weir.yaml"), file, &env(text));
        let place = loaded.settings.locality.map(|place| place.to_string());
        (place, loaded.diagnostics)
    };
    for (file, text, want) in [
        ("locality: eu/a/rack1", "us", Some("eu/a/rack1")),
        ("workers: 1", "us/b", Some("us/b")),
        ("", "us", Some("us")),
        ("", "", None),
    ] {
        let (place, found) = read(file, text);
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(place.as_deref(), want, "{file:?} {text:?}");
    }
    for (file, text, part) in [
        ("", "*", "without a region"),
        ("", "a//b", "is not a locality"),
        ("locality: '*'", "us", "without a region"),
    ] {
        let (place, found) = read(file, text);
        let error = one_error(&found, part);
        assert_eq!(place, None, "{error}");
        assert!(error.source.to_string().contains(if file.is_empty() {
            "WEIR_LOCALITY"
        } else {
            "weir.yaml:1"
        }));
    }
}

#[test]
fn a_token_is_named_and_never_written_or_shown() {
    let loaded = parse("admin: { token: file:/run/secrets/token }");
    assert_eq!(
        loaded.settings.admin.token_file.as_deref(),
        Some(Path::new("/run/secrets/token"))
    );
    let env = |_: &str| Some("hunter2".to_owned());
    let loaded = parse_with(Path::new("weir.yaml"), "admin: { token: '${TOKEN}' }", &env);
    one_error(&loaded.diagnostics, "not written in the configuration");
    assert!(!diagnostic::render(&loaded.diagnostics, false, &loaded.files).contains("hunter2"));
}

#[test]
fn an_admin_server_that_others_can_reach_is_a_warning() {
    for (bind, warned) in [
        ("0.0.0.0:9900", true),
        ("10.0.0.1:1", true),
        ("127.0.0.1:1", false),
        ("\"[::1]:1\"", false),
        ("unix:///run/w", false),
    ] {
        let loaded = parse(&format!("admin: {{ bind: {bind} }}"));
        assert!(!loaded.has_errors());
        assert_eq!(loaded.diagnostics.len(), usize::from(warned), "{bind}");
    }
    assert!(parse("admin: { bind: unix://relative }").has_errors());
    assert_eq!(parse("").settings.admin.bind, AdminBind::default());
    assert_eq!(
        parse("accessLog: off").settings.access_log,
        AccessLogFormat::Off
    );
}

#[test]
fn what_is_not_in_force_is_named() {
    let text = "
services:
  - name: a
    loadBalancer: { localityLbSetting: { failoverPriority: [x] } }
    connectionPool: { tcp: { tcpKeepalive: {}, maxConnectionDuration: 1h }, http: { useClientProtocol: true } }
discovery: { consul: { address: x } }
";
    let loaded = parse(text);
    let compiled = check(&loaded);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    let said: String = compiled
        .diagnostics
        .iter()
        .map(|d| format!("{}\n", d.message))
        .collect();
    for field in [
        "failoverPriority",
        "tcpKeepalive",
        "maxConnectionDuration",
        "useClientProtocol",
        "discovery.consul",
    ] {
        assert!(said.contains(field), "{field} is not named in\n{said}");
    }
}

#[test]
fn plain_text_is_never_served_where_tls_was_asked_for() {
    for extra in [
        "protocol: https",
        "tls: {}",
        "protocol: tls",
        "protocol: htttp",
    ] {
        let text = format!(
            "listeners: [{{ name: web, bind: 127.0.0.1:1, {extra} }}]
services: [{{ name: s, endpoints: [{{ address: 127.0.0.1:2 }}] }}]
routes: [{{ name: r, listeners: [web], rules: [{{ backendRefs: [{{ name: s }}] }}] }}]"
        );
        let compiled = compile(&[parse(&text).fragment]);
        assert!(compiled.has_errors(), "{extra}");
        assert!(compiled.model.listeners.is_empty(), "{extra}");
        assert!(
            compiled.model.routes.is_empty(),
            "{extra}: the route moved to every listener"
        );
    }
}

// semantics 29
#[test]
fn an_unknown_service_keeps_its_share_and_is_an_error_only_where_nothing_can_bring_it() {
    let text = "
services: [{ name: shop, endpoints: [{ address: 127.0.0.1:1 }] }]
routes: [{ name: r, rules: [{ backendRefs: [{ name: shop, weight: 9 }, { name: gone }] }] }]
";
    let severity = |text: &str| {
        let compiled = check(&parse(text));
        assert_eq!(compiled.model.routes[0].rules[0].backends.len(), 2);
        compiled
            .diagnostics
            .iter()
            .map(|d| d.severity)
            .collect::<Vec<_>>()
    };
    assert_eq!(severity(text), [Severity::Error]);
    assert_eq!(
        severity(&format!("{text}\ndiscovery: {{ docker: {{}} }}")),
        [Severity::Warning]
    );
    let compiled = compile(&[parse(text).fragment]);
    assert!(!compiled.has_errors() && compiled.diagnostics.len() == 1);
}

// semantics 38
#[test]
fn one_bad_item_leaves_the_others_in_force() {
    let text = "
listeners: [{ name: web, bind: 127.0.0.1:1 }, { name: bad, bind: nowhere }]
services: [{ name: good, endpoints: [{ address: 127.0.0.1:2 }] }, { name: bad, endpoints: [{ address: x:1 }] }]
routes:
  - { name: bad, hostnames: ['a b'], rules: [{ backendRefs: [{ name: good }] }] }
  - { name: good, rules: [{ backendRefs: [{ name: good }, { name: bad }] }] }
";
    let compiled = check(&parse(text));
    let model = &compiled.model;
    assert_eq!(
        (
            model.listeners.len(),
            model.services.len(),
            model.routes.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(
        compiled.diagnostics.iter().filter(|d| d.is_error()).count(),
        3,
        "{:?}",
        compiled.diagnostics
    );
    for found in &compiled.diagnostics {
        assert!(
            found.source.to_string().starts_with("weir.yaml:"),
            "{found} has no place"
        );
    }
}

#[test]
fn a_directory_is_its_yaml_files_in_order_and_a_missing_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "20-services.yml",
        "services: [{ name: shop }]\nworkers: 2\n",
    );
    write(
        "10-listeners.yaml",
        "listeners: [{ name: web, bind: 127.0.0.1:1 }]\nworkers: 1\n---\naccessLog: common\n",
    );
    write(".hidden.yaml", "nonsense: 1");
    write("notes.txt", "nonsense: 1");
    let loaded = file::load(&[dir.path().to_path_buf()]);
    assert_eq!(loaded.settings.workers, Some(1));
    assert_eq!(loaded.settings.access_log, AccessLogFormat::Common);
    assert_eq!(
        (
            loaded.fragment.listeners.len(),
            loaded.fragment.services.len()
        ),
        (1, 1)
    );
    assert_eq!(loaded.files.paths().count(), 2);
    one_error(&loaded.diagnostics, "workers is set twice");

    std::fs::write(dir.path().join("latin1.yaml"), b"name: \xe9").unwrap();
    let loaded = file::load(&[dir.path().join("latin1.yaml"), dir.path().join("none.yaml")]);
    let said: Vec<&str> = loaded
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert!(
        said[0].contains("not UTF-8") && said[1].contains("cannot be read"),
        "{said:?}"
    );
    assert!(loaded.has_errors());
}

#[test]
fn file_endpoints_with_a_check_wait_for_their_first_pass() {
    use weir_config::model::Admission;
    let text = "
services:
  - { name: checked, healthCheck: {}, endpoints: [{ address: 127.0.0.1:1 }] }
  - { name: plain, endpoints: [{ address: 127.0.0.1:1 }] }
";
    let model = compile(&[parse(text).fragment]).model;
    // semantics 13
    assert_eq!(
        model.service("checked").unwrap().endpoints[0].admission,
        Admission::Probe
    );
    assert_eq!(
        model.service("plain").unwrap().endpoints[0].admission,
        Admission::Ready
    );
}

#[test]
fn ten_thousand_routes_compile_in_seconds() {
    let mut text = String::from("listeners: [{ name: web, bind: 127.0.0.1:1 }]\nservices:\n");
    for n in 0..1000 {
        text.push_str(&format!(
            "- {{ name: s{n}, endpoints: [{{ address: 127.0.0.1:{} }}] }}\n",
            n + 1
        ));
    }
    text.push_str("routes:\n");
    for n in 0..10_000 {
        text.push_str(&format!("- {{ name: r{n}, hostnames: [h{n}.example.com], rules: [{{ backendRefs: [{{ name: s{} }}] }}] }}\n", n % 1000));
    }
    let start = std::time::Instant::now();
    let compiled = compile(&[parse(&text).fragment]);
    assert!(compiled.diagnostics.is_empty());
    assert_eq!(compiled.model.routes.len(), 10_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn lookups_are_read_with_their_defaults() {
    let text = "discovery:\n  dns:\n    - { service: web, name: tasks.web., port: 80 }\n    \
                - { service: web, name: s.test, type: SRV, minTtl: 60s, resolvers: [\"::1\", \"10.0.0.2:5353\"] }\n";
    let loaded = weir_config::file::parse(std::path::Path::new("weir.yaml"), text);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let lookups = &loaded.settings.dns;
    let ids: Vec<String> = lookups.iter().map(|lookup| lookup.id()).collect();
    assert_eq!(ids, ["web/tasks.web:80/A", "web/s.test/SRV"]);
    let secs = |n| std::time::Duration::from_secs(n);
    assert_eq!(
        (lookups[0].min_ttl, lookups[0].max_ttl),
        (secs(1), secs(30))
    );
    assert_eq!(
        (lookups[1].min_ttl, lookups[1].max_ttl),
        (secs(60), secs(60))
    );
    let resolvers: Vec<String> = lookups[1]
        .resolvers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(resolvers, ["[::1]:53", "10.0.0.2:5353"]);
}

#[test]
fn a_directory_of_endpoint_files_has_to_be_named() {
    let read = |text: &str| weir_config::file::parse(std::path::Path::new("weir.yaml"), text);
    let good = read("discovery: { files: { directory: /run/endpoints, hold: 3s } }\n");
    assert!(good.diagnostics.is_empty(), "{:?}", good.diagnostics);
    let files = good.settings.endpoint_files.unwrap();
    assert_eq!(files.directory, std::path::Path::new("/run/endpoints"));
    assert_eq!(files.hold, std::time::Duration::from_secs(3));
    let bad = read("discovery: { files: { hold: 3s } }\n");
    assert!(
        bad.diagnostics[0].message.contains("directory"),
        "{:?}",
        bad.diagnostics
    );
    assert_eq!(bad.settings.endpoint_files, None);
}

#[test]
fn a_swarm_is_asked_as_the_file_says_and_otherwise_by_default() {
    let read = |text: &str| weir_config::file::parse(std::path::Path::new("weir.yaml"), text);
    let plain = read("discovery: { swarm: {} }\n");
    assert!(plain.diagnostics.is_empty(), "{:?}", plain.diagnostics);
    let default = weir_config::settings::SwarmSettings::default();
    assert_eq!(plain.settings.swarm, Some(default.clone()));
    let all = read(
        "discovery:\n  swarm: { endpoint: tcp://manager:2375, network: edge, addresses: vip, interval: 2s, hold: 3s, \
         traefikLabels: true }\n",
    );
    assert!(all.diagnostics.is_empty(), "{:?}", all.diagnostics);
    let expected = weir_config::settings::SwarmSettings {
        endpoint: "tcp://manager:2375".into(),
        network: Some("edge".into()),
        addresses: weir_config::settings::SwarmAddresses::Vip,
        interval: std::time::Duration::from_secs(2),
        hold: std::time::Duration::from_secs(3),
        traefik_labels: true,
    };
    assert_eq!(all.settings.swarm, Some(expected));
    for (text, says) in [
        ("interval: 50ms", "at least 200ms"),
        ("addresses: ips", "what is called of a service"),
        (
            "endpoint: ssh://manager",
            "not the address of a Docker engine",
        ),
        ("intervall: 1s", "interval"),
    ] {
        let bad = read(&format!("discovery: {{ swarm: {{ {text} }} }}\n"));
        let found = format!("{:?}", bad.diagnostics);
        assert!(found.contains(says), "{text}: {found}");
    }
}

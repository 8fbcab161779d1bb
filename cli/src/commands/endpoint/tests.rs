use super::*;
use crate::output::Format;

fn endpoint(service: &str, id: &str, address: &str) -> Endpoint {
    let row = json!({
        "service": service, "id": id, "address": address, "version": "stable", "weight": 1.0,
        "state": "ready", "reason": "", "since": "2026-11-22T02:00:00Z", "available": true,
        "inFlight": 0, "requests": 0, "errors": 0, "source": "weir.yaml:1"
    });
    serde_json::from_value(row).unwrap()
}

fn known() -> Vec<Endpoint> {
    vec![
        endpoint("shop", "3f2a9c01:8080", "172.17.0.2:8080"),
        endpoint("shop", "3f77aaaa:8080", "172.17.0.3:8080"),
        endpoint("blog", "blog@172.17.0.2:8080", "172.17.0.2:8080"),
    ]
}

fn named(name: &str, service: Option<&str>) -> Named {
    Named {
        name: name.into(),
        service: service.map(|service| service.parse().unwrap()),
        reason: None,
    }
}

#[test]
fn an_endpoint_is_named_by_id_address_or_the_start_of_its_id() {
    let known = known();
    for (name, service, id) in [
        ("3f2a9c01:8080", None, "3f2a9c01:8080"),
        ("3f2a", None, "3f2a9c01:8080"),
        ("172.17.0.3:8080", None, "3f77aaaa:8080"),
        ("172.17.0.2:8080", Some("blog"), "blog@172.17.0.2:8080"),
    ] {
        let found = find(&known, &named(name, service)).unwrap();
        assert_eq!(found.id, id, "{name}");
    }
}

#[test]
fn a_name_that_is_nobodys_or_several_peoples_lists_who_could_be_meant() {
    let known = known();
    for (name, service, message, listed) in [
        ("3f", None, "is 2 endpoints", "shop 3f77aaaa:8080"),
        ("172.17.0.2:8080", None, "is 2 endpoints", "blog blog@172"),
        ("nope", None, "no endpoint \"nope\"", "shop 3f2a9c01:8080"),
        ("", None, "no endpoint", "shop 3f2a9c01:8080"),
        ("3f2a", Some("blog"), "of service blog", "blog blog@172"),
    ] {
        let failure = find(&known, &named(name, service)).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains(message), "{name}: {text}");
        assert!(text.contains(listed), "{name}: {text}");
        assert_eq!(failure.exit, Exit::Failure, "{name}");
    }
}

#[test]
fn a_time_is_checked_before_anything_is_asked() {
    for text in ["10m", "1h30m", "250ms"] {
        assert_eq!(time(text).as_deref(), Ok(text));
    }
    for text in ["0", "10", "soon", "-1m"] {
        assert!(time(text).is_err(), "{text}");
    }
}

#[test]
fn what_came_of_it_is_told_with_the_state_and_its_end() {
    let change = EndpointChange {
        service: "shop".into(),
        id: "3f2a9c01:8080".into(),
        action: EndpointAction::Drain,
        changed: true,
        message: "drain 3f2a9c01:8080 for 10m".into(),
        warnings: vec![],
        state: "draining".into(),
        reason: "disk swap, by cli".into(),
        since: "2026-11-22T02:00:00.000Z".into(),
        until: Some("2026-11-22T02:10:00.000Z".into()),
        available: false,
        in_flight: 3,
    };
    let printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };
    assert_eq!(
        told(&change, printer),
        "drain 3f2a9c01:8080 for 10m\n\
         shop 3f2a9c01:8080 is draining until 2026-11-22T02:10:00.000Z (disk swap, by cli), 3 in flight\n"
    );
}

use bollard::models::{EventActor, EventMessageTypeEnum};

use super::*;
use crate::discovery::engine::EngineError;

fn known() -> Known {
    let settings = DockerSettings {
        endpoint: "unix:///nowhere".into(),
        ..DockerSettings::default()
    };
    Known::new(settings, Some("0000".into()), false)
}

fn listed(known: &Known, ids: &[&str]) -> Listed {
    let summaries = ids
        .iter()
        .map(|id| {
            serde_json::from_value(serde_json::json!({
                "Id": id, "Names": [format!("/c-{id}")], "State": "running", "Status": "Up 1 second",
                "Labels": {"weir.enable": "true", "weir.service": "shop", "weir.port": "80"},
                "NetworkSettings": {"Networks": {"edge": {"IPAddress": "172.18.0.2"}, "back": {"IPAddress": "10.0.0.2"}}},
            }))
            .unwrap()
        })
        .collect();
    Listed {
        summaries,
        services: Services::default(),
        details: Vec::new(),
        moment: known.marks.now(),
    }
}

fn event(action: &str, id: &str) -> EventMessage {
    EventMessage {
        typ: Some(EventMessageTypeEnum::CONTAINER),
        action: Some(action.into()),
        actor: Some(EventActor {
            id: Some(id.into()),
            attributes: None,
        }),
        ..EventMessage::default()
    }
}

fn states(known: &Known) -> Vec<(String, bool)> {
    let stopping = |id: &String| known.marks.is_stopping(id);
    known
        .containers
        .keys()
        .map(|id| (id.clone(), stopping(id)))
        .collect()
}

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

// semantics 34
#[test]
fn a_list_does_not_bring_back_a_container_that_was_told_to_stop() {
    let mut known = known();
    let list = listed(&known, &["aaaa", "bbbb"]);
    known.take(at(0), list);
    assert_eq!(known.on_event(&event("kill", "aaaa")), Effect::Drain);
    for secs in 1..4 {
        let list = listed(&known, &["aaaa", "bbbb"]);
        known.take(at(secs), list);
        assert_eq!(
            states(&known),
            [("aaaa".into(), true), ("bbbb".into(), false)]
        );
    }
    known.on_event(&event("die", "aaaa"));
    known.on_event(&event("start", "aaaa"));
    let list = listed(&known, &["aaaa", "bbbb"]);
    known.take(at(5), list);
    assert_eq!(
        states(&known),
        [("aaaa".into(), false), ("bbbb".into(), false)]
    );
}

// semantics 16
#[test]
fn a_list_that_was_under_way_when_a_container_died_is_not_believed_about_it() {
    let mut known = known();
    let list = listed(&known, &["aaaa"]);
    known.take(at(0), list);
    let stale = listed(&known, &["aaaa", "bbbb"]);
    known.on_event(&event("die", "aaaa"));
    known.take(at(1), stale);
    assert_eq!(states(&known), [("bbbb".into(), false)]);
}

// semantics 36
#[test]
fn an_empty_list_keeps_what_is_known() {
    let mut known = known();
    let list = listed(&known, &["aaaa", "bbbb"]);
    known.take(at(0), list);
    let list = listed(&known, &[]);
    let taken = known.take(at(100), list);
    assert!(taken.empty);
    assert_eq!(known.count(), 2);
}

// semantics 36
#[test]
fn most_of_a_service_missing_without_a_word_is_kept_for_a_while() {
    let mut known = known();
    let list = listed(&known, &["aaaa", "bbbb", "cccc"]);
    known.take(at(0), list);
    let list = listed(&known, &["aaaa"]);
    let taken = known.take(at(1), list);
    assert_eq!(
        (taken.held, taken.until, known.count()),
        (2, Some(at(11)), 3)
    );
    let list = listed(&known, &["aaaa"]);
    let taken = known.take(at(11), list);
    assert_eq!((taken.released, known.count()), (2, 1));
}

#[test]
fn a_container_is_inspected_once_and_again_when_its_start_may_have_been_missed() {
    let mut known = known();
    let mut list = listed(&known, &["aaaa"]);
    assert_eq!(known.inspected(false).missing(&list.summaries), ["aaaa"]);
    list.details.push(("aaaa".into(), Detail::default()));
    known.take(at(0), list);
    let list = listed(&known, &["aaaa"]);
    assert!(known.inspected(true).missing(&list.summaries).is_empty());
    known.on_event(&event("kill", "aaaa"));
    assert!(known.inspected(false).missing(&list.summaries).is_empty());
    assert_eq!(known.inspected(true).missing(&list.summaries), ["aaaa"]);
}

#[test]
fn a_network_that_is_shared_is_preferred_and_one_that_is_configured_decides() {
    let mut known = known();
    let mut list = listed(&known, &["aaaa", "0000ffff"]);
    list.summaries[1]
        .network_settings
        .as_mut()
        .unwrap()
        .networks
        .as_mut()
        .unwrap()
        .remove("back");
    known.take(at(0), list);
    assert_eq!(
        known.containers["aaaa"].default_network.as_deref(),
        Some("edge")
    );
    known.settings.network = Some("back".into());
    let list = listed(&known, &["aaaa", "0000ffff"]);
    known.take(at(1), list);
    assert_eq!(
        known.containers["aaaa"].default_network.as_deref(),
        Some("back")
    );
}

#[test]
fn a_task_whose_service_opts_out_is_not_held_as_missing() {
    let mut known = known();
    let list = listed(&known, &["aaaa"]);
    known.take(at(0), list);
    let mut list = listed(&known, &["aaaa"]);
    let labels = list.summaries[0].labels.as_mut().unwrap();
    labels.remove("weir.enable");
    let taken = known.take(at(1), list);
    assert_eq!((taken.held, known.count()), (0, 0));
}

#[test]
fn a_task_whose_services_labels_are_not_known_says_so() {
    let mut known = known();
    let mut list = listed(&known, &["aaaa"]);
    list.summaries[0].labels = Some([(services::SERVICE_ID.to_owned(), "s1".to_owned())].into());
    let refused = EngineError::Refused {
        status: 503,
        message: String::new(),
    };
    list.services = Services::default().renewed(Err(refused)).unwrap();
    known.take(at(0), list);
    let reason = &known.found().containers[0].reason;
    assert!(
        reason.contains("does not opt in") && reason.contains("deploy.labels"),
        "{reason}"
    );
}

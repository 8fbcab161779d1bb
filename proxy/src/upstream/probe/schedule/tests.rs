use weir_config::model::{Admission, Endpoint, Model, Service};

use super::*;
use crate::upstream::registry::Registry;

/// In the middle: no jitter, and half an interval after a start in common.
const STEADY: f64 = 0.5;

fn states(ids: &[&str]) -> Vec<Arc<EndpointState>> {
    let endpoint = |id: &&str| Endpoint {
        admission: Admission::Probe,
        ..Endpoint::new(id.parse().unwrap(), "127.0.0.1:1".parse().unwrap())
    };
    let service = Service {
        endpoints: ids.iter().map(endpoint).collect(),
        ..Service::new("shop".parse().unwrap())
    };
    let registry = Registry::default();
    let model = Model {
        services: vec![Arc::new(service)],
        ..Model::default()
    };
    registry.reconcile(&model).carry_out();
    ids.iter()
        .map(|id| {
            registry
                .get(&"shop".parse().unwrap(), &id.parse().unwrap())
                .unwrap()
        })
        .collect()
}

fn target(state: &Arc<EndpointState>) -> Target {
    Target {
        state: Arc::clone(state),
        check: Arc::default(),
        tls: None,
    }
}

/// Runs the one probe that is due now.
fn probe(schedule: &mut Schedule, now: Instant, outcome: Result<&str, &str>) {
    let job = schedule.pop_due(now).expect("a probe is due");
    schedule.finish(
        now,
        job.ticket,
        outcome.map(str::to_owned).map_err(str::to_owned),
        STEADY,
    );
}

fn wait(schedule: &mut Schedule, now: Instant) -> Duration {
    schedule.next_due().unwrap().duration_since(now)
}

// semantics 13
#[test]
fn a_new_endpoint_is_probed_at_once_and_its_first_pass_admits() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let state = &states(&["a:1"])[0];
    schedule.reconcile(now, vec![target(state)]);
    assert!(!state.is_available());
    probe(&mut schedule, now, Ok("connected"));
    assert!(state.is_available());
    assert_eq!(&*state.standing().reason, "connected");
    assert_eq!(wait(&mut schedule, now), Duration::from_millis(2500));
    let later = now + Duration::from_millis(2500);
    probe(&mut schedule, later, Ok("connected"));
    assert_eq!(wait(&mut schedule, later), Duration::from_secs(5));
}

#[test]
fn one_that_does_not_answer_yet_is_asked_again_soon_and_then_less_often() {
    let (mut schedule, start) = (Schedule::default(), Instant::now());
    let state = &states(&["a:1"])[0];
    schedule.reconcile(start, vec![target(state)]);
    for (age, expected) in [
        (0, 100),
        (500, 100),
        (3_000, 300),
        (20_000, 2_000),
        (90_000, 5_000),
    ] {
        let now = start + Duration::from_millis(age);
        probe(&mut schedule, now, Err("connection refused"));
        assert_eq!(
            wait(&mut schedule, now),
            Duration::from_millis(expected),
            "at {age} ms"
        );
    }
    assert_eq!(
        (state.standing().state, &*state.standing().reason),
        ("probing", "connection refused")
    );
}

// semantics 15
#[test]
fn rise_and_fall_have_their_own_thresholds() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let state = &states(&["a:1"])[0];
    schedule.reconcile(now, vec![target(state)]);
    let mut at = now;
    for (outcome, available, reason) in [
        (Ok("connected"), true, "connected"),
        (Err("refused"), true, "failure 1 of 3: refused"),
        (Ok("connected"), true, "connected"),
        (Err("refused"), true, "failure 1 of 3: refused"),
        (Err("refused"), true, "failure 2 of 3: refused"),
        (Err("refused"), false, "refused"),
        (Ok("connected"), false, "pass 1 of 2: connected"),
        (Ok("connected"), true, "connected"),
    ] {
        probe(&mut schedule, at, outcome);
        assert_eq!(
            (state.is_available(), &*state.standing().reason),
            (available, reason)
        );
        at += Duration::from_secs(5);
    }
}

// semantics 14
#[test]
fn a_change_keeps_health_and_asks_at_once() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let state = &states(&["a:1"])[0];
    schedule.reconcile(now, vec![target(state)]);
    probe(&mut schedule, now, Ok("connected"));
    schedule.reconcile(now, vec![target(state)]);
    assert!(schedule.pop_due(now).is_none(), "nothing has changed");

    let check = HealthCheck {
        unhealthy_threshold: 1,
        ..HealthCheck::default()
    };
    schedule.reconcile(
        now,
        vec![Target {
            check: Arc::new(check),
            ..target(state)
        }],
    );
    assert!(state.is_available());
    probe(&mut schedule, now, Err("refused"));
    assert!(!state.is_available(), "judged by the new threshold");
}

// semantics 14
#[test]
fn what_was_known_is_taken_up_after_a_pause_in_probing() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let state = &states(&["a:1"])[0];
    state.set_health(Health::Passing, "connected");
    schedule.reconcile(now, vec![target(state)]);
    probe(&mut schedule, now, Err("refused"));
    assert!(state.is_available(), "one failure is not three");
    schedule.reconcile(now, vec![]);
    assert_eq!(schedule.next_due(), None);
    state.set_health(Health::Failing, "refused");
    schedule.reconcile(now, vec![target(state)]);
    probe(&mut schedule, now, Ok("connected"));
    assert!(!state.is_available(), "one pass is not two");
}

// semantics 16
#[test]
fn a_late_result_is_not_charged_to_the_successor() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let (old, new) = (&states(&["a:1"])[0], &states(&["a:1"])[0]);
    schedule.reconcile(now, vec![target(old)]);
    let job = schedule.pop_due(now).unwrap();
    schedule.reconcile(now, vec![target(new)]);
    schedule.finish(now, job.ticket, Ok("connected".into()), STEADY);
    assert!(!old.is_available() && !new.is_available());
    probe(&mut schedule, now, Ok("connected"));
    assert!(new.is_available());
}

#[test]
fn a_thousand_endpoints_that_come_together_are_spread_over_the_interval() {
    let ids: Vec<_> = (0..1000).map(|n| format!("a:{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let states = states(&ids);
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    schedule.reconcile(now, states.iter().map(target).collect());
    let mut asked = 0;
    while let Some(job) = schedule.pop_due(now) {
        asked += 1;
        schedule.finish(
            now,
            job.ticket,
            Ok("connected".into()),
            f64::from(asked) / 1000.0,
        );
    }
    assert_eq!(asked, 1000, "each is asked at once");
    assert!(states.iter().all(|state| state.is_available()));
    // A tenth of them in each tenth of the interval, though all came together.
    for tenth in 1..=10 {
        let then = now + Duration::from_millis(500) * tenth;
        let due = std::iter::from_fn(|| schedule.pop_due(then)).count();
        assert!((90..=110).contains(&due), "{due} in tenth {tenth}");
    }
}

use proptest::prelude::*;

use super::*;

const DAY: i64 = 24 * 3600;

fn evidence(without_bundle: usize, of_going: usize) -> Evidence {
    Evidence {
        complete: true,
        without_bundle,
        of_going,
    }
}

fn steady() -> State {
    State::steady("a".into(), 0, DAY)
}

#[test]
fn a_rotation_waits_for_everybody_and_then_goes_on_by_itself() {
    let spreading = steady().start("b".into(), 100).unwrap();
    assert_eq!(spreading.trusted(), ["a", "b"]);
    let later = 100 + SETTLE;
    assert_eq!(spreading.advance(later, evidence(1, 0)), None);
    assert_eq!(spreading.advance(later - 1, evidence(0, 0)), None);
    let retiring = spreading.advance(later, evidence(0, 5)).unwrap();
    assert_eq!(retiring.issuer, "b");
    assert_eq!(retiring.trusted(), ["b", "a"]);
    let end = later + SETTLE;
    assert_eq!(retiring.advance(end, evidence(3, 1)), None);
    let done = retiring.advance(end, evidence(3, 0)).unwrap();
    assert_eq!((done.trusted(), &done.phase), (vec!["b"], &Phase::Steady));
    assert_eq!(done.due(), None);
}

#[test]
fn those_who_do_not_come_back_hold_up_a_step_for_one_lifetime() {
    let spreading = steady().start("b".into(), 100).unwrap();
    assert_eq!(spreading.due(), Some(100 + DAY));
    assert_eq!(spreading.advance(100 + DAY, evidence(1, 0)), None);
    let retiring = spreading.advance(101 + DAY, evidence(1, 0)).unwrap();
    assert_eq!(retiring.due(), Some(101 + 2 * DAY));
    assert!(retiring.advance(102 + 2 * DAY, evidence(0, 1)).is_some());
}

#[test]
fn what_is_not_known_is_waited_for_too() {
    let unknown = Evidence {
        complete: false,
        ..evidence(0, 0)
    };
    let spreading = steady().start("b".into(), 100).unwrap();
    assert_eq!(spreading.advance(100 + DAY, unknown), None);
    assert!(spreading.advance(101 + DAY, unknown).is_some());
}

#[test]
fn a_step_back_is_safe_from_either_step() {
    let spreading = steady().start("b".into(), 100).unwrap();
    assert_eq!(spreading.abort(110), Ok(steady()));
    let retiring = spreading.force(120).unwrap();
    let back = retiring.abort(130).unwrap();
    assert_eq!(back.trusted(), ["a", "b"]);
    assert_eq!(back.issuer, "a");
    // And forth again, since both are trusted.
    assert_eq!(back.abort(140).unwrap().issuer, "b");
    assert_eq!(steady().abort(1), Err(RotateError::None));
    assert_eq!(steady().force(1), Err(RotateError::None));
    assert_eq!(spreading.start("c".into(), 1), Err(RotateError::UnderWay));
}

#[test]
fn certificates_of_a_longer_life_that_was_set_before_are_waited_for() {
    let state = steady().with_lifetime(1_000, 60);
    // Signed in the last second of the day's reign.
    assert_eq!(state.last_end(2_000), 1_000 + DAY);
    assert_eq!(state.last_end(500), 500 + DAY);
    let later = state.with_lifetime(2 * DAY, 60);
    assert_eq!(later.lifetimes, [(1_000, 60)]);
    assert_eq!(later.last_end(2 * DAY), 2 * DAY + 60);
}

#[test]
fn a_state_is_written_and_read_back() {
    for state in [
        steady(),
        steady().start("b".into(), 5).unwrap(),
        steady().start("b".into(), 5).unwrap().force(9).unwrap(),
    ] {
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Start,
    Abort,
    Advance,
    Pass(i64),
    Renew(usize),
    Ask(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        Just(Move::Start),
        Just(Move::Abort),
        Just(Move::Advance),
        (1..DAY).prop_map(Move::Pass),
        (0..4_usize).prop_map(Move::Renew),
        (0..4_usize).prop_map(Move::Ask),
    ];
    proptest::collection::vec(one, 0..120)
}

/// A workload: its certificate's root and end, and what it trusts.
#[derive(Debug, Clone)]
struct Workload {
    root: String,
    end: i64,
    trusts: Vec<String>,
}

proptest! {
    /// Whatever is asked for in whatever order, any two workloads whose certificates hold trust each other, as long as a workload
    /// that holds one is not without the newest roots for longer than its certificate lives.
    #[test]
    fn nobody_who_holds_a_certificate_is_ever_distrusted(moves in moves()) {
        let (mut now, mut state, mut next) = (0, steady(), 0);
        let trusted = |state: &State| state.trusted().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut all = vec![Workload { root: "a".into(), end: DAY, trusts: vec!["a".into()] }; 4];
        for step in moves {
            match step {
                Move::Start => {
                    next += 1;
                    state = state.start(format!("r{next}"), now).unwrap_or(state);
                }
                Move::Abort => state = state.abort(now).unwrap_or(state),
                Move::Advance => {
                    let holding = || all.iter().filter(|it| it.end >= now);
                    let want = trusted(&state);
                    let lacks = holding().filter(|it| want.iter().any(|root| !it.trusts.contains(root))).count();
                    let going = match &state.phase { Phase::Retiring { going, .. } => going.clone(), _ => String::new() };
                    let of_going = holding().filter(|it| it.root == going).count();
                    state = state.advance(now, evidence(lacks, of_going)).unwrap_or(state);
                }
                Move::Pass(time) => now += time,
                Move::Renew(i) => all[i] = Workload { root: state.issuer.clone(), end: now + DAY, trusts: trusted(&state) },
                Move::Ask(i) => if all[i].end >= now { all[i].trusts = trusted(&state) },
            }
            for a in all.iter().filter(|it| it.end >= now) {
                for b in all.iter().filter(|it| it.end >= now) {
                    prop_assert!(a.trusts.contains(&b.root), "{a:?} does not trust {b:?} at {now} in {state:?}");
                }
            }
        }
    }
}

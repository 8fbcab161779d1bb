use super::*;

/// Milliseconds.
type At = Duration;

fn at(ms: u64) -> At {
    Duration::from_millis(ms)
}

fn is_called(waiting: &Waiting<At>) -> bool {
    waiting.poll(&Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn the_first_in_line_is_called_first_and_one_that_leaves_is_passed_over() {
    let waiters = Waiters::new(&Arc::default());
    let (first, second, third) = (
        waiters.join(at(0)),
        waiters.join(at(1)),
        waiters.join(at(2)),
    );
    drop(second);
    waiters.call();
    assert!(is_called(&first) && !is_called(&third));
    let again = waiters.rejoin(first.since());
    waiters.call();
    assert!(is_called(&again) && !is_called(&third));
    waiters.call();
    assert!(is_called(&third) && waiters.is_empty());
    assert_eq!(waiters.turn(), Turn::Nobody);
    waiters.call();
}

#[test]
fn another_workers_first_goes_before_ours_once_it_has_waited_much_longer() {
    let line = Arc::default();
    let (ours, theirs) = (Waiters::new(&line), Waiters::new(&line));
    let now = at(1000);
    let early = now - HEAD_START * 2;
    let (own, long) = (ours.join(now), theirs.join(early));
    assert_eq!((ours.turn(), theirs.turn()), (Turn::Other, Turn::Own));
    ours.call();
    assert!(is_called(&long) && !is_called(&own));
    let short = theirs.join(now);
    assert_eq!((ours.turn(), theirs.turn()), (Turn::Own, Turn::Own));
    ours.call();
    assert!(is_called(&own) && !is_called(&short));
    assert_eq!(ours.turn(), Turn::Other, "who has nobody passes it on");
    drop(short);
    assert_eq!(ours.turn(), Turn::Nobody);
}

#[test]
fn a_place_that_came_back_between_the_look_and_the_joining_calls_at_once() {
    let places = Permits::new();
    let waiters = Waiters::new(&Arc::default());
    assert!(waiters.take(&places, 1) && !waiters.take(&places, 1));
    waiters.give_back(&places);
    let late = waiters.join(at(0));
    assert!(is_called(&late) && waiters.take(&places, 1));
    // Once: the word is gone, and the place is.
    let later = waiters.join(at(1));
    assert!(!is_called(&later));
}

#[test]
fn one_that_is_called_and_leaves_without_having_heard_it_passes_the_call_on() {
    let line = Arc::default();
    let (ours, theirs) = (Waiters::new(&line), Waiters::new(&line));
    let (first, second) = (ours.join(at(0)), theirs.join(at(5)));
    ours.call();
    assert!(!is_called(&second));
    drop(first);
    assert!(is_called(&second));
    // One that heard it has had its turn.
    let (third, fourth) = (ours.join(at(6)), ours.join(at(7)));
    ours.call();
    assert!(is_called(&third));
    drop(third);
    assert!(!is_called(&fourth));
}

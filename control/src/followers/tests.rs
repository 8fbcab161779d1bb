use std::sync::Arc;

use super::*;

fn refused(generation: u64, reason: &str) -> State {
    State::Refused {
        generation,
        reason: reason.into(),
    }
}

fn names(followers: &[Follower]) -> Vec<&str> {
    followers.iter().map(|f| f.name.as_str()).collect()
}

#[test]
fn a_note_replaces_the_one_before_and_keeps_what_it_does_not_say() {
    let followers = Followers::default();
    followers.note("edge-1", Kind::Proxy, Some(4), State::Synced);
    followers.note("edge-1", Kind::Proxy, None, State::Stale);
    followers.note("embedded", Kind::Embedded, Some(5), State::Synced);
    let list = followers.list();
    assert_eq!(names(&list), ["embedded", "edge-1"]);
    assert_eq!((list[1].acked, &list[1].state), (Some(4), &State::Stale));
}

#[test]
fn a_proxy_of_its_own_may_have_any_name() {
    let followers = Followers::default();
    followers.note(EMBEDDED, Kind::Embedded, Some(1), State::Synced);
    followers.note(EMBEDDED, Kind::Proxy, None, State::Stale);
    assert_eq!(followers.list().len(), 2);
    assert_eq!(names(&followers.check(1).unwrap_err().behind), [EMBEDDED]);
}

#[tokio::test]
async fn waiting_ends_when_the_last_one_has_it() {
    let followers = Arc::new(Followers::default());
    followers.note("a", Kind::Proxy, Some(1), State::Synced);
    followers.note("b", Kind::Proxy, Some(1), State::Synced);
    let waiting = {
        let followers = Arc::clone(&followers);
        tokio::spawn(async move { followers.wait(2, Duration::from_secs(10)).await })
    };
    tokio::task::yield_now().await;
    followers.note("a", Kind::Proxy, Some(3), State::Synced);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "b has not said anything");
    followers.note("b", Kind::Proxy, Some(2), State::Synced);
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn waiting_names_who_is_behind_when_the_time_is_over() {
    let followers = Followers::default();
    followers.note("a", Kind::Proxy, Some(2), State::Synced);
    followers.note("b", Kind::Proxy, Some(1), State::Synced);
    followers.note("c", Kind::Proxy, None, State::Stale);
    let late = followers
        .wait(2, Duration::from_millis(20))
        .await
        .unwrap_err();
    assert_eq!(names(&late.behind), ["b", "c"]);
    assert!(late.refused.is_empty());
    assert_eq!(late.to_string(), "behind: b (at 1), c (away, at none yet)");
}

#[tokio::test]
async fn a_refusal_ends_the_waiting_when_nobody_else_is_behind() {
    let followers = Followers::default();
    followers.note("a", Kind::Proxy, Some(1), refused(2, "address\nin use"));
    followers.note("b", Kind::Proxy, Some(2), State::Synced);
    let patient = Duration::from_secs(3600);
    let waiting = tokio::time::timeout(Duration::from_secs(10), followers.wait(2, patient));
    let late = waiting.await.expect("it ended early").unwrap_err();
    assert_eq!(late.to_string(), "refused by a: address in use");
}

#[test]
fn a_refusal_of_an_older_generation_says_nothing_about_a_new_one() {
    let followers = Followers::default();
    followers.note("a", Kind::Proxy, Some(1), refused(2, "no"));
    let late = followers.check(3).unwrap_err();
    assert_eq!((names(&late.behind), late.refused.len()), (vec!["a"], 0));
    followers.note("a", Kind::Proxy, Some(3), State::Synced);
    assert_eq!(followers.check(3), Ok(()));
}

#[test]
fn what_was_taken_before_a_refusal_stays_in_force() {
    let followers = Followers::default();
    followers.note("a", Kind::Proxy, Some(4), refused(6, "no"));
    assert_eq!(followers.check(4), Ok(()));
    assert_eq!(names(&followers.check(5).unwrap_err().refused), ["a"]);
}

#[test]
fn a_generation_that_is_in_force_in_part_is_refused() {
    let followers = Followers::default();
    followers.note(EMBEDDED, Kind::Embedded, Some(2), refused(2, "port taken"));
    assert_eq!(followers.check(2).unwrap_err().refused.len(), 1);
    assert_eq!(followers.check(1).unwrap_err().refused.len(), 1);
}

#[test]
fn with_nobody_there_is_nothing_to_wait_for() {
    assert_eq!(Followers::default().check(7), Ok(()));
}

#[test]
fn who_is_away_too_long_is_dropped_but_never_who_is_there() {
    let kept = Followers::with_limits(10, Duration::from_secs(60));
    let dropped = Followers::with_limits(10, Duration::ZERO);
    for followers in [&kept, &dropped] {
        followers.note(EMBEDDED, Kind::Embedded, None, State::Stale);
        followers.note("away", Kind::Proxy, Some(1), State::Stale);
        followers.note("there", Kind::Proxy, Some(1), State::Synced);
    }
    assert_eq!(names(&kept.list()), [EMBEDDED, "away", "there"]);
    assert_eq!(names(&dropped.list()), [EMBEDDED, "there"]);
}

#[test]
fn a_full_table_makes_room_by_who_is_away_longest() {
    let followers = Followers::with_limits(3, Duration::from_secs(3600));
    followers.note("a", Kind::Proxy, Some(1), State::Synced);
    followers.note("b", Kind::Proxy, Some(1), State::Stale);
    followers.note("c", Kind::Proxy, Some(1), State::Stale);
    assert!(followers.note("d", Kind::Proxy, None, State::Synced));
    assert_eq!(names(&followers.list()), ["a", "c", "d"]);
    followers.note("c", Kind::Proxy, None, State::Synced);
    assert!(!followers.note("e", Kind::Proxy, None, State::Synced));
    assert!(followers.note("a", Kind::Proxy, Some(2), State::Synced));
}

#[test]
fn a_message_counts_those_that_it_does_not_name() {
    let followers = Followers::default();
    for n in 0..7 {
        followers.note(&format!("p{n}"), Kind::Proxy, Some(1), State::Synced);
    }
    let text = followers.check(2).unwrap_err().to_string();
    assert!(text.ends_with("p4 (at 1), 2 more"), "{text}");
}

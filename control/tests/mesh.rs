//! The authority with workloads, over real connections: who joins, who does not, renewal, and a root that is replaced meanwhile.

#[path = "support/mesh.rs"]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::{House, until};
use weir_identity::{Identity, Status, TokenSource};
use weir_xds_client::Address;

/// Whether each takes the other's certificate.
fn trust_each_other(a: &Identity, b: &Identity) -> bool {
    let takes = |own: &Identity, other: &Identity| {
        Identity::new(other.chain.clone(), other.key.der(), own.bundle.clone()).is_ok()
    };
    takes(a, b) && takes(b, a)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_joins_by_a_token_and_is_who_the_token_says() {
    let house = House::open(1, "{}").await;
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let identity = kept.identity();
    assert_eq!(identity.id.as_str(), "spiffe://weir.local/svc/shop");
    assert!(identity.holds(house.world.now()));
    let left = identity.not_after - house.world.now();
    assert!((24 * 3600 - 5..=24 * 3600).contains(&left), "{left}");
    let own = house
        .control
        .join_token(&"edge".parse().unwrap())
        .await
        .unwrap();
    let edge = house.join("edge", Some(&own)).await.unwrap();
    assert_eq!(edge.identity().id.as_str(), "spiffe://weir.local/svc/edge");
    let listed = house.get("/api/v1/mesh/tokens").await;
    assert_eq!(listed["tokens"][0]["state"], "used");
    assert_eq!(listed["tokens"][0]["usedFrom"], "127.0.0.1");
    let metrics = house.control.metrics_text();
    assert!(
        metrics.contains("weir_mesh_certificates_issued_total 2\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("weir_cert_not_after_seconds{certificate=\"mesh weir.local root "),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_not_right_get_nothing_and_are_counted() {
    let house = House::open(1, "{}").await;
    let token = house.token("shop").await;
    for (service, token, part) in [
        ("bank", Some(token.clone()), "another service"),
        (
            "shop",
            Some(token.replace("weir.", "weir.x")),
            "not a token",
        ),
        (
            "shop",
            Some(changed_secret(&token)),
            "not one of this control plane",
        ),
        ("shop", None, "weir token create --service shop"),
        ("shop", Some("nonsense".to_owned()), "not a token"),
    ] {
        let error = house.join(service, token.as_deref()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    let _kept = house.join("shop", Some(&token)).await.unwrap();
    let error = house
        .join("shop", Some(&token))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("used already"), "{error}");
    let late = house.token("shop").await;
    let id = late.split('.').nth(1).unwrap();
    house
        .post(&format!("/api/v1/mesh/tokens/{id}/revoke"), json!({}))
        .await
        .unwrap();
    let error = house
        .join("shop", Some(&late))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("revoked"), "{error}");
    let metrics = house.control.metrics_text();
    for (reason, count) in [
        ("other_service", 1),
        ("wrong_token", 2),
        ("used_token", 1),
        ("no_token", 1),
    ] {
        let line = format!("weir_mesh_issue_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}

fn changed_secret(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let flipped = if parts[2].starts_with('0') { "1" } else { "0" };
    parts[2].replace_range(..1, flipped);
    parts.join(".")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_control_plane_is_not_sent_to_another() {
    let (house, other) = (House::open(1, "{}").await, House::open(1, "{}").await);
    let token = other.token("shop").await;
    let status = Arc::new(Status::default());
    let joining = house.join_with(
        "shop",
        Some(TokenSource::Text(token.clone())),
        None,
        Arc::clone(&status),
    );
    let joining = tokio::spawn(joining);
    until("the root is found to be another", || async {
        status
            .standing()
            .problem
            .is_some_and(|why| why.contains("root that the token names"))
    })
    .await;
    joining.abort();
    // It was not asked with it: whoever listens there learned nothing.
    assert!(
        !house
            .control
            .metrics_text()
            .contains("weir_mesh_issue_refused_total{")
    );
    assert!(other.join("shop", Some(&token)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_a_minute_is_renewed_before_it_ends_by_itself_alone() {
    let house = House::open(10, "{ leafLifetime: 1m }").await;
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let mut identities = kept.watch();
    let mut before = kept.identity();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(20), identities.changed())
            .await
            .unwrap()
            .unwrap();
        let now = identities.borrow_and_update().clone();
        assert!(before.holds(house.world.now()), "renewed too late");
        assert!(now.not_after > before.not_after);
        assert_ne!(now.key, before.key, "a fresh key each time");
        before = now;
    }
    until("those that were replaced are forgotten", || async {
        house.get("/api/v1/mesh/authority").await["certificates"] == 1
    })
    .await;
}

/// Where nobody listens.
fn nobody() -> Address {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", held.local_addr().unwrap());
    address.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_control_plane_is_asked_until_one_certifies() {
    let other = House::open(1, "{}").await;
    let mut house = House::open(10, "{ leafLifetime: 1m }").await;
    // One that is away, and one with another root.
    house.before = vec![nobody(), other.address().clone()];
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let (mut identities, asked) = (kept.watch(), house.questions());
    let renewed = tokio::time::timeout(Duration::from_secs(20), identities.changed());
    renewed.await.unwrap().unwrap();
    until("it is asked what is to be trusted", || async {
        house.questions() > asked
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_counts_when_no_control_plane_is_left_that_may_know_better() {
    let mut house = House::open(1, "{}").await;
    let wrong = changed_secret(&house.token("shop").await);
    house.before = vec![house.address().clone()];
    let error = house.join("shop", Some(&wrong)).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text.matches("not one of this control plane").count(),
        2,
        "{text}"
    );
    assert!(text.contains(&house.address().to_string()), "{text}");
    // One that is away may have made it.
    house.before = vec![nobody()];
    let status = Arc::new(Status::default());
    let token = TokenSource::Text(wrong);
    let joining = tokio::spawn(house.join_with("shop", Some(token), None, Arc::clone(&status)));
    until("it is refused by the one that is there", || async {
        let problem = status.standing().problem;
        problem.is_some_and(|why| why.contains("not one of this control plane"))
    })
    .await;
    assert!(!joining.is_finished());
    joining.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_back_puts_no_renewal_off() {
    let house = House::open(10, "{ leafLifetime: 1m }").await;
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let mut identities = kept.watch();
    house.world.set_by(-40_000);
    // It was to be renewed after 39 to 45 seconds, which is a tenth of that here; by the clock it would be after 79.
    let renewed = tokio::time::timeout(Duration::from_millis(6_500), identities.changed());
    renewed.await.unwrap().unwrap();
}

/// Waits for that many more questions, and returns how many connections were made for them.
async fn connections_of(house: &House, questions: u64) -> usize {
    let (asked, made) = (house.questions(), house.connections());
    until("it is asked what is to be trusted", || async {
        house.questions() >= asked + questions
    })
    .await;
    house.connections() - made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_trusted_is_asked_on_the_stream_that_is_open() {
    let mut house = House::open(60, "{}").await;
    house.count_connections().await;
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let follower = house.follow("shop", Some(&kept));
    until("it follows", || async { follower.status().connected }).await;
    assert_eq!(connections_of(&house, 5).await, 0);
    drop(follower);
    // Without a stream there is a connection for each: the last may be the one that is counted already.
    assert!(connections_of(&house, 4).await >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_on_a_stream_of_its_own() {
    let mut house = House::open(60, "{ leafLifetime: 15m }").await;
    house.count_connections().await;
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    let follower = house.follow("shop", Some(&kept));
    until("it follows", || async { follower.status().connected }).await;
    let (mut identities, before) = (kept.watch(), house.connections());
    identities.changed().await.unwrap();
    // One to renew, and one to follow on.
    until("the stream is opened anew", || async {
        house.connections() >= before + 2
    })
    .await;
    until("questions go there", || async {
        connections_of(&house, 2).await == 0
    })
    .await;
    assert!(follower.status().connected && follower.status().error.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_restarts_needs_no_token_and_keeps_its_key_to_itself() {
    let house = House::open(1, "{}").await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let token = TokenSource::Text(house.token("shop").await);
    let first = house
        .join_with("shop", Some(token), Some(state.clone()), Default::default())
        .await
        .unwrap()
        .identity();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("identity.json")), 0o600);
    let again = house
        .join_with("shop", None, Some(state.clone()), Default::default())
        .await
        .unwrap();
    assert_eq!(again.identity(), first);
    // Of another service it is no identity, and there is no token.
    assert!(
        house
            .join_with("bank", None, Some(state.clone()), Default::default())
            .await
            .is_err()
    );
    std::fs::set_permissions(
        state.join("identity.json"),
        PermissionsExt::from_mode(0o640),
    )
    .unwrap();
    assert!(
        house
            .join_with("shop", None, Some(state), Default::default())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_is_replaced_while_workloads_trust_each_other_all_the_time() {
    // A second is a minute and a half here.
    let house = House::open(20, "{ leafLifetime: 10m }").await;
    let shop = house
        .join("shop", Some(&house.token("shop").await))
        .await
        .unwrap();
    let web = house
        .join("web", Some(&house.token("web").await))
        .await
        .unwrap();
    // One of the two says over its stream what it trusts: that is told for the certificate which the stream shows.
    let _following = house.follow("shop", Some(&shop));
    let (first, before) = (shop.identity(), house.token("late").await);
    house.rotate("start", false).await.unwrap();
    let refused = house.rotate("start", false).await.unwrap_err();
    assert_eq!(refused.0, 409, "{refused:?}");
    let steady = || async {
        assert!(trust_each_other(&shop.identity(), &web.identity()));
        house.get("/api/v1/mesh/authority").await["rotation"]["phase"] == "steady"
    };
    // A token from before names the old root, and is good for as long as that is trusted.
    until("the new root signs", || async {
        steady().await;
        house.get("/api/v1/mesh/authority").await["rotation"]["phase"] == "retiring"
    })
    .await;
    let late = house.join("late", Some(&before)).await.unwrap();
    until("the old root is gone", steady).await;
    for kept in [&shop, &web, &late] {
        until("only the new root is trusted", || async {
            kept.identity().bundle.len() == 1
        })
        .await;
        assert_ne!(kept.identity().bundle, first.bundle);
    }
    assert!(
        !trust_each_other(&first, &web.identity()),
        "what the old root signed is worth nothing"
    );
    assert!(trust_each_other(&late.identity(), &web.identity()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_goes_back_from_either_step_and_is_not_hurried_over_those_who_are_behind() {
    let house = House::open(20, "{ leafLifetime: 10m }").await;
    let shop = house
        .join("shop", Some(&house.token("shop").await))
        .await
        .unwrap();
    let roots = house.get("/api/v1/mesh/authority").await["roots"].clone();
    house.rotate("start", false).await.unwrap();
    house.rotate("abort", false).await.unwrap();
    assert_eq!(house.get("/api/v1/mesh/authority").await["roots"], roots);
    house.rotate("start", false).await.unwrap();
    let (status, text) = house.rotate("next", false).await.unwrap_err();
    assert!(status == 409 && text.contains("shop"), "{status} {text}");
    until("the new root signs", || async {
        house.get("/api/v1/mesh/authority").await["rotation"]["phase"] == "retiring"
    })
    .await;
    house.rotate("abort", false).await.unwrap();
    until("the first root is alone again", || async {
        let now = house.get("/api/v1/mesh/authority").await;
        now["rotation"]["phase"] == "steady" && now["roots"] == roots
    })
    .await;
    until("the workload is of it", || async {
        shop.identity().bundle.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_valid_is_kept_while_the_control_plane_is_away_and_renewed_when_it_is_back() {
    let mut house = House::open(10, "{ leafLifetime: 2m }").await;
    let status = Arc::new(Status::default());
    let token = TokenSource::Text(house.token("shop").await);
    let kept = house
        .join_with("shop", Some(token), None, Arc::clone(&status))
        .await
        .unwrap();
    let first = kept.identity();
    house.stop_serving();
    until("a renewal failed", || async {
        status.standing().failed > 0
    })
    .await;
    let past_half = (first.not_after - house.world.now()) < 60;
    assert!(past_half && first.holds(house.world.now()));
    assert_eq!(kept.identity(), first, "the valid one is kept");
    house.serve_again().await;
    until("it is renewed", || async {
        kept.identity().not_after > first.not_after
    })
    .await;
    assert_eq!(status.standing().problem, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_has_ended_opens_nothing_until_there_is_a_new_token() {
    let mut house = House::open(10, "{ leafLifetime: 1m }").await;
    let (dir, status) = (tempfile::tempdir().unwrap(), Arc::new(Status::default()));
    let file = dir.path().join("token");
    std::fs::write(&file, house.token("shop").await).unwrap();
    let token = TokenSource::File(file.clone());
    let joined = house.join_with("shop", Some(token), None, Arc::clone(&status));
    let kept = joined.await.unwrap();
    let first = kept.identity();
    house.stop_serving();
    until("it has ended", || async { !first.holds(house.world.now()) }).await;
    house.serve_again().await;
    until("the used token is refused", || async {
        let problem = status.standing().problem;
        problem.is_some_and(|why| why.contains("used already"))
    })
    .await;
    assert_eq!(kept.identity(), first);
    std::fs::write(&file, house.token("shop").await).unwrap();
    until("a new token lets it in", || async {
        kept.identity() != first
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_with_a_certificate_of_its_own_is_known_by_its_name_and_authority() {
    let house = House::open_with_tls("{}").await;
    let ca = house.ca.clone();
    let token = house.token("shop").await;
    let kept = house.join("shop", Some(&token)).await.unwrap();
    assert_eq!(kept.identity().bundle.len(), 1);
    let _follower = house.follow("", Some(&kept));
    until("the workload follows", || async {
        house.get("/api/v1/proxies").await["proxies"][0]["name"] == "shop"
    })
    .await;
    // Another authority, of the same name and as good as any.
    let other = House::open_with_tls("{}").await;
    std::fs::copy(other.ca.unwrap(), ca.unwrap()).unwrap();
    let (token, status) = (house.token("shop").await, Arc::new(Status::default()));
    let joining = house.join_with(
        "shop",
        Some(TokenSource::Text(token)),
        None,
        Arc::clone(&status),
    );
    let joining = tokio::spawn(joining);
    until("the other authority is not believed", || async {
        status
            .standing()
            .problem
            .is_some_and(|why| why.contains("certificate"))
    })
    .await;
    joining.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_outlives_a_restart_and_used_tokens_stay_used() {
    let mut house = House::open(1, "{}").await;
    let (used, unused) = (house.token("shop").await, house.token("shop").await);
    let kept = house.join("shop", Some(&used)).await.unwrap();
    let before = house.get("/api/v1/mesh/authority").await;
    house.restart().await;
    assert_eq!(house.get("/api/v1/mesh/authority").await, before);
    let error = house
        .join("shop", Some(&used))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("used already"), "{error}");
    let other = house.join("shop", Some(&unused)).await.unwrap();
    assert!(trust_each_other(&kept.identity(), &other.identity()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_refused_while_certificates_may_hold_that_are_not_known() {
    let mut house = House::open(10, "{}").await;
    let begun = house.world.now();
    drop(house.join("shop", Some(&house.token("shop").await)).await);
    // In the second in which the root is made, nobody can have been forgotten.
    until("that second is over", || async {
        house.world.now() > begun
    })
    .await;
    house.restart_without_records().await;
    let authority = house.get("/api/v1/mesh/authority").await;
    assert!(authority["unknownUntil"].is_string(), "{authority}");
    house.rotate("start", false).await.unwrap();
    let authority = house.get("/api/v1/mesh/authority").await;
    assert_eq!(authority["rotation"]["awaited"], 0, "{authority}");
    let (status, why) = house.rotate("next", false).await.unwrap_err();
    assert_eq!(status, 409, "{why}");
    assert!(
        why.contains("not known") && why.contains("--force"),
        "{why}"
    );
    let forced = house.rotate("next", true).await.unwrap();
    assert_eq!(forced["rotation"]["phase"], "retiring");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configuration_is_for_identities_and_nobody_else() {
    let house = House::open(1, "{}").await;
    let kept = house
        .join("shop", Some(&house.token("shop").await))
        .await
        .unwrap();
    let _follower = house.follow("pod-1", Some(&kept));
    until("the workload follows", || async {
        let proxies = house.get("/api/v1/proxies").await;
        proxies["proxies"][0]["name"] == "shop@pod-1"
    })
    .await;
    let stranger = house.follow("shop", None);
    until("the stranger is refused", || async {
        house
            .control
            .metrics_text()
            .contains("weir_xds_refused_total{reason=\"no_identity\"}")
    })
    .await;
    drop(stranger);
    assert_eq!(
        house.get("/api/v1/proxies").await["proxies"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

//! What clients see when endpoints die, hang, fail, come back or are too few: faults are made, and the answers counted.
//!
//! Each test prints a line that begins with `fault:`: what was done, what was expected, what was measured.

mod balances;
mod breaks;
mod dies;
mod ejects;
mod hedges;
mod process;
mod recovers;
mod retries;
mod starves;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::client::{Client, Response};
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// One line of the fault table.
fn fault(what: &str, expected: &str, measured: &str) {
    weir_tests::say(&format!(
        "fault: {what} | expected: {expected} | measured: {measured}"
    ));
}

/// Service `app` with these endpoints and keys, behind two workers.
fn app(endpoints: &[SocketAddr], keys: &str) -> Setup {
    let list: Vec<_> = endpoints.iter().map(|addr| ("stable", *addr)).collect();
    Setup::new().workers(2).service_with("app", &list, keys)
}

/// [`app`] with a route that leads there, with these further keys of its rule.
fn routed(endpoints: &[SocketAddr], keys: &str, rule: &str) -> Setup {
    to_app(app(endpoints, keys), rule)
}

fn to_app(setup: Setup, rule: &str) -> Setup {
    let comma = if rule.is_empty() { "" } else { ", " };
    setup.route(
        "app",
        &format!("backendRefs: [{{ name: app }}]{comma}{rule}"),
    )
}

/// An endpoint of the first service, as the API tells it.
fn endpoint(weir: &Weir, addr: SocketAddr) -> Value {
    let all = weir.json("/api/v1/endpoints");
    let all = all["endpoints"].as_array().expect("a list of endpoints");
    let addr = addr.to_string();
    let found = all.iter().find(|endpoint| endpoint["address"] == *addr);
    found
        .unwrap_or_else(|| panic!("no {addr} in {all:?}"))
        .clone()
}

fn state(weir: &Weir, addr: SocketAddr) -> String {
    endpoint(weir, addr)["state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

/// Waits for an endpoint to be in a state, and tells how long that took.
fn wait_for_state(weir: &Weir, addr: SocketAddr, wanted: &str) -> Duration {
    let start = Instant::now();
    eventually(&format!("{addr} to be {wanted}"), || {
        (state(weir, addr) == wanted).then_some(())
    });
    start.elapsed()
}

/// One GET on a connection of its own, and how long its answer took.
fn timed(weir: &Weir) -> (Response, Duration) {
    let mut client = weir.client();
    timed_on(&mut client)
}

fn timed_on(client: &mut Client) -> (Response, Duration) {
    let start = Instant::now();
    let response = client.send(GET).response();
    (response, start.elapsed())
}

/// The answers of that many requests in a row, each on a connection of its own so that every worker takes some.
fn gets(weir: &Weir, count: usize) -> Vec<Response> {
    (0..count).map(|_| weir.get("a.example", "/")).collect()
}

fn with_status(responses: &[Response], status: u16) -> usize {
    responses.iter().filter(|r| r.status() == status).count()
}

fn total(origins: &[&Origin]) -> usize {
    origins.iter().map(|origin| origin.count()).sum()
}

//! Writing and reading one state after another is writing and reading each from nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use weir_config::model::{Admission, Model, Service};
use weir_wire::{Audience, Decoder, Encoder, Kind, Resource, Resources, check, decode, encode};

use crate::generate::model;

/// What happens from one state to the next.
#[derive(Debug, Clone)]
enum Step {
    /// Parts of another model, by the bits of a number, take the place of these.
    Mix(Box<Model>, u64),
    /// One service has an endpoint less, or its first endpoint drains.
    Endpoint(Index, bool),
    /// All as it was, at other addresses in memory.
    Again,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (model(), any::<u64>()).prop_map(|(other, bits)| Step::Mix(Box::new(other), bits)),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(which, less)| Step::Endpoint(which, less)),
        1 => Just(Step::Again),
    ];
    vec(step, 1..5)
}

fn mix<T: Clone>(own: &mut Vec<Arc<T>>, other: &[Arc<T>], bits: u64, name: impl Fn(&T) -> String) {
    let mut all: BTreeMap<String, Arc<T>> = own.drain(..).map(|it| (name(&it), it)).collect();
    for (at, it) in other.iter().enumerate() {
        if bits >> (at % 8) & 1 == 1 {
            all.insert(name(it), Arc::clone(it));
        }
    }
    // Some go, too.
    let keep =
        |(at, (_, it)): (usize, (String, Arc<T>))| (bits >> (at % 8 + 8) & 3 > 0).then_some(it);
    *own = all.into_iter().enumerate().filter_map(keep).collect();
}

fn after(before: &Model, step: &Step) -> Model {
    let mut next = before.clone();
    match step {
        Step::Mix(other, bits) => {
            mix(&mut next.listeners, &other.listeners, *bits, |it| {
                it.name.to_string()
            });
            mix(&mut next.services, &other.services, bits >> 16, |it| {
                it.name.to_string()
            });
            mix(&mut next.routes, &other.routes, bits >> 32, |it| {
                it.name.to_string()
            });
            mix(&mut next.streams, &other.streams, bits >> 48, |it| {
                it.name.to_string()
            });
            if bits & 1 == 1 {
                next.tracing = Arc::clone(&other.tracing);
            }
        }
        Step::Endpoint(which, less) if !next.services.is_empty() => {
            let at = which.index(next.services.len());
            let service: &mut Service = Arc::make_mut(&mut next.services[at]);
            match (less, service.endpoints.first_mut()) {
                (true, Some(_)) => drop(service.endpoints.remove(0)),
                (false, Some(first)) => first.admission = Admission::Draining,
                (_, None) => {}
            }
        }
        Step::Endpoint(..) => {}
        Step::Again => {
            let anew = |it: &Arc<Service>| Arc::new(Service::clone(it));
            next.services = next.services.iter().map(anew).collect();
        }
    }
    next
}

/// The same without one resource, and with one that others have.
fn damaged(all: &Resources, without: Index, with: Option<&Arc<Resource>>) -> Resources {
    let mut left = all.clone();
    let names: Vec<(Kind, String)> = all.iter().map(|it| (it.kind, it.name.clone())).collect();
    if !names.is_empty() {
        let (kind, name) = without.get(&names);
        left.remove(*kind, name);
    }
    if let Some(with) = with {
        left.insert(Arc::clone(with));
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 512, max_shrink_time: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_of_one_state_after_another_is_what_is_written_of_each(first in model(), steps in steps()) {
        for audience in [Audience::Weir, Audience::Other] {
            let mut encoder = Encoder::new(audience);
            let mut now = first.clone();
            prop_assert_eq!(encoder.encode(&now), encode(&now, audience));
            for step in &steps {
                now = after(&now, step);
                prop_assert_eq!(encoder.encode(&now), encode(&now, audience), "{:?} after {:?}", audience, step);
            }
        }
    }

    #[test]
    fn what_is_read_of_one_state_after_another_is_what_is_read_of_each(first in model(), steps in steps(), without in any::<Index>()) {
        for audience in [Audience::Weir, Audience::Other] {
            let (mut decoder, mut encoder) = (Decoder::default(), Encoder::new(audience));
            let mut now = first.clone();
            let mut before: Option<Arc<Resource>> = None;
            for step in [&Step::Again].into_iter().chain(&steps) {
                now = after(&now, step);
                let all = encoder.encode(&now).resources;
                let damaged = damaged(&all, without, before.as_ref());
                prop_assert_eq!(decoder.decode(&damaged), decode(&damaged), "{:?} damaged after {:?}", audience, step);
                prop_assert_eq!(decoder.decode(&all), decode(&all), "{:?} after {:?}", audience, step);
                before = all.iter().next().cloned();
                for resource in all.iter() {
                    prop_assert_eq!(decoder.check(resource), check(resource));
                }
                prop_assert_eq!(decoder.decode(&all), decode(&all), "{:?} after a look at each", audience);
            }
        }
    }
}

/// Those that have another version than before.
fn anew(before: &Resources, now: &Resources) -> Vec<String> {
    let is_new = |it: &&Arc<Resource>| {
        let known = before.get(it.kind, &it.name);
        known.is_none_or(|known| known.version != it.version)
    };
    now.iter()
        .filter(is_new)
        .map(|it| format!("{:?} {}", it.kind, it.name))
        .collect()
}

fn compiled(canary: &str) -> Model {
    let text = format!(
        "
listeners: [{{ name: web, bind: 127.0.0.1:8080 }}, {{ name: raw, bind: 127.0.0.1:8081, protocol: tcp }}]
services:
  - {{ name: shop, endpoints: [{{ address: 127.0.0.1:9001 }}, {{ address: {canary} }}] }}
  - {{ name: cart, endpoints: [{{ address: 127.0.0.1:9003 }}], tls: {{ validation: {{ hostname: cart, wellKnownCACertificates: System }} }} }}
routes:
  - {{ name: shop, listeners: [web], rules: [{{ backendRefs: [{{ name: shop }}, {{ name: cart }}] }}] }}
  - {{ name: raw, listeners: [raw], rules: [{{ backendRefs: [{{ name: shop }}] }}] }}
"
    );
    let loaded = weir_config::file::parse("weir.yaml".as_ref(), &text);
    let compiled = weir_config::check(&loaded);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    compiled.model
}

#[test]
fn a_change_of_an_endpoint_writes_and_reads_one_assignment() {
    let (mut encoder, mut decoder) = (Encoder::new(Audience::Weir), Decoder::default());
    let first = encoder.encode(&compiled("127.0.0.1:9002")).resources;
    let second = encoder.encode(&compiled("127.0.0.1:9004")).resources;
    assert_eq!(anew(&first, &second), ["Endpoint shop"]);
    let before = decoder.decode(&first).expect("a model");
    let now = decoder.decode(&second).expect("a model");
    let shared = |name: &str| {
        let both = now.service(name).zip(before.service(name));
        both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    };
    assert_eq!(["cart", "shop"].map(shared), [true, false]);
    let same = |a: &[Arc<_>], b: &[Arc<_>]| a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b));
    assert!(same(&now.routes, &before.routes));
    assert!(Arc::ptr_eq(&now.listeners[0], &before.listeners[0]));
}

/// So many services, each with so many endpoints that come from a file; the last one of the first service has that port.
fn many(services: usize, endpoints: usize, port: usize) -> Model {
    let mut text = String::from("listeners: [{ name: web, bind: 127.0.0.1:1 }]\nservices:\n");
    for at in 0..services {
        text += &format!("  - name: svc-{at:04}\n    endpoints:\n");
        for i in 0..endpoints {
            let port = if at == 0 && i + 1 == endpoints {
                port
            } else {
                80
            };
            text += &format!(
                "      - {{ address: \"10.{at}.{}.{}:{port}\" }}\n",
                i / 200,
                i % 200
            );
        }
    }
    text += "routes:\n";
    for at in 0..services {
        text += &format!(
            "  - {{ name: svc-{at:04}, hostnames: [svc-{at}.example], rules: [{{ backendRefs: [{{ name: svc-{at:04} }}] }}] }}\n"
        );
    }
    let loaded = weir_config::file::parse("weir.yaml".as_ref(), &text);
    weir_config::compile(&[loaded.fragment]).model
}

#[test]
#[expect(clippy::print_stderr, reason = "figures, for who asks for them")]
fn one_change_among_ten_thousand_endpoints_costs_what_its_service_costs() {
    for (services, endpoints) in [(100, 100), (1, 10_000)] {
        let (mut encoder, mut decoder) = (Encoder::new(Audience::Weir), Decoder::default());
        let mut before = many(services, endpoints, 1);
        let first = encoder.encode(&before).resources;
        let mut known = decoder.decode(&first).expect("a model");
        let mut times: [Vec<Duration>; 4] = Default::default();
        for turn in 0..5 {
            let mut model = many(services, endpoints, 2 + turn);
            let began = Instant::now();
            model.share(&before);
            times[0].push(began.elapsed());
            let began = Instant::now();
            let resources = encoder.encode(&model).resources;
            times[1].push(began.elapsed());
            let assignment = resources
                .get(Kind::Endpoint, "svc-0000")
                .expect("the one that changed");
            let began = Instant::now();
            decoder.check(assignment).expect("what was written");
            times[2].push(began.elapsed());
            let began = Instant::now();
            let mut read = decoder.decode(&resources).expect("a model");
            read.share(&known);
            times[3].push(began.elapsed());
            assert!(read == model);
            (before, known) = (model, read);
        }
        let [share, write, check, read] = times.map(|mut all| {
            all.sort();
            all[all.len() / 2]
        });
        eprintln!(
            "{services} services of {endpoints} endpoints, one changes: shared in {share:.0?}, written in {write:.0?}, checked in {check:.0?}, read in {read:.0?}"
        );
        if !cfg!(debug_assertions) {
            assert!(
                check + read < Duration::from_millis(50),
                "{check:?} and {read:?}"
            );
        }
    }
}

//! Rules about who may call, told to proxies that follow: one of Weir's enforces them, and an Envoy is not let near.

use weir_tests::client;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;

use super::cluster::proxy;
use super::envoy::{Envoy, Options};
use super::plane::{Addresses, Plane, open};

fn file(at: Addresses, origin: &Origin, policies: &str) -> String {
    format!(
        "{}listeners: [{{ name: web, bind: \"{}\", authorization: [{policies}] }}]\n\
         services: [{{ name: shop, endpoints: [{{ address: \"{}\" }}] }}]\n\
         routes: [{{ name: shop, rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]\n",
        open(at),
        at.listen,
        origin.addr()
    )
}

#[test]
fn a_proxy_enforces_the_rules_that_it_is_told_and_their_changes() {
    let origin = Origin::ok("shop");
    let admin = "{ name: no-admin, action: deny, paths: [/admin] }";
    let plane = Plane::start(|at| file(at, &origin, admin));
    let state = tempfile::tempdir().expect("a directory");
    let url = format!("http://{}", plane.at.xds);
    let mut weir = proxy(&[url], state.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    plane.synced("edge-1");
    let ask = |path: &str| client::get(plane.at.listen, "shop.example", path).status();
    assert_eq!((ask("/"), ask("/ADMIN;x")), (200, 403));
    let closed = "{ name: nobody, action: allow, from: [web] }";
    plane.moved("edge-1", &file(plane.at, &origin, closed));
    assert_eq!((ask("/"), ask("/admin")), (403, 403));
    let refused = weir.metric("weir_authorization_total", &["result=\"refused\""]);
    assert_eq!(refused, 3.0);
}

#[test]
fn an_envoy_is_not_given_a_listener_that_it_would_open_to_everybody() {
    let origin = Origin::ok("shop");
    let policy = |mode: &str| format!("{{ name: nobody, action: allow, from: [web]{mode} }}");
    let plane = Plane::start(|at| file(at, &origin, &policy("")));
    let Some(_envoy) = Envoy::start(plane.at.xds, &Options::default()) else {
        return;
    };
    let told = eventually("what the envoy is not told", || {
        let proxy = plane.proxy("edge-1")?;
        let text = proxy["leftOut"].to_string();
        text.contains("authorization").then_some(text)
    });
    assert!(told.contains("the whole listener is left out"), "{told}");
    assert!(client::Client::try_connect(plane.at.listen).is_err());
    // What is for the log shuts nobody out, so the listener may be had.
    plane.rewrite(&file(plane.at, &origin, &policy(", mode: log")));
    eventually("the envoy to listen", || {
        client::Client::try_connect(plane.at.listen).ok().map(drop)
    });
    assert_eq!(
        client::get(plane.at.listen, "shop.example", "/").status(),
        200
    );
}

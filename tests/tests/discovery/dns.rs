//! Names.

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

use crate::resolver::Resolver;
use crate::{until_served_by, until_told};

// semantics 36
#[test]
fn a_name_is_served_and_stays_so_while_its_resolver_is_silent() {
    let origin = Origin::ok("app");
    let resolver = Resolver::start();
    let lookup = format!(
        "{{ service: web, name: web.test, port: {}, resolvers: [\"{}\"], minTtl: 500ms, timeout: 200ms, \
         allowLoopbackEndpoints: true }}",
        origin.addr().port(),
        resolver.address
    );
    let setup = Setup::new()
        .top(&format!("discovery: {{ dns: [{lookup}] }}"))
        .route("web", "backendRefs: [{ name: web }]");
    let weir = Weir::start(&setup);
    until_served_by(&weir, "app");
    until_told(&weir, &["dns:web/web.test", "up", "from 127.0.0.1"]);
    until_told(&weir, &["web.test A", "stable", "yes", "in the answer"]);
    resolver.silent(true);
    until_told(
        &weir,
        &["dns:web/web.test", "DOWN", "no resolver answered in time"],
    );
    assert_eq!(weir.get("web.example", "/").status(), 200);
    resolver.silent(false);
    until_told(&weir, &["dns:web/web.test", "up"]);
}

#[test]
fn a_name_without_an_answer_yet_is_a_service_without_endpoints() {
    let resolver = Resolver::start();
    resolver.silent(true);
    let lookup = format!(
        "{{ service: web, name: web.test, port: 80, resolvers: [\"{}\"], timeout: 200ms }}",
        resolver.address
    );
    let setup = Setup::new()
        .top(&format!("discovery: {{ dns: [{lookup}] }}"))
        .route("web", "backendRefs: [{ name: web }]");
    let weir = Weir::start(&setup);
    assert_eq!(weir.get("web.example", "/").status(), 503);
}

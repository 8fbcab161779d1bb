//! A container with labels of Traefik alone.

use weir_tests::config::Setup;
use weir_tests::docker::{Network, SOCKET, Spec, available};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{discovery, served_by};

#[test]
fn labels_of_traefik_are_served_and_what_is_not_understood_is_told() {
    if !available() {
        return;
    }
    let network = Network::create();
    let setup = Setup::new().top(&format!(
        "discovery: {{ docker: {{ endpoint: \"unix://{SOCKET}\", network: {}, traefikLabels: true }} }}",
        network.name
    ));
    let weir = Weir::start(&setup);
    let container = Spec::origin(&network, "moved", "stable")
        .label("traefik.enable", "true")
        .label(
            "traefik.http.routers.moved.rule",
            "Host(`moved.example`) && PathPrefix(`/api`)",
        )
        .label(
            "traefik.http.routers.moved.middlewares",
            "moved-strip,moved-head",
        )
        .label(
            "traefik.http.middlewares.moved-strip.stripprefix.prefixes",
            "/api",
        )
        .label(
            "traefik.http.middlewares.moved-head.headers.customresponseheaders.X-Moved",
            "yes",
        )
        .label(
            "traefik.http.services.moved.loadbalancer.server.port",
            "8080",
        )
        .label("traefik.http.routers.closed.rule", "Host(`closed.example`)")
        .label("traefik.http.routers.closed.middlewares", "closed-auth")
        .label(
            "traefik.http.middlewares.closed-auth.basicauth.users",
            "a:b",
        )
        .run();
    eventually("an answer under the prefix", || {
        let response = weir.get("moved.example", "/api/cart");
        (response.status() == 200 && response.get("x-moved") == Some("yes")).then_some(())
    });
    assert_eq!(weir.get("moved.example", "/other").status(), 404);
    assert_eq!(weir.get("closed.example", "/").status(), 404);
    let found = discovery(&weir);
    for told in [
        &*container.name,
        "traefik.http.middlewares.closed-auth.basicauth.users",
        "is not supported",
    ] {
        assert!(found.contains(told), "{told}: {found}");
    }
    drop(container);
    let replaced = Spec::origin(&network, "again", "stable")
        .label("traefik.enable", "true")
        .label("traefik.http.routers.moved.rule", "Host(`moved.example`)")
        .label(
            "traefik.http.services.moved.loadbalancer.server.port",
            "8080",
        )
        .run();
    served_by(&weir, "moved.example", "again");
    drop(replaced);
}

//! Calls of gRPC that a filter holds up are told so as calls are.

use weir_tests::config::Setup;
use weir_tests::grpc;
use weir_tests::h2::Client;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

fn behind(origin: &Origin, filter: &str) -> Weir {
    let rule = format!("filters: [{filter}], backendRefs: [{{ name: app }}]");
    let setup = Setup::new().service("app", &[("stable", origin.addr())]);
    Weir::start(&setup.route("app", &rule))
}

#[test]
fn a_call_that_is_refused_gets_a_status_of_its_own_kind() {
    let origin = Origin::ok("never asked");
    for (filter, status, message, retry_after) in [
        (
            "{ type: FaultInjection, faultInjection: { abort: { status: 503, percent: 100 } } }",
            "14",
            "a fault was injected",
            false,
        ),
        (
            "{ type: FaultInjection, faultInjection: { abort: { status: 403, percent: 100 } } }",
            "7",
            "a fault was injected",
            false,
        ),
        (
            "{ type: RateLimit, rateLimit: { requests: 1, per: 1h, key: Header, header: te } }",
            "14",
            "too many requests",
            true,
        ),
    ] {
        let weir = behind(&origin, filter);
        let client = Client::connect(weir.addr());
        if retry_after {
            // The one that is let through is plain, and reaches an origin of HTTP/1.1.
            let plain = weir
                .client()
                .send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
                .response();
            assert_eq!(plain.status(), 200);
        }
        let response = grpc::call(&client, "/shop.Cart/Add", &[b"x"], &[]);
        assert_eq!(response.status, 200, "{filter}");
        assert_eq!(response.get("content-type"), Some("application/grpc"));
        assert_eq!(response.get("grpc-status"), Some(status), "{filter}");
        assert_eq!(response.get("grpc-message"), Some(message));
        assert_eq!(response.get("retry-after").is_some(), retry_after);
        assert!(response.body.is_empty(), "{filter}");
        let labels = [&*format!("grpc_status=\"{status}\"")];
        weir.counts("weir_grpc_requests_total", &labels, 1.0);
    }
}

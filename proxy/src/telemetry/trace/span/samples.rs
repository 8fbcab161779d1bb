//! Requests that have ended, for tests.

use std::net::{Ipv4Addr, SocketAddr};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;

/// One that took a second and was tried twice: 100 ms without a connection, then answered with 200.
pub(crate) fn ended() -> Ended {
    let mut random = SmallRng::seed_from_u64(1);
    let began = Moment::now();
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, 9001).into();
    let endpoint = EndpointId::new("shop/127.0.0.1:9001").unwrap();
    let place = (&endpoint, address);
    let (first, second) = (SpanId::random(&mut random), SpanId::random(&mut random));
    let mut failed = Try::failed(first, began, place, Flag::UF, &"no connection");
    failed.ended = Some(began + Duration::from_millis(100));
    let again = began + Duration::from_millis(200);
    Ended {
        trace: TraceId::random(&mut random),
        span: SpanId::random(&mut random),
        parent: Some(SpanId::random(&mut random)),
        flags: 1,
        state: "a=1".into(),
        tries: vec![failed, Try::answered(second, again, place, 200)],
        began,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        took: Duration::from_secs(1),
        method: "GET",
        other_method: None,
        scheme: "https",
        endpoint_scheme: "http",
        host: "shop.example.com:8080".into(),
        path: "/cart".into(),
        user_agent: "curl/8".into(),
        protocol: Spoken::Http11,
        client: Ipv4Addr::new(192, 0, 2, 7).into(),
        peer: (Ipv4Addr::new(10, 0, 0, 1), 4711).into(),
        status: 200,
        flag: Flag::None,
        grpc_status: None,
        request_id: "a1b2".into(),
        listener: Some("web".into()),
        route: Some("shop".into()),
        service: Some("shop".into()),
        version: Some("canary".into()),
    }
}

//! The same over TLS: what is asked goes inside, and a handshake that fails fails the check.

use std::sync::Arc;

use weir_config::model::{
    AppProtocol, BackendRoots, BackendTls, ClientAuthMode, GrpcProbe, HttpProbe, ListenerTls,
};

use super::grpc::{SERVING, answer};
use super::*;
use crate::tls::ServerTls;
use crate::tls::testing::{Authority, listener, serve};

/// How an endpoint of this authority is called.
fn calling(authority: &Authority) -> Arc<ClientTls> {
    let model = BackendTls {
        roots: BackendRoots::Given(authority.model()),
        hostname: Some("shop.internal".to_owned()),
        alt_names: Vec::new(),
        client: None,
    };
    ClientTls::build(&Arc::new(model), AppProtocol::Http, None)
}

fn shop(authority: &Authority) -> Arc<ListenerTls> {
    let leaf = authority.leaf(&["shop.internal"]);
    listener(vec![leaf.model(&["shop.internal"])])
}

/// Checks an origin behind TLS that reads once and answers. Returns the outcome and what it read.
async fn ask_over_tls(
    probe: HealthProbe,
    tls: &ClientTls,
    origin: Arc<ListenerTls>,
    says: &'static [u8],
) -> (Result<String, String>, String) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let origin = tokio::spawn(async move {
        let origin = ServerTls::build(&origin, None);
        let (tcp, _) = socket.accept().await.unwrap();
        let Ok(mut stream) = serve(tcp, &origin).await else {
            return String::new();
        };
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let _ = stream.write_all(says).await;
        // Until the check has heard enough.
        let _ = stream.read(&mut [0]).await;
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    let outcome = run(address, &of(probe, PATIENT), Some(tls)).await;
    (outcome, origin.await.unwrap())
}

#[tokio::test]
async fn each_kind_of_check_is_asked_inside_of_tls() {
    let authority = Authority::new();
    let tls = calling(&authority);
    let (outcome, request) = ask_over_tls(
        HealthProbe::Http(HttpProbe::get("/healthz")),
        &tls,
        shop(&authority),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(outcome.as_deref(), Ok("status 200"));
    // Named as it is in the handshake.
    assert!(
        request.starts_with("GET /healthz HTTP/1.1\r\nHost: shop.internal\r\n"),
        "{request}"
    );
    let probe = tcp("PING\r\n", "+PONG");
    let (outcome, request) = ask_over_tls(probe, &tls, shop(&authority), b"+PONG\r\n").await;
    assert_eq!(outcome.as_deref(), Ok("\"+PONG\" came"));
    assert_eq!(request, "PING\r\n");
    let (outcome, _) = ask_over_tls(tcp("", ""), &tls, shop(&authority), b"").await;
    assert_eq!(outcome.as_deref(), Ok("connected"));
}

#[tokio::test]
async fn grpc_is_asked_by_the_protocol_that_both_agree_on() {
    let authority = Authority::new();
    let origin = ServerTls::build(&shop(&authority), None);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (tcp, _) = socket.accept().await.unwrap();
        let stream = serve(tcp, &origin).await.unwrap();
        assert_eq!(stream.info().alpn, Alpn::H2);
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        let asked = tokio::spawn(answer(request, respond, SERVING));
        while let Some(Ok(_)) = connection.accept().await {}
        asked.await.unwrap()
    });
    let check = of(HealthProbe::Grpc(GrpcProbe::default()), PATIENT);
    let outcome = run(address, &check, Some(&calling(&authority))).await;
    assert_eq!(outcome.as_deref(), Ok("SERVING"));
    let asked = server.await.unwrap();
    assert!(
        asked.starts_with("POST https://shop.internal/grpc.health.v1.Health/Check "),
        "{asked}"
    );
}

#[tokio::test]
async fn a_handshake_that_fails_fails_the_check_and_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let probe = || HealthProbe::Http(HttpProbe::get("/"));
    let foreign = calling(&other);
    let (outcome, _) = ask_over_tls(probe(), &foreign, shop(&authority), b"").await;
    let why = outcome.unwrap_err();
    assert!(
        why.starts_with("TLS: ") && why.contains("UnknownIssuer"),
        "{why}"
    );
    // A server of TLS 1.3 asks for what it is not shown only after the client is done.
    let asking = ListenerTls {
        client_auth: Some(authority.client_auth(ClientAuthMode::Require)),
        ..(*shop(&authority)).clone()
    };
    let tls = calling(&authority);
    let (outcome, _) = ask_over_tls(probe(), &tls, Arc::new(asking), b"").await;
    let why = outcome.unwrap_err();
    assert!(why.contains("CertificateRequired"), "{why}");
    // Nobody answers.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let outcome = run(address, &of(probe(), BRIEF), Some(&tls)).await;
    let late = "timed out after 500ms in the TLS handshake";
    assert_eq!(outcome, Err(late.to_owned()));
}

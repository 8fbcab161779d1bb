//! Servers of HTTP/2 with a health service of every mood.

use std::sync::Arc;

use weir_config::model::GrpcProbe;

use super::*;

/// What the health service of a server answers.
#[derive(Clone, Copy)]
pub(super) struct Health {
    status: u16,
    content_type: &'static str,
    /// `None`: the status is in the head, and nothing follows it.
    message: Option<&'static [u8]>,
    grpc_status: Option<&'static str>,
}

pub(super) const SERVING: Health = Health {
    status: 200,
    content_type: "application/grpc+proto",
    message: Some(b"\0\0\0\0\x02\x08\x01"),
    grpc_status: Some("0"),
};

/// Checks a real HTTP/2 server. Returns the outcome, and what it was asked.
async fn ask_grpc(probe: GrpcProbe, health: Health) -> (Result<String, String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        let asked = tokio::spawn(answer(request, respond, health));
        // Drives the connection until the check has heard enough, and resets it.
        while let Some(Ok(_)) = connection.accept().await {}
        asked.await.unwrap()
    });
    let outcome = run(address, &of(HealthProbe::Grpc(probe), PATIENT), None).await;
    (
        outcome,
        server
            .await
            .unwrap()
            .replace(&address.to_string(), "ADDRESS"),
    )
}

pub(super) async fn answer(
    request: ::http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<bytes::Bytes>,
    health: Health,
) -> String {
    let (head, mut body) = request.into_parts();
    let mut question = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        question.extend_from_slice(&data);
    }
    let field = |name| head.headers[name].to_str().unwrap();
    let asked = format!(
        "{} {} {} {} {}",
        head.method,
        head.uri,
        field("content-type"),
        field("te"),
        quoted(&question)
    );
    let mut response = ::http::Response::builder()
        .status(health.status)
        .header("content-type", health.content_type);
    let mut trailers = ::http::HeaderMap::new();
    if let Some(status) = health.grpc_status {
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert("grpc-message", "no such thing".parse().unwrap());
    }
    let Some(message) = health.message else {
        response.headers_mut().unwrap().extend(trailers);
        respond
            .send_response(response.body(()).unwrap(), true)
            .unwrap();
        return asked;
    };
    let mut stream = respond
        .send_response(response.body(()).unwrap(), false)
        .unwrap();
    stream
        .send_data(message.into(), health.grpc_status.is_none())
        .unwrap();
    if health.grpc_status.is_some() {
        stream.send_trailers(trailers).unwrap();
    }
    asked
}

#[tokio::test]
async fn grpc_health_asks_about_a_service_or_the_server() {
    let (outcome, asked) = ask_grpc(GrpcProbe::default(), SERVING).await;
    assert_eq!(outcome.as_deref(), Ok("SERVING"));
    let path = "/grpc.health.v1.Health/Check";
    let empty = "\"\\x00\\x00\\x00\\x00\\x00\"";
    assert_eq!(
        asked,
        format!("POST http://ADDRESS{path} application/grpc trailers {empty}")
    );
    let probe = GrpcProbe {
        service: Arc::from("shop.Cart"),
        authority: Some(Arc::from("cart:50051")),
    };
    let (outcome, asked) = ask_grpc(probe, SERVING).await;
    assert_eq!(outcome.as_deref(), Ok("SERVING"));
    let question = "\"\\x00\\x00\\x00\\x00\\x0b\\n\\tshop.Cart\"";
    assert_eq!(
        asked,
        format!("POST http://cart:50051{path} application/grpc trailers {question}")
    );
}

#[tokio::test]
async fn grpc_health_that_is_not_serving_says_what_it_is() {
    let message = |message| Health {
        message: Some(message),
        ..SERVING
    };
    let status = |status| Health {
        message: None,
        grpc_status: Some(status),
        ..SERVING
    };
    for (health, expected) in [
        (
            message(b"\0\0\0\0\x02\x08\x02"),
            "NOT_SERVING, expected SERVING",
        ),
        (message(b"\0\0\0\0\x00"), "UNKNOWN, expected SERVING"),
        (
            message(b"\0\0\0\0\x02\x08\x03"),
            "SERVICE_UNKNOWN, expected SERVING",
        ),
        (
            message(&[0; 8192]),
            "the answer is too long for grpc.health.v1.Health",
        ),
        (
            message(b"\x01\0\0\0\0"),
            "a compressed answer, which was not asked for",
        ),
        (
            status("12"),
            "grpc-status 12 (UNIMPLEMENTED): \"no such thing\"",
        ),
        (status("5"), "grpc-status 5 (NOT_FOUND): \"no such thing\""),
        (status("99"), "grpc-status 99: \"no such thing\""),
        (status("0"), "an answer without a message"),
        (
            Health {
                grpc_status: Some("14"),
                ..SERVING
            },
            "grpc-status 14 (UNAVAILABLE): \"no such thing\"",
        ),
        (
            Health {
                grpc_status: None,
                ..SERVING
            },
            "an answer without grpc-status",
        ),
        (
            Health {
                status: 404,
                ..SERVING
            },
            "status 404, expected gRPC",
        ),
        (
            Health {
                content_type: "text/html",
                ..SERVING
            },
            "content type \"text/html\", expected gRPC",
        ),
    ] {
        let (outcome, _) = ask_grpc(GrpcProbe::default(), health).await;
        assert_eq!(outcome, Err(expected.to_owned()));
    }
}

#[tokio::test]
async fn grpc_health_of_what_does_not_speak_http_2_fails() {
    let probe = || HealthProbe::Grpc(GrpcProbe::default());
    let (outcome, _) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        (
            run(address, &of(probe(), PATIENT), None).await,
            origin.await,
        )
    };
    let why = outcome.unwrap_err();
    assert!(why.starts_with("no answer by HTTP/2: "), "{why}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outcome = run(listener.local_addr().unwrap(), &of(probe(), BRIEF), None).await;
    assert_eq!(
        outcome,
        Err("timed out after 500ms waiting for the answer".to_owned())
    );
}

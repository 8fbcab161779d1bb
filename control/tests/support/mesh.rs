//! A control plane with a mesh, whose clock may run fast, and workloads that join it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_config::Fragment;
use weir_config::model::{ServiceName, Source};
use weir_config::settings::{ControlServer, Settings};
use weir_control::xds::{Waiting, XdsServer};
use weir_control::{Control, ControlOptions};
use weir_identity::{
    FromAuthority, Kept, Source as Identities, StartError, Status, TokenSource, World,
};
use weir_xds_client::{Access, Address, Follower, OwnTls};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct House {
    pub(crate) control: Control,
    pub(crate) world: World,
    settings: Settings,
    server: Option<XdsServer>,
    address: Address,
    /// Control planes that workloads are to ask before this one.
    pub(crate) before: Vec<Address>,
    /// Connections to it that went through [`House::count_connections`].
    connections: Arc<AtomicUsize>,
    /// Authorities of the control plane's own certificate.
    pub(crate) ca: Option<PathBuf>,
    dir: tempfile::TempDir,
}

impl House {
    /// With that in the mesh section, and time that passes that many times as fast.
    pub(crate) async fn open(speed: u32, mesh: &str) -> Self {
        let text = format!("mesh: {mesh}\ncontrol: {{ bind: 127.0.0.1:0 }}\n");
        Self::open_as(speed, &text, tempfile::tempdir().unwrap(), None).await
    }

    /// With a certificate of its own for the server.
    pub(crate) async fn open_with_tls(mesh: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        let ca = dir.path().join("ca.crt");
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let text = format!(
            "mesh: {mesh}\ncontrol: {{ bind: 127.0.0.1:0, tls: {{ cert: {}, key: {} }} }}\n",
            cert.display(),
            key.display()
        );
        Self::open_as(1, &text, dir, Some(ca)).await
    }

    async fn open_as(speed: u32, text: &str, dir: tempfile::TempDir, ca: Option<PathBuf>) -> Self {
        let loaded = weir_config::file::parse("weir.yaml".as_ref(), text);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let world = World::fast(speed);
        let control = start(&loaded.settings, &dir, &world).await;
        let server = loaded.settings.control.clone().unwrap();
        let server = serve(&control, &server);
        let address = format!("https://{}", server.address()).parse().unwrap();
        Self {
            control,
            world,
            settings: loaded.settings,
            server: Some(server),
            address,
            before: Vec::new(),
            connections: Arc::default(),
            ca,
            dir,
        }
    }

    /// From now on workloads come by a detour on which their connections are counted.
    pub(crate) async fn count_connections(&mut self) {
        let detour = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("{}:{}", self.address.host(), self.address.port());
        self.address = format!("https://{}", detour.local_addr().unwrap())
            .parse()
            .unwrap();
        let connections = Arc::clone(&self.connections);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = detour.accept().await {
                connections.fetch_add(1, Relaxed);
                let to = to.clone();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// How often it was asked what is to be trusted.
    pub(crate) fn questions(&self) -> u64 {
        let text = self.control.metrics_text();
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("weir_mesh_trust_questions_total "));
        count.unwrap().parse().unwrap()
    }

    pub(crate) fn stop_serving(&mut self) {
        self.server.take().unwrap().stop();
    }

    pub(crate) async fn serve_again(&mut self) {
        let mut settings = self.settings.control.clone().unwrap();
        let bind = format!("{}:{}", self.address.host(), self.address.port());
        settings.bind = bind.parse().unwrap();
        self.server = Some(serve(&self.control, &settings));
    }

    /// Everything anew, with what is on disk.
    pub(crate) async fn restart(&mut self) {
        self.restart_after(|_| {}).await;
    }

    /// Everything anew, with the roots that are on disk, and nothing of who holds a certificate.
    pub(crate) async fn restart_without_records(&mut self) {
        let lose = |dir: &Path| std::fs::remove_file(dir.join("weir.redb")).unwrap();
        self.restart_after(lose).await;
    }

    async fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.stop_serving();
        self.control.hand_over().await;
        self.control.stop();
        change(self.dir.path());
        self.control = start(&self.settings, &self.dir, &self.world).await;
        self.serve_again().await;
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, (u16, String)> {
        let body = Body::from(body.to_string());
        self.ask(Request::post(path).body(body).unwrap()).await
    }

    async fn ask(&self, request: Request<Body>) -> Result<Value, (u16, String)> {
        let app = weir_control::api::router(self.control.clone());
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        match status.is_success() {
            true => Ok(serde_json::from_slice(&bytes).unwrap()),
            false => Err((
                status.as_u16(),
                String::from_utf8_lossy(&bytes).into_owned(),
            )),
        }
    }

    pub(crate) async fn token(&self, service: &str) -> String {
        let made = self
            .post("/api/v1/mesh/tokens", json!({ "service": service }))
            .await
            .unwrap();
        made["text"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn rotate(&self, step: &str, force: bool) -> Result<Value, (u16, String)> {
        self.post(
            "/api/v1/mesh/rotation",
            json!({ "step": step, "force": force }),
        )
        .await
    }

    pub(crate) async fn join(
        &self,
        service: &str,
        token: Option<&str>,
    ) -> Result<Kept, StartError> {
        let token = token.map(|text| TokenSource::Text(text.to_owned()));
        self.join_with(service, token, None, Arc::default()).await
    }

    pub(crate) fn join_with(
        &self,
        service: &str,
        token: Option<TokenSource>,
        dir: Option<PathBuf>,
        status: Arc<Status>,
    ) -> impl Future<Output = Result<Kept, StartError>> + 'static {
        let from = Identities::Authority(FromAuthority {
            control: (self.before.iter().chain([&self.address]).cloned()).collect(),
            service: ServiceName::new(service).unwrap(),
            trust_domain: None,
            token,
            ca: self.ca.clone(),
            dir,
        });
        weir_identity::start(from, self.world.clone(), status)
    }

    /// Follows the configuration, as a workload or as nobody.
    pub(crate) fn follow(&self, node: &str, kept: Option<&Kept>) -> Follower {
        let access = Access {
            own: Some(match kept {
                Some(kept) => kept.tls(&self.world),
                None => OwnTls::new(|| Ok(Arc::new(believing()))),
            }),
            ..Access::default()
        };
        let options = weir_xds_client::Options {
            load: None,
            tidy: || {},
            node: weir_xds_client::node(node, None, "test"),
            control: vec![self.address.clone()],
            access,
            variant: None,
            limits: weir_xds_client::Limits::default(),
        };
        Follower::start(options, None, Arc::new(|_, _| Vec::new())).unwrap()
    }
}

async fn start(settings: &Settings, dir: &tempfile::TempDir, world: &World) -> Control {
    let clock = world.clone();
    let mut authority = weir_control::mesh::world();
    authority.now = Arc::new(move || clock.now());
    let source = Source::Other("test".into());
    let options = ControlOptions {
        base: vec![Fragment::with_listener(
            "web",
            ([127, 0, 0, 1], 1).into(),
            source,
        )],
        state_dir: Some(dir.path().to_path_buf()),
        mesh: settings.mesh.clone(),
        mesh_world: authority,
        embedded: false,
        ..ControlOptions::default()
    };
    Control::start(options).await.unwrap()
}

fn serve(control: &Control, settings: &ControlServer) -> XdsServer {
    XdsServer::start(control, settings, Waiting::default()).unwrap()
}

/// A client that asks nobody who they are, and shows nothing.
fn believing() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Looks until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let looking = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, looking).await;
    assert!(seen.is_ok(), "waited in vain until {what}");
}

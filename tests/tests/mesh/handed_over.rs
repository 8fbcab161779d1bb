//! What the kernel hands over to a sidecar as it is (tproxy), beside an app that listens on all addresses.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tempfile::TempDir;
use weir_tests::binary;
use weir_tests::client::Client;
use weir_tests::namespace::Namespace;
use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::program::Program;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::plane::{Member, Plane};

/// Where a container's sidecar takes connections, of either version of IP.
const INBOUND: &str = "[::]:15006";

/// A container, as it were: a namespace with `shop` in it, and nobody on its way.
struct Container {
    namespace: Namespace,
    app: SocketAddr,
    state: TempDir,
    _shop: Program,
}

impl Container {
    fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let shop = Program::origin_of(
            namespace.command(binary::weir()),
            "0.0.0.0:8000",
            &["--name", "shop"],
        );
        Some(Self {
            app: SocketAddr::from((namespace.inner(), 8000)),
            namespace,
            state: tempfile::tempdir().expect("a directory"),
            _shop: shop,
        })
    }

    /// `weir sidecar --init`.
    fn init(&self) {
        let mut command = self.namespace.command(binary::weir());
        let args = "sidecar --init --app 127.0.0.1:8000 --interception tproxy --user 0";
        let done = command.args(args.split(' ')).output().expect("run weir");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// The sidecar, as root with that privilege and no other (`cap_drop: [ALL]`, `cap_add`).
    fn sidecar(&self, privilege: &str, plane: &Plane, token: &str) -> Weir {
        let mut command = self.namespace.command("setpriv");
        command.args([
            "--inh-caps=-all",
            &format!("--bounding-set=-all{privilege}"),
        ]);
        command.arg(binary::weir());
        let state = self.state.path().display().to_string();
        let own = [
            ["--service", "shop"],
            ["--app", &self.app.to_string()],
            ["--control", &format!("https://{}", plane.xds)],
            ["--inbound", INBOUND],
            ["--interception", "tproxy"],
            ["--state-dir", &state],
            ["--join-token", token],
        ];
        Weir::command_of(command, |_| {
            let words = ["sidecar"].into_iter().chain(own.iter().copied().flatten());
            words.map(str::to_owned).collect()
        })
    }

    /// The status of a request in plain text to the app's port.
    fn ask(&self) -> Option<u16> {
        let mut client = Client::try_connect(self.app).ok()?;
        let request = "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
        client.wire.send(request).ok()?;
        Some(client.try_response("GET").ok()??.status())
    }

    fn refuses(&self) -> bool {
        let tried = TcpStream::connect_timeout(&self.app, Duration::from_secs(5));
        tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }

    /// Everything that is answered to plain text.
    fn answer(&self) -> String {
        let mut stranger = TcpStream::connect(self.app).expect("connect");
        let time = Some(Duration::from_secs(10));
        stranger.set_read_timeout(time).expect("a time");
        let request = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
        stranger.write_all(request).expect("write");
        let mut answer = Vec::new();
        let _ = stranger.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A plane where callers of `shop` connect to the very port of the app.
    fn plane(&self, web: &Origin) -> Plane {
        let control = SocketAddr::from((self.namespace.outer(), ports::free().port()));
        let mut shop = Member::new("shop", self.app);
        shop.inbound = self.app;
        Plane::start_at(control, &[Member::new("web", web.addr()), shop])
    }
}

#[test]
fn what_is_handed_over_is_served_over_mtls_alone_and_never_past_the_sidecar() {
    let Some(container) = Container::new() else {
        return;
    };
    assert_eq!(container.ask(), Some(200), "before there are rules");
    let held = TcpStream::connect(container.app).expect("connect");
    container.init();
    assert!(
        container.refuses(),
        "nobody takes it, and so nobody gets it"
    );

    let web_app = Origin::ok("web");
    let plane = container.plane(&web_app);
    let web = plane.sidecar("web");
    let shop = container.sidecar(",+net_raw", &plane, &plane.token("shop"));
    let answer = web.ask_until("shop", "/headers", 200);
    assert!(
        answer.text().contains("URI=spiffe://test.mesh/svc/web"),
        "{}\n{}",
        answer.text(),
        shop.logs()
    );
    let answer = container.answer();
    assert!(
        !answer.contains("200 OK") && !answer.contains("shop"),
        "{answer}"
    );
    drop(shop);
    assert!(container.refuses(), "without a sidecar");
    // One that was there before the rules is left alone, as a redirection leaves it.
    let mut held = Client {
        wire: weir_tests::wire::Wire::new(held, None),
    };
    assert_eq!(held.get("shop", "/").status(), 200);
}

#[test]
fn without_the_privilege_it_says_what_to_do() {
    let Some(container) = Container::new() else {
        return;
    };
    let web_app = Origin::ok("web");
    let plane = container.plane(&web_app);
    let shop = container.sidecar("", &plane, &plane.token("shop"));
    eventually("a word on the privilege", || {
        let said = shop.stderr();
        (said.contains(INBOUND) && said.contains("cap_add: [NET_RAW]")).then_some(())
    });
}

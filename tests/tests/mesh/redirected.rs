//! What the kernel redirects of an app that knows nothing of its sidecar, and what it leaves alone.

use std::net::{IpAddr, SocketAddr};
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

/// The app is not the sidecar's user, by which their connections are told apart.
const APP: [&str; 3] = ["--reuid=1000", "--regid=1000", "--clear-groups"];
/// What curl ends with when a connection is reset: before it has sent anything, as it sends, or as it receives.
const RESET: [i32; 3] = [7, 55, 56];

/// A container, as it were: `web` in a namespace, which calls others with curl, and its sidecar.
struct Container {
    namespace: Namespace,
    state: TempDir,
    _web: Program,
}

impl Container {
    fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let web = Program::origin_of(
            namespace.command(binary::weir()),
            "127.0.0.1:8000",
            &["--name", "web"],
        );
        Some(Self {
            namespace,
            state: tempfile::tempdir().expect("a directory"),
            _web: web,
        })
    }

    /// `weir sidecar --init`; in place of what there was.
    fn init(&self, more: &[&str]) {
        let mut command = self.namespace.command(binary::weir());
        command.args("sidecar --init --app 127.0.0.1:8000 --user 0".split(' '));
        let done = command.args(more).output().expect("run weir");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// The sidecar, when it is ready.
    fn sidecar(&self, plane: &Plane, more: &[&str]) -> Weir {
        let state = self.state.path().display().to_string();
        let (control, token) = (format!("https://{}", plane.xds), plane.token("web"));
        let weir = Weir::command_of(self.namespace.command(binary::weir()), |_| {
            let own = ["sidecar", "--service", "web", "--transparent"];
            let to = ["--control", &control, "--join-token", &token];
            let all = [&own[..], &to, &["--state-dir", &state], more].concat();
            all.into_iter().map(str::to_owned).collect()
        });
        // In a process of its own, as another container of the namespace does.
        let mut wait = self.namespace.command("timeout");
        wait.arg("20").arg(binary::weir());
        wait.args(["sidecar", "--wait", "--", "sh", "-c", "exit 7"]);
        let waited = wait.output().expect("run weir sidecar --wait");
        assert_eq!(waited.status.code(), Some(7), "{}", weir.logs());
        weir
    }

    /// What the app gets from there: a status, or what curl ended with.
    fn ask(&self, there: &str) -> Result<u16, i32> {
        let mut curl = self.namespace.command("setpriv");
        curl.args(APP).arg("curl");
        curl.args("-s --globoff --max-time 10 -o /dev/null -w %{http_code}".split(' '));
        let output = curl.arg(format!("http://{there}/")).output();
        let output = output.expect("run curl");
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout)
                .parse()
                .expect("a status")),
            code => Err(code.expect("no signal")),
        }
    }

    fn is_reset(&self, there: SocketAddr) {
        let got = self.ask(&there.to_string());
        assert!(
            got.is_err_and(|code| RESET.contains(&code)),
            "{there}: {got:?}"
        );
    }

    /// Of the sidecar's connections, by what became of them.
    fn redirected(&self, result: &str) -> f64 {
        let mut curl = self.namespace.command("curl");
        let metrics = curl.args(["-s", "http://127.0.0.1:9900/metrics"]).output();
        let metrics = metrics.expect("run curl").stdout;
        let metrics = String::from_utf8_lossy(&metrics).into_owned();
        let result = format!("result=\"{result}\"");
        let lines = metrics.lines().filter(|line| {
            line.starts_with("weir_redirected_connections_total{") && line.contains(&result)
        });
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// A plane at the machine's end, with `web` in here and `shop` on the machine.
    fn plane(&self, shop: &Origin, web: IpAddr) -> Plane {
        let control = at(self.namespace.outer().into());
        let mut web = Member::new("web", SocketAddr::new(web, 8000));
        web.inbound = web.app;
        let mut member = Member::new("shop", shop.addr());
        member.inbound = at(shop.addr().ip());
        Plane::start_at(control, &[web, member])
    }
}

/// A port of that address.
fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, ports::free().port())
}

fn origin(addr: SocketAddr, name: &str) -> Origin {
    Origin::slow_at(addr, name, Duration::ZERO)
}

/// What the service was asked last came from `web`, over mTLS.
fn was_called_by_web(shop: &Origin) {
    let seen = shop.requests().pop().expect("a request");
    let xfcc = seen.get("x-forwarded-client-cert").unwrap_or_default();
    assert!(xfcc.contains("URI=spiffe://test.mesh/svc/web"), "{xfcc}");
}

#[test]
fn what_no_service_has_is_reset_and_what_is_excluded_never_comes() {
    let Some(container) = Container::new() else {
        return;
    };
    let outer = IpAddr::from(container.namespace.outer());
    let shop = origin(at(outer), "shop");
    let (one, other) = (origin(at(outer), "one"), origin(at(outer), "other"));
    let dns = origin(SocketAddr::new(outer, 53), "dns");
    let plane = container.plane(&shop, container.namespace.inner().into());
    let _shop = plane.sidecar("shop");
    container.init(&[]);
    let sidecar = container.sidecar(&plane, &["--unknown", "refuse"]);
    let ask = |origin: &Origin| container.ask(&origin.addr().to_string());

    eventually("the shop", || (ask(&shop) == Ok(200)).then_some(()));
    was_called_by_web(&shop);
    container.is_reset(one.addr());
    container.is_reset(other.addr());
    assert_eq!(ask(&dns), Ok(200), "DNS over TCP: {}", sidecar.logs());
    assert_eq!(one.accepted() + other.accepted(), 0);
    eventually("both in the metrics", || {
        (container.redirected("refused") == 2.0).then_some(())
    });

    container.init(&["--exclude-ports", &one.addr().port().to_string()]);
    assert_eq!(ask(&one), Ok(200), "its port is excluded");
    container.is_reset(other.addr());

    container.init(&["--exclude", &format!("{outer}/32")]);
    assert_eq!((ask(&one), ask(&other)), (Ok(200), Ok(200)), "its network");
    // Past the sidecar, so not over mTLS.
    shop.clear();
    assert_eq!(ask(&shop), Ok(200), "the app itself");
    assert_eq!(shop.only().get("x-forwarded-client-cert"), None);
}

#[test]
fn ipv6_is_redirected_and_taken_as_ipv4_is() {
    let Some(container) = Container::new() else {
        return;
    };
    let Some((outer, inner)) = container.namespace.ipv6() else {
        return;
    };
    let shop = origin(at(outer.into()), "shop");
    let stranger = origin(at(outer.into()), "stranger");
    let plane = container.plane(&shop, inner.into());
    let machine = plane.sidecar("shop");
    container.init(&[]);
    let _web = container.sidecar(&plane, &[]);

    // Out: to a service of the mesh, to a stranger, and by name on loopback.
    let there = shop.addr().to_string();
    eventually("the shop over IPv6", || {
        (container.ask(&there) == Ok(200)).then_some(())
    });
    was_called_by_web(&shop);
    assert_eq!(container.ask(&stranger.addr().to_string()), Ok(200));
    assert_eq!(container.redirected("passed"), 1.0);
    let mut by_name = container.namespace.command("setpriv");
    by_name.args(APP).args(["curl", "-sf", "--max-time", "10"]);
    by_name.args(["-x", "http://[::1]:15001", "http://shop/by-name"]);
    let by_name = by_name.output().expect("run curl");
    assert!(by_name.status.success(), "{by_name:?}");
    assert_eq!(shop.requests().pop().expect("one").target(), "/by-name");

    // In: over mTLS to the app's own port, and not in plain text.
    let answer = machine.ask_until("web", "/headers", 200);
    assert!(answer.text().contains("URI=spiffe://test.mesh/svc/shop"));
    let plain = SocketAddr::new(inner.into(), 8000);
    let mut plain = Client::connect(plain);
    plain.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    let answer = plain.try_response("GET").ok().flatten();
    assert_ne!(answer.map(|answer| answer.status()), Some(200));
}

#[test]
fn one_socket_for_both_versions_of_ip_knows_where_connections_were_going() {
    let Some(container) = Container::new() else {
        return;
    };
    let outer = container.namespace.outer();
    let shop = origin(at(outer.into()), "shop");
    let plane = container.plane(&shop, container.namespace.inner().into());
    let _shop = plane.sidecar("shop");
    container.init(&[]);
    let own = ["--outbound", "[::]:15001", "--unknown", "refuse"];
    let _web = container.sidecar(&plane, &own);
    let there = shop.addr().to_string();
    eventually("the shop over IPv4", || {
        (container.ask(&there) == Ok(200)).then_some(())
    });
    was_called_by_web(&shop);
}

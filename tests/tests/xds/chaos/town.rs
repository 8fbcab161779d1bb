//! A control plane that watches a real engine, proxies that follow it, containers that answer, and load on each proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use weir_tests::docker::{Container, Network, SOCKET, Spec, docker};
use weir_tests::load::Load;
use weir_tests::ports;
use weir_tests::wait::within;
use weir_tests::weir::Weir;

use super::Move;
use super::channel::Channel;
use crate::plane::Plane;

/// Clients of each proxy.
const CLIENTS: usize = 2;
/// Between two requests of one.
const REST: Duration = Duration::from_millis(4);
/// For everything that was missed to be made up for: a connection that was cut is tried again after seconds.
const SETTLING: Duration = Duration::from_secs(60);

pub(super) struct Town {
    // In the order in which they go.
    proxies: Vec<Proxy>,
    plane: Plane,
    channel: Channel,
    containers: Vec<Container>,
    _network: Network,
}

/// A proxy and those who ask it.
struct Proxy {
    name: String,
    control: SocketAddr,
    web: SocketAddr,
    state: TempDir,
    weir: Option<Weir>,
    load: Option<Load>,
    good: usize,
    failures: Vec<String>,
}

impl Town {
    pub(super) fn build(proxies: usize, containers: usize) -> Self {
        let network = Network::with_own_subnet();
        let start = |at: usize| {
            let spec = Spec::origin(&network, &format!("c{at}"), "stable")
                .option(
                    "--ip",
                    &network.address(u8::try_from(10 + at).expect("a few")),
                )
                .label("weir.enable", "true")
                .label("weir.service", "shop")
                .label("weir.port", "8080")
                .label("weir.pool.connectTimeout", "250ms");
            spec.run()
        };
        let houses: Vec<Container> = (0..containers).map(start).collect();
        houses.iter().for_each(Container::wait_healthy);
        let webs: Vec<SocketAddr> = (0..proxies).map(|_| ports::free()).collect();
        let name = &network.name;
        let plane = Plane::start(|at| yaml(at.xds, name, &webs));
        let control = plane.at.xds;
        let mut town = Self {
            proxies: webs
                .iter()
                .enumerate()
                .map(|(at, web)| Proxy::new(at, control, *web))
                .collect(),
            channel: Channel::to(control),
            plane,
            containers: houses,
            _network: network,
        };
        town.proxies.iter_mut().for_each(Proxy::start);
        town.settle(&(0..containers).collect(), &[]);
        town
    }

    pub(super) fn make(&mut self, step: Move) {
        match step {
            Move::EndControl(signal) => self.plane.end(signal),
            Move::StartControl => self.plane.resume(),
            Move::EndProxy(at, signal) => self.proxies[at].end(signal),
            Move::StartProxy(at) => self.proxies[at].start(),
            Move::EndContainer(at) => drop(docker(&["kill", &self.containers[at].name])),
            Move::StartContainer(at) => drop(docker(&["start", &self.containers[at].name])),
            Move::CutChannel => self.channel.cut(),
            Move::MendChannel => self.channel.mend(),
        }
    }

    /// Waits until the control plane and every proxy know these containers as endpoints, and no other; and the same of all else.
    pub(super) fn settle(&self, up: &BTreeSet<usize>, told: &[String]) {
        let name = |at: &usize| self.containers[*at].name.clone();
        let expected: BTreeSet<String> = up.iter().map(name).collect();
        let story = told.join("\n");
        let what = format!("all to know of {expected:?} after\n{story}\n");
        within(SETTLING, &what, || {
            let all = self.proxies.iter().map(|proxy| proxy.known());
            let all: Vec<_> = all.collect::<Option<_>>()?;
            let wanted = self.known_by_control(&expected)?;
            all.iter().all(|known| *known == wanted).then_some(())
        });
        for proxy in &self.proxies {
            self.plane.synced(&proxy.name);
        }
    }

    /// What proxies are to know, by what the control plane shows; `None` while that is not these containers.
    fn known_by_control(&self, expected: &BTreeSet<String>) -> Option<Known> {
        let answer = self.plane.weir().json("/api/v1/discovery");
        let mut known = Known::new();
        let mut names = BTreeSet::new();
        let all = answer["containers"].as_array()?.iter();
        // There are others on this machine, which are not of this network.
        for container in all.filter(|container| container["included"] == true) {
            names.insert(container["container"].as_str()?.to_owned());
            known.insert(
                container["address"].as_str()?.to_owned(),
                "ready".to_owned(),
            );
        }
        (names == *expected).then_some(known)
    }

    /// Ends all load, and tells how many requests there were, and which failed.
    pub(super) fn end(mut self) -> (usize, Vec<String>) {
        let (mut good, mut failures) = (0, Vec::new());
        for proxy in &mut self.proxies {
            proxy.rest();
            good += proxy.good;
            failures.append(&mut proxy.failures);
        }
        (good + failures.len(), failures)
    }
}

/// Endpoints by their addresses, and how they stand.
type Known = BTreeMap<String, String>;

impl Proxy {
    fn new(at: usize, control: SocketAddr, web: SocketAddr) -> Self {
        Self {
            name: format!("edge-{at}"),
            control,
            web,
            state: tempfile::tempdir().expect("a directory"),
            weir: None,
            load: None,
            good: 0,
            failures: Vec::new(),
        }
    }

    /// Starts it, and load on it as soon as it serves: with a control plane or without.
    fn start(&mut self) {
        let (control, state) = (
            format!("http://{}", self.control),
            self.state.path().display().to_string(),
        );
        let mut weir = Weir::command(|ports| {
            let admin = ports.admin.to_string();
            let args = [
                "proxy",
                "--control",
                &control,
                "--node",
                &self.name,
                "--workers",
                "1",
                "--access-log",
                "off",
                "--admin-listen",
                &admin,
                "--state-dir",
                &state,
            ];
            args.map(str::to_owned).to_vec()
        });
        weir.wait_ready()
            .unwrap_or_else(|why| panic!("{}: weir {why}\n{}", self.name, weir.logs()));
        self.weir = Some(weir);
        let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        self.load = Some(Load::paced(
            self.web,
            CLIENTS,
            REST,
            request,
            |response| match response.status() {
                200 => Ok("200".to_owned()),
                status => Err(format!("{status}: {}", response.text())),
            },
        ));
    }

    /// Whoever asked it asks no more: a proxy that is gone answers nobody.
    fn end(&mut self, signal: Signal) {
        self.rest();
        if let Some(mut weir) = self.weir.take() {
            weir.signal(signal);
            weir.wait_exit();
        }
    }

    fn rest(&mut self) {
        let Some(load) = self.load.take() else {
            return;
        };
        let report = load.stop();
        self.good += report.good;
        let name = &self.name;
        let own = report
            .failures
            .into_iter()
            .map(|why| format!("{name}: {why}"));
        self.failures.extend(own);
    }

    /// The endpoints that it knows; `None` while it does not answer.
    fn known(&self) -> Option<Known> {
        let answer = self.weir.as_ref()?.json("/api/v1/endpoints");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let all = answer["endpoints"].as_array()?.iter();
        Some(
            all.map(|row| (text(&row["address"]), text(&row["state"])))
                .collect(),
        )
    }
}

/// A listener for each proxy, which sees no other's, and one route for all of them.
fn yaml(xds: SocketAddr, network: &str, webs: &[SocketAddr]) -> String {
    let nodes: Vec<String> = (0..webs.len())
        .map(|at| format!("{{ name: edge-{at}, listeners: [web-{at}] }}"))
        .collect();
    let listeners: Vec<String> = webs
        .iter()
        .enumerate()
        .map(|(at, web)| format!("{{ name: web-{at}, bind: \"{web}\" }}"))
        .collect();
    format!(
        "control: {{ bind: \"{xds}\", insecure: true, nodes: [{}] }}
discovery: {{ docker: {{ endpoint: \"unix://{SOCKET}\", network: {network} }} }}
listeners: [{}]
routes:
  - name: shop
    rules:
      - backendRefs: [{{ name: shop }}]
        timeouts: {{ request: 15s, backendRequest: 2s }}
        retry: {{ attempts: 5, on: [gateway-error] }}
",
        nodes.join(", "),
        listeners.join(", ")
    )
}

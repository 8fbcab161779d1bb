//! Both proxies over the same origins, driven by one request after another.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};
use weir_tests::client::{Client, Response};
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

use super::envoy::{self, Envoy};

/// For a status: no answer, and the connection ends.
pub(crate) const HANGS_UP: u16 = 0;

/// One service, for each of the two in its own words.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Indices of origins, by priority.
    pub(crate) priorities: [std::ops::Range<usize>; 2],
    /// Weir's `outlierDetection`, in YAML's flow style; `successRate` is off unless it says something of it.
    pub(crate) weir: &'static str,
    /// Envoy's `outlier_detection`.
    pub(crate) envoy: Value,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Weir,
    Envoy,
}

/// Both, running.
pub(crate) struct Pair {
    pub(crate) origins: Vec<Origin>,
    weir: Weir,
    envoy: Envoy,
    clients: [Client; 2],
}

impl Pair {
    /// `status(case, origin, n)` is what an origin answers to its nth request of a case, of either proxy. `None` where
    /// there is no Envoy.
    pub(crate) fn start(
        count: usize,
        cases: &[Case],
        status: impl Fn(&str, usize, usize) -> u16 + Send + Sync + Clone + 'static,
    ) -> Option<Self> {
        let program = envoy::program()?;
        let origins: Vec<Origin> = (0..count).map(|at| origin(at, status.clone())).collect();
        let addrs: Vec<SocketAddr> = origins.iter().map(Origin::addr).collect();
        let clusters: Vec<Value> = cases
            .iter()
            .map(|case| {
                let groups: Vec<&[SocketAddr]> = case
                    .priorities
                    .iter()
                    .filter(|range| !range.is_empty())
                    .map(|range| &addrs[range.clone()])
                    .collect();
                envoy::cluster(case.name, &groups, &case.envoy)
            })
            .collect();
        let envoy = Envoy::start(&program, &clusters);
        let weir = Weir::start_text(|ports| {
            let empty = Setup::new().render(ports);
            empty + &services(cases, &addrs)
        });
        let clients = [weir.client(), Client::connect(envoy.listen)];
        Some(Self {
            origins,
            weir,
            envoy,
            clients,
        })
    }

    /// One request; what it told is taken in when this returns.
    pub(crate) fn ask(&mut self, proxy: Proxy, case: &str) -> Response {
        let client = &mut self.clients[proxy as usize];
        // Two proxies share the origins; the query tells the origins' counts apart.
        let response = client.get("a.example", &format!("/{case}?{proxy:?}"));
        if proxy == Proxy::Envoy && response.status() >= 500 {
            self.envoy.settle(client);
        }
        response
    }

    /// The origins that are ejected, by index.
    pub(crate) fn ejected(&self, proxy: Proxy, case: &str) -> BTreeSet<usize> {
        let out: Vec<u16> = match proxy {
            Proxy::Envoy => self.envoy.ejected(case),
            Proxy::Weir => {
                let all = self.weir.json("/api/v1/endpoints");
                let list = all["endpoints"].as_array().expect("a list").iter();
                list.filter(|one| one["service"] == case && one["state"] == "ejected")
                    .filter_map(|one| one["address"].as_str()?.parse::<SocketAddr>().ok())
                    .map(|addr| addr.port())
                    .collect()
            }
        };
        let is_out = |at: &usize| out.contains(&self.origins[*at].addr().port());
        (0..self.origins.len()).filter(is_out).collect()
    }
}

fn origin(at: usize, status: impl Fn(&str, usize, usize) -> u16 + Send + Sync + 'static) -> Origin {
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    Origin::start(move |exchange| {
        exchange.body()?;
        let target = exchange.head.word(1).to_owned();
        let n = {
            let mut asked = asked.lock().expect("no script panics");
            let count = asked.entry(target.clone()).or_default();
            *count += 1;
            *count
        };
        let case = target.trim_start_matches('/').split('?').next();
        let status = status(case.unwrap_or_default(), at, n);
        if status == HANGS_UP {
            return Ok(After::Close);
        }
        exchange.reply(status, &format!("x-origin: {at}\r\n"), "said")
    })
}

/// Weir's services and routes. Round robin, no retries and no panic, as Envoy is told, too.
fn services(cases: &[Case], addrs: &[SocketAddr]) -> String {
    let (mut services, mut rules) = (String::new(), String::new());
    for case in cases {
        let endpoints: Vec<String> = case
            .priorities
            .iter()
            .enumerate()
            .flat_map(|(priority, range)| {
                let addrs = addrs[range.clone()].iter();
                addrs.map(move |a| format!("{{ address: \"{a}\", priority: {priority} }}"))
            })
            .collect();
        let Case { name, weir, .. } = case;
        let endpoints = endpoints.join(", ");
        let rate = match weir.contains("successRate") {
            true => "",
            false => "successRate: { enabled: false }, ",
        };
        writeln!(
            services,
            "  - {{ name: {name}, endpoints: [{endpoints}], loadBalancer: {{ simple: ROUND_ROBIN }}, \
             outlierDetection: {{ minHealthPercent: 0, {rate}{weir} }} }}"
        )
        .expect("write to a string");
        writeln!(
            rules,
            "      - {{ matches: [{{ path: {{ type: Exact, value: /{name} }} }}], retry: {{ attempts: 0 }}, \
             backendRefs: [{{ name: {name} }}] }}"
        )
        .expect("write to a string");
    }
    format!("services:\n{services}routes:\n  - name: all\n    rules:\n{rules}")
}

/// Envoy's settings, with what both leave out switched off.
pub(crate) fn outlier(settings: &Value) -> Value {
    let mut all = json!({
        "enforcing_consecutive_5xx": 100,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "300s",
        "max_ejection_time": "300s",
    });
    let more = settings.as_object().expect("a mapping");
    all.as_object_mut().expect("a mapping").extend(more.clone());
    all
}

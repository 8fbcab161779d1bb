//! What one decision costs: `cargo bench -p weir-benches --bench decide`.
//!
//! Each bench repeats what a worker does once per request, on tables of several sizes: the cost must
//! not follow the size.

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_config::model::{
    self, AccessAction, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among,
    Authorization, HostPattern, Match, PathMatch, PathPolicy, Pattern, PolicyName, Retry, Route,
    RouteName, Rule, Source, Timeouts, ValueMatch, Weight,
};
use weir_decide::authorize::{self, Asked, Call};
use weir_decide::balance::{
    Balance, Balancer, Candidates, Ewma, Grouped, Groups, HashTable, Member, Penalty, Spread,
    hash_key,
};
use weir_decide::path::canonicalize;
use weir_decide::route::{Request, RouteTable};
use weir_decide::split::{Split, SplitState, bucket};

fn main() {
    divan::main();
}

const HEADERS: [(&str, &str); 4] = [
    ("host", "shop.example.com"),
    ("user-agent", "bench"),
    ("accept", "*/*"),
    ("x-canary", "never"),
];

fn rule(path: PathMatch) -> Rule {
    Rule {
        matches: vec![Match {
            path,
            headers: Vec::new(),
            query: Vec::new(),
            method: None,
        }],
        filters: Vec::new(),
        backends: Vec::new(),
        sticky: None,
        timeouts: Timeouts::default(),
        retry: Retry::default(),
    }
}

fn route(name: &str, host: &str, rules: Vec<Rule>) -> Arc<Route> {
    Arc::new(Route {
        name: RouteName::new(name).expect("a valid name"),
        listeners: Vec::new(),
        hostnames: HostPattern::parse(host)
            .expect("a valid host")
            .into_iter()
            .collect(),
        rules,
        age: 0,
        source: Source::default(),
    })
}

/// One route to `/` for each of so many hosts, `prefix` before each.
fn hosts(count: usize, prefix: &str) -> RouteTable {
    let one = |n| {
        route(
            &format!("r{n}"),
            &format!("{prefix}shop{n}.example.com"),
            vec![rule(PathMatch::Prefix("/".into()))],
        )
    };
    RouteTable::new(&(0..count).map(one).collect::<Vec<_>>())
}

/// One host with so many prefixes of one to three segments, and `/`.
fn prefixes(count: usize) -> RouteTable {
    let path =
        |n: usize| ["/api", "/api/v1", "/api/v1/eu"][n % 3].to_owned() + &format!("/service{n}");
    let mut rules: Vec<_> = (0..count)
        .map(|n| rule(PathMatch::Prefix(path(n).into())))
        .collect();
    rules.push(rule(PathMatch::Prefix("/".into())));
    RouteTable::new(&[route("api", "api.example.com", rules)])
}

fn find(bencher: Bencher<'_, '_>, table: &RouteTable, host: &str, path: &str) {
    let headers = HEADERS.as_slice();
    bencher.bench_local(|| {
        let request = Request {
            host: black_box(host),
            path: black_box(path),
            query: None,
            method: "GET",
            headers,
        };
        table.find(&request).expect("the request has a route")
    });
}

#[divan::bench(args = [10, 100, 10_000], sample_size = 1000)]
fn find_exact_host(bencher: Bencher<'_, '_>, count: usize) {
    find(
        bencher,
        &hosts(count, ""),
        &format!("shop{}.example.com", count / 2),
        "/cart/items/42",
    );
}

#[divan::bench(args = [10, 100, 10_000], sample_size = 1000)]
fn find_wildcard_host(bencher: Bencher<'_, '_>, count: usize) {
    find(
        bencher,
        &hosts(count, "*."),
        &format!("eu.shop{}.example.com", count / 2),
        "/cart/items/42",
    );
}

#[divan::bench(args = [10, 1000], sample_size = 1000)]
fn find_prefix(bencher: Bencher<'_, '_>, count: usize) {
    find(
        bencher,
        &prefixes(count),
        "api.example.com",
        "/api/v1/eu/service8/items/42",
    );
}

#[divan::bench(sample_size = 1000)]
fn find_past_a_header_match(bencher: Bencher<'_, '_>) {
    let mut canary = rule(PathMatch::Prefix("/".into()));
    canary.matches[0]
        .headers
        .push(("x-canary".into(), ValueMatch::Exact("always".into())));
    let rules = vec![canary, rule(PathMatch::Prefix("/".into()))];
    find(
        bencher,
        &RouteTable::new(&[route("shop", "shop.example.com", rules)]),
        "shop.example.com",
        "/cart",
    );
}

#[divan::bench(args = [10, 1000, 10_000])]
fn build_table(bencher: Bencher<'_, '_>, count: usize) {
    let routes = hosts(count, "").routes().to_vec();
    bencher.bench_local(|| RouteTable::new(black_box(&routes)));
}

fn split(tenths: &[u32]) -> Split {
    Split::new(
        &tenths
            .iter()
            .map(|&tenths| Weight::from_tenths(tenths).expect("in range"))
            .collect::<Vec<_>>(),
    )
}

#[divan::bench(args = [1, 2, 3, 10], sample_size = 1000)]
fn split_pick(bencher: Bencher<'_, '_>, entries: u32) {
    let weights: Vec<u32> = (1..=entries).map(|n| n * 50).collect();
    let mut state = SplitState::new(&split(&weights), &mut SmallRng::seed_from_u64(1));
    bencher.bench_local(|| state.pick());
}

#[divan::bench(sample_size = 1000)]
fn split_sticky(bencher: Bencher<'_, '_>) {
    let split = split(&[50, 950]);
    bencher.bench_local(|| split.by_bucket(bucket(black_box(b"5f2b8c1e9a7d4f60"), "shop")));
}

#[divan::bench(args = [2, 3, 10], sample_size = 1000)]
fn split_start(bencher: Bencher<'_, '_>, entries: u32) {
    let split = split(&(1..=entries).map(|n| n * 50).collect::<Vec<_>>());
    let mut rng = SmallRng::seed_from_u64(1);
    bencher.bench_local(|| SplitState::new(black_box(&split), &mut rng));
}

struct Pool {
    loads: Vec<u32>,
    ids: Vec<String>,
    latency: Ewma,
    penalty: Penalty,
    key: Option<u64>,
}

impl Pool {
    fn new(endpoints: u32) -> Self {
        Self {
            loads: (0..endpoints).map(|n| n % 5).collect(),
            ids: (0..endpoints).map(|n| format!("container{n}:80")).collect(),
            latency: Ewma::default().after(Duration::from_millis(5), 1000),
            penalty: Penalty::default(),
            key: Some(hash_key(b"203.0.113.7")),
        }
    }

    fn table(&self, kind: model::HashTable) -> HashTable {
        let members: Vec<(&str, u32)> = self.ids.iter().map(|id| (id.as_str(), 10)).collect();
        HashTable::new(kind, &members)
    }
}

impl Candidates for Pool {
    fn len(&self) -> usize {
        self.loads.len()
    }
    fn spread(&self) -> Spread {
        Spread::Equal
    }
    fn weight(&self, _: usize) -> u32 {
        10
    }
    fn load(&self, at: usize) -> u32 {
        self.loads[at]
    }
    fn available(&self, at: usize) -> bool {
        self.loads[at] < 1000
    }
    fn tried(&self, _: usize) -> bool {
        false
    }
    fn latency_us(&self, _: usize) -> Option<f32> {
        black_box(self.latency).latency_us(2000)
    }
    fn penalty(&self, _: usize) -> u32 {
        black_box(self.penalty).in_requests(2000)
    }
    fn key(&self) -> Option<u64> {
        self.key
    }
}

const RING: model::HashTable = model::HashTable::Ring { min_size: 1024 };
const MAGLEV: model::HashTable = model::HashTable::Maglev { size: 65_537 };

fn by_key(table: model::HashTable) -> model::Balancer {
    model::Balancer::ConsistentHash(model::ConsistentHash {
        key: model::HashKey::SourceIp,
        table,
    })
}

fn pick(bencher: Bencher<'_, '_>, kind: &model::Balancer, endpoints: u32) {
    let mut pool = Pool::new(endpoints);
    let mut rng = SmallRng::seed_from_u64(1);
    let table = match kind {
        model::Balancer::ConsistentHash(hash) => Some(Arc::new(pool.table(hash.table))),
        _ => None,
    };
    let mut balancer = Balancer::new(kind, table.as_ref(), &mut rng);
    bencher.bench_local(|| {
        pool.key = Some(rng.next_u64());
        balancer.pick(black_box(&pool), &mut rng)
    });
}

#[divan::bench(args = [1, 3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_least_request(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &model::Balancer::LeastRequest, endpoints);
}

#[divan::bench(args = [3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_round_robin(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &model::Balancer::RoundRobin, endpoints);
}

#[divan::bench(args = [3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_random(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &model::Balancer::Random, endpoints);
}

#[divan::bench(args = [3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_peak_ewma(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &model::Balancer::PeakEwma, endpoints);
}

#[divan::bench(args = [3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_ring(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &by_key(RING), endpoints);
}

#[divan::bench(args = [3, 10, 1000, 10_000], sample_size = 1000)]
fn pick_maglev(bencher: Bencher<'_, '_>, endpoints: u32) {
    pick(bencher, &by_key(MAGLEV), endpoints);
}

/// With all in one group, as most are, and with two levels that share the load.
#[divan::bench(args = [(1, 10), (1, 10_000), (2, 10), (2, 10_000)], sample_size = 1000)]
fn pick_grouped(bencher: Bencher<'_, '_>, (levels, endpoints): (u8, u32)) {
    let mut pool = Pool::new(endpoints);
    let mut rng = SmallRng::seed_from_u64(1);
    let members: Vec<Member<'_>> = (0u32..)
        .zip(&pool.ids)
        .map(|(at, id)| Member {
            id,
            weight: 10,
            priority: if at < endpoints / 2 { 0 } else { levels - 1 },
            locality: None,
        })
        .collect();
    let groups = Groups::new(&model::LoadBalancer::default(), None, &members);
    let mut grouped = Grouped::new(&model::Balancer::LeastRequest, &groups, &mut rng);
    if levels > 1 {
        // 40% of the first level are out.
        let down = endpoints as usize / 5;
        pool.loads[..down].fill(1000);
    }
    let shares = groups.levels(&pool, 50);
    bencher.bench_local(|| grouped.pick(black_box(&pool), &groups, &shares, &mut rng));
}

/// When an endpoint comes or goes.
#[divan::bench(args = [10, 1000, 10_000])]
fn build_ring(bencher: Bencher<'_, '_>, endpoints: u32) {
    let pool = Pool::new(endpoints);
    bencher.bench_local(|| pool.table(RING));
}

#[divan::bench(args = [10, 1000, 10_000])]
fn build_maglev(bencher: Bencher<'_, '_>, endpoints: u32) {
    let pool = Pool::new(endpoints);
    bencher.bench_local(|| pool.table(MAGLEV));
}

#[divan::bench(args = ["/", "/api/v1/items/42", "/a%20b/%7Euser", "/a/b/../c//d"], sample_size = 1000)]
fn canonicalize_path(bencher: Bencher<'_, '_>, path: &str) {
    let mut buffer = Vec::with_capacity(256);
    bencher.bench_local(|| {
        canonicalize(
            black_box(path.as_bytes()),
            PathPolicy::Canonicalize,
            &mut buffer,
        )
        .map(str::len)
    });
}

/// So many rules that admit others, and one that refuses a path; the caller is admitted by the last.
fn authorization(count: usize) -> Authorization {
    let only = |text: &str| Among {
        only: vec![Pattern::new(text).expect("a pattern")],
        never: Vec::new(),
    };
    let policy = |name: String, action, from: Option<String>, path: &str| AccessPolicy {
        name: PolicyName::new(&name).expect("a name"),
        action,
        log_only: false,
        rules: vec![AccessRule {
            from: from
                .iter()
                .map(|from| AccessSource {
                    principals: only(from),
                    ..AccessSource::default()
                })
                .collect(),
            to: vec![AccessOperation {
                paths: only(path),
                ..AccessOperation::default()
            }],
            when: Vec::new(),
        }],
        source: Source::default(),
    };
    let mut all = vec![policy("deny".into(), AccessAction::Deny, None, "/admin*")];
    for n in 0..count {
        let from = format!("spiffe://weir.local/svc/web{n}");
        let name = format!("allow{n:04}");
        all.push(policy(name, AccessAction::Allow, Some(from), "/api*"));
    }
    Authorization::new(all)
}

#[divan::bench(args = [1, 10, 100], sample_size = 1000)]
fn who_may(bencher: Bencher<'_, '_>, rules: usize) {
    let authorization = authorization(rules);
    let principal = format!("spiffe://weir.local/svc/web{}", rules - 1);
    bencher.bench_local(|| {
        let call = Call {
            listener: "inbound",
            principal: Some(black_box(principal.as_str())),
            peer: [10, 0, 0, 1].into(),
            client: [10, 0, 0, 1].into(),
            port: 8000,
            server_name: None,
            request: Some(Asked {
                host: "shop.example.com",
                method: "GET",
                path: black_box("/api/v1/items/42"),
                headers: HEADERS.as_slice(),
            }),
        };
        authorize::judge(&authorization, &call).ruling.admitted
    });
}

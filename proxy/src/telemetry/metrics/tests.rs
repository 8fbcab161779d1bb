use super::*;
use crate::http::h1::head::Method;
use crate::telemetry::{Flag, Sample, Spoken};

const NO_GAUGES: Gauges = Gauges {
    services: Vec::new(),
    draining: false,
    pressure: Vec::new(),
    endpoints: Vec::new(),
};

struct Fixture {
    labels: Arc<Interner>,
    metrics: Arc<Metrics>,
}

impl Fixture {
    fn new(limit: usize) -> Self {
        let labels = Arc::new(Interner::default());
        Self {
            metrics: Arc::new(Metrics::with_limit(Arc::clone(&labels), limit)),
            labels,
        }
    }

    fn ids(&self, service: &str, version: &str) -> SeriesIds {
        SeriesIds {
            source: crate::snapshot::LabelId::default(),
            listener: self.labels.id("web"),
            route: self.labels.id("shop"),
            service: self.labels.id(service),
            version: self.labels.id(version),
        }
    }

    fn sample(&self, service: &str, version: &str) -> Sample {
        Sample {
            series: self.ids(service, version),
            method: Method::Get,
            protocol: Spoken::Http11,
            status: 200,
            flag: Flag::None,
            bytes_in: 100,
            bytes_out: 1000,
            duration: Duration::from_millis(3),
            upstream: Some(Duration::from_millis(2)),
        }
    }

    fn text(&self) -> String {
        self.metrics.encode("", &NO_GAUGES)
    }

    /// The value of the sample that starts with this text.
    fn value(&self, start: &str) -> Option<f64> {
        let text = self.text();
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    fn all_requests(&self) -> u64 {
        self.metrics
            .lock()
            .requests()
            .map(|(_, requests)| requests)
            .sum()
    }
}

const SHOP: &str = r#"listener="web",route="shop",service="shop",version="stable""#;

// semantics 45
#[test]
fn shards_add_up_under_all_labels() {
    let fixture = Fixture::new(MAX_SERIES);
    let (a, b) = (fixture.metrics.shard(), fixture.metrics.shard());
    let record = fixture.sample("shop", "stable");
    for shard in [&a, &a, &b] {
        shard.record(&record);
    }
    drop(b);
    let labels =
        format!(r#"{{{SHOP},code_class="2xx",method="GET",protocol="HTTP/1.1",flag="-"}}"#);
    assert_eq!(
        fixture.value(&format!("weir_requests_total{labels}")),
        Some(3.0)
    );
    let bucket = |le: &str| {
        fixture.value(&format!(
            r#"weir_request_duration_seconds_bucket{{{SHOP},le="{le}"}}"#
        ))
    };
    assert_eq!(
        (bucket("0.0025"), bucket("0.005"), bucket("+Inf")),
        (Some(0.0), Some(3.0), Some(3.0))
    );
    assert_eq!(
        fixture.value("weir_request_duration_seconds_sum"),
        Some(0.009)
    );
    assert_eq!(
        fixture.value("weir_request_duration_seconds_count"),
        Some(3.0)
    );
    assert_eq!(
        fixture.value("weir_upstream_duration_seconds_count"),
        Some(3.0)
    );
    assert_eq!(
        fixture.value(&format!("weir_request_bytes_total{{{SHOP}}}")),
        Some(300.0)
    );
    assert_eq!(
        fixture.value(&format!("weir_response_bytes_total{{{SHOP}}}")),
        Some(3000.0)
    );
}

// semantics 46
#[test]
fn our_own_503_is_another_series_than_the_origins() {
    let fixture = Fixture::new(MAX_SERIES);
    let shard = fixture.metrics.shard();
    shard.record(&Sample {
        status: 503,
        ..fixture.sample("shop", "stable")
    });
    shard.record(&Sample {
        status: 503,
        flag: Flag::UH,
        upstream: None,
        protocol: Spoken::Http10,
        ..fixture.sample("shop", "stable")
    });
    let sample = |rest: &str| {
        fixture.value(&format!(
            r#"weir_requests_total{{{SHOP},code_class="5xx",method="GET",{rest}}}"#
        ))
    };
    assert_eq!(sample(r#"protocol="HTTP/1.1",flag="-""#), Some(1.0));
    assert_eq!(sample(r#"protocol="HTTP/1.0",flag="UH""#), Some(1.0));
    assert_eq!(
        fixture.value("weir_upstream_duration_seconds_count"),
        Some(1.0)
    );
}

#[test]
fn what_was_never_routed_has_no_upstream_times() {
    let fixture = Fixture::new(MAX_SERIES);
    let unrouted = SeriesIds {
        listener: fixture.labels.id("web"),
        ..SeriesIds::default()
    };
    fixture.metrics.shard().record(&Sample {
        series: unrouted,
        status: 404,
        flag: Flag::NR,
        upstream: None,
        ..fixture.sample("", "")
    });
    let labels = r#"{listener="web",route="",service="",version="""#;
    assert_eq!(
        fixture.value(&format!("weir_request_duration_seconds_count{labels}")),
        Some(1.0)
    );
    assert_eq!(fixture.value("weir_upstream_duration_seconds_count"), None);
}

#[test]
fn plain_counters_and_gauges_are_summed() {
    let fixture = Fixture::new(MAX_SERIES);
    let (a, b) = (fixture.metrics.shard(), fixture.metrics.shard());
    let web = fixture.labels.id("web");
    for shard in [&a, &b] {
        shard.connection_opened(web);
        shard.connection_opened(web);
        shard.connection_closed(web);
        shard.request_started();
        shard.upstream_connections(1);
        shard.retried("connect-failure");
        shard.malformed(431);
    }
    a.request_ended();
    a.upstream_connections(0);
    a.panicked();
    b.accept_failed();
    fixture.metrics.count_log_dropped(7);
    assert_eq!(fixture.metrics.downstream_connections(), 2);
    for (sample, value) in [
        (r#"weir_downstream_connections{listener="web"}"#, 2.0),
        (r#"weir_downstream_connections_total{listener="web"}"#, 4.0),
        ("weir_inflight_requests", 1.0),
        ("weir_upstream_connections", 1.0),
        (r#"weir_retries_total{reason="connect-failure"}"#, 2.0),
        (r#"weir_requests_malformed_total{reason="431"}"#, 2.0),
        ("weir_panics_total", 1.0),
        ("weir_connections_rejected_total", 1.0),
        ("weir_log_dropped_total", 7.0),
        ("weir_drain_active", 0.0),
    ] {
        assert_eq!(fixture.value(sample), Some(value), "{sample}");
    }
}

#[test]
fn versions_are_told_apart_for_the_observed_split() {
    let fixture = Fixture::new(MAX_SERIES);
    let (a, b) = (fixture.metrics.shard(), fixture.metrics.shard());
    for (shard, version, status) in [
        (&a, "stable", 200),
        (&b, "stable", 500),
        (&b, "canary", 200),
    ] {
        shard.record(&Sample {
            status,
            ..fixture.sample("shop", version)
        });
    }
    a.record(&fixture.sample("other-shop", "stable"));
    let split = fixture.metrics.requests_by_version("shop");
    assert_eq!(split, [("canary".to_owned(), 1), ("stable".to_owned(), 2)]);
    assert_eq!(fixture.metrics.requests_by_version("unknown"), []);
}

// semantics 44
#[test]
fn series_beyond_the_limit_are_counted_together() {
    let fixture = Fixture::new(2);
    let shard = fixture.metrics.shard();
    for version in ["a", "b", "c", "d", "c", "a"] {
        shard.record(&fixture.sample("shop", version));
    }
    let other =
        r#"weir_requests_total{listener="other",route="other",service="other",version="other""#;
    assert_eq!(fixture.value(other), Some(3.0));
    assert_eq!(fixture.value("weir_series_dropped_total"), Some(2.0));
    assert_eq!(fixture.all_requests(), 6, "nothing goes uncounted");
    // The same series of another worker is no other series.
    fixture.metrics.shard().record(&fixture.sample("shop", "a"));
    assert_eq!(fixture.value("weir_series_dropped_total"), Some(2.0));
}

// semantics 44
#[test]
fn an_idle_series_expires_only_when_configuration_has_dropped_it() {
    let fixture = Fixture::new(MAX_SERIES);
    let shard = fixture.metrics.shard();
    for version in ["kept", "gone", "busy"] {
        shard.record(&fixture.sample("shop", version));
    }
    let kept = fixture.ids("shop", "kept");
    let start = Instant::now();
    let sweep = |seconds| {
        fixture
            .metrics
            .sweep(start + Duration::from_secs(seconds), |ids| *ids == kept)
    };
    let versions = || -> Vec<_> {
        fixture
            .metrics
            .requests_by_version("shop")
            .into_iter()
            .map(|(v, _)| v)
            .collect()
    };
    sweep(0);
    sweep(3599);
    shard.record(&fixture.sample("shop", "busy"));
    sweep(3601);
    sweep(3605);
    assert_eq!(
        versions(),
        ["busy", "gone", "kept"],
        "marked, but not long enough ago"
    );
    sweep(3612);
    assert_eq!(versions(), ["busy", "kept"]);
    assert!(!fixture.text().contains("gone"));
}

// semantics 44
#[test]
fn no_count_is_lost_when_a_series_expires_under_a_worker() {
    let fixture = Fixture::new(MAX_SERIES);
    let shard = fixture.metrics.shard();
    let record = fixture.sample("shop", "gone");
    let start = Instant::now();
    let sweep = |seconds| {
        fixture
            .metrics
            .sweep(start + Duration::from_secs(seconds), |_| false)
    };
    let requests = || {
        fixture
            .metrics
            .requests_by_version("shop")
            .first()
            .map(|(_, requests)| *requests)
    };
    shard.record(&record);
    sweep(0);
    sweep(3600);
    // Marked, and used again: it is revived with its count.
    shard.record(&record);
    sweep(3700);
    assert_eq!(requests(), Some(2));
    sweep(7300);
    sweep(7310);
    assert_eq!(requests(), None);
    // Removed, and used again: the worker's old handle is not written to any more.
    shard.record(&record);
    assert_eq!(requests(), Some(1));
}

// semantics 44
#[test]
fn room_made_by_expiry_is_given_to_those_who_were_refused() {
    let fixture = Fixture::new(1);
    let shard = fixture.metrics.shard();
    shard.record(&fixture.sample("shop", "gone"));
    shard.record(&fixture.sample("shop", "new"));
    let start = Instant::now();
    for seconds in [0, 3600, 3610] {
        fixture
            .metrics
            .sweep(start + Duration::from_secs(seconds), |_| false);
    }
    shard.record(&fixture.sample("shop", "new"));
    shard.record(&fixture.sample("shop", "late"));
    assert_eq!(
        fixture.metrics.requests_by_version("shop"),
        [("new".to_owned(), 1)]
    );
    assert_eq!(
        fixture.metrics.requests_by_version("other"),
        [("other".to_owned(), 2)]
    );
}

#[test]
fn the_text_is_what_a_scraper_reads() {
    let fixture = Fixture::new(MAX_SERIES);
    let shard = fixture.metrics.shard();
    shard.record(&fixture.sample("shop", "stable"));
    shard.retried("5xx");
    shard.shed("requests");
    let gauges = Gauges {
        draining: true,
        pressure: vec![("memory", 0.5)],
        endpoints: vec![(Arc::from("shop"), "ready", 2)],
        services: vec![ServiceGauges {
            service: Arc::from("shop"),
            limits: vec![("requests", true, 7)],
            retries_refused: 3,
            versions: vec![VersionGauges {
                version: Arc::from("stable"),
                ejections: vec![("consecutive_5xx", true, 2)],
                active: 1,
                overflow: 4,
                panic: true,
            }],
        }],
    };
    let text = fixture
        .metrics
        .encode("# HELP weir_x X.\n# TYPE weir_x gauge\nweir_x 1", &gauges);
    assert!(text.ends_with("weir_x 1\n"));
    for line in [
        r#"weir_endpoint_health{service="shop",state="ready"} 2"#,
        r#"weir_ejections_total{service="shop",version="stable",type="consecutive_5xx",enforced="true"} 2"#,
        r#"weir_ejections_active{service="shop",version="stable"} 1"#,
        r#"weir_ejections_overflow_total{service="shop",version="stable"} 4"#,
        r#"weir_panic{service="shop",version="stable"} 1"#,
        r#"weir_circuit_open{service="shop",limit="requests"} 1"#,
        r#"weir_circuit_rejected_total{service="shop",limit="requests"} 7"#,
        r#"weir_retry_budget_exhausted_total{service="shop"} 3"#,
        r#"weir_overload{resource="memory"} 0.5000"#,
        r#"weir_overload_shed_total{reason="requests"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    assert!(text.contains("weir_drain_active 1\n"));
    let mut typed = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(typed.insert(name), "a family stands in one piece: {line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|s| name.strip_suffix(s))
                .unwrap_or(name);
            assert!(
                typed.contains(family),
                "a sample follows its family: {line}"
            );
            assert!(
                line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(),
                "{line}"
            );
        }
    }
    for family in crate::telemetry::names::ALL {
        assert!(typed.contains(family.name), "{}", family.name);
    }
}

#[test]
fn workers_count_while_somebody_reads() {
    let fixture = Fixture::new(MAX_SERIES);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let shard = fixture.metrics.shard();
                for turn in 0..2000u16 {
                    let version = ["stable", "canary"][usize::from(turn % 2)];
                    shard.record(&Sample {
                        status: 100 * (1 + turn % 5),
                        ..fixture.sample("shop", version)
                    });
                }
            });
        }
        for _ in 0..20 {
            assert!(
                fixture
                    .text()
                    .contains("# TYPE weir_requests_total counter")
            );
            fixture.metrics.sweep(Instant::now(), |_| false);
        }
    });
    assert_eq!(fixture.all_requests(), 4000);
}

#[test]
fn decisions_of_more_policies_than_there_is_room_for_are_counted_together() {
    let fixture = Fixture::new(10);
    let shard = fixture.metrics.shard();
    let decision = |number: usize| Authorized {
        listener: fixture.labels.id("web"),
        policy: fixture.labels.id(&format!("p{number}")),
        result: "refused",
        mode: "enforce",
    };
    for number in 0..2_010 {
        shard.authorized(decision(number));
    }
    // One that is known goes on by itself.
    shard.authorized(decision(0));
    let of = |listener: &str, policy: &str| {
        fixture.value(&format!(
            "weir_authorization_total{{listener=\"{listener}\",policy=\"{policy}\",result=\"refused\",mode=\"enforce\"}}"
        ))
    };
    assert_eq!(of("web", "p0"), Some(2.0));
    assert_eq!(of("web", "p1999"), Some(1.0));
    assert_eq!(of("web", "p2000"), None);
    assert_eq!(of("other", "other"), Some(10.0));
}

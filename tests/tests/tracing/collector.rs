//! What a collector reads that others have written: a wrong reading of the protocol by us would be in our own receiver, too.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{ports, tools};

use super::{SPAN, TRACE, ask, parts, traced, traceparent};

/// Rotel, a collector for OTLP, which prints what it gets.
struct Collector {
    process: Child,
    dir: TempDir,
}

impl Collector {
    /// `None` where it is not installed, which is said.
    fn start(protocol: &str) -> Option<(Self, String)> {
        let python = tools::python(&["rotel"])?;
        let script =
            "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let found = Command::new(python).args(["-c", script]).output();
        let agent = String::from_utf8(found.expect("run Python").stdout).expect("a path");
        let dir = tempfile::tempdir().expect("a directory");
        let (grpc, http) = (ports::free().to_string(), ports::free().to_string());
        let (pid, log) = (dir.path().join("pid"), dir.path().join("log"));
        let mut run = Command::new(PathBuf::from(agent.trim()));
        run.args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &grpc])
            .args(["--otlp-http-endpoint", &http])
            .args([&"--pid-file".into(), &pid, &"--log-file".into(), &log]);
        let out = File::create(dir.path().join("out")).expect("a file");
        run.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
        let process = run.spawn().expect("start the collector");
        let addr = match protocol {
            "grpc" => grpc,
            _ => http,
        };
        eventually("the collector to listen", || {
            std::net::TcpStream::connect(&addr).ok()
        });
        Some((Self { process, dir }, addr))
    }

    /// What it has printed of spans: of each, what stands before and behind the first colon of a line.
    fn spans(&self) -> Vec<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
        let spans = text.split("\nSpan #").skip(1);
        let lines = |span: &str| -> BTreeMap<String, String> {
            let pairs = span.lines().filter_map(|line| line.split_once(':'));
            let clean = |text: &str| text.trim().trim_start_matches("-> ").to_owned();
            pairs
                .map(|(key, value)| (clean(key), clean(value)))
                .collect()
        };
        spans.map(lines).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_collector_of_others_reads_both_spans_over_both_protocols() {
    for protocol in ["grpc", "http"] {
        let Some((collector, addr)) = Collector::start(protocol) else {
            return;
        };
        let origin = Origin::ok("app");
        let otlp = format!(
            "otlp: {{ endpoint: \"http://{addr}\", protocol: {protocol}, serviceName: edge }}"
        );
        let weir = Weir::start(&traced(&origin, &otlp));
        assert_eq!(ask(&weir, &traceparent("01")).status(), 200);
        let (_, parent, _) = parts(origin.only().get("traceparent").expect("a parent"));
        let spans = eventually("both spans", || {
            let spans = collector.spans();
            (spans.len() == 2).then_some(spans)
        });
        let of = |kind: &str| {
            let found = spans.iter().find(|span| span["Kind"] == kind);
            found.unwrap_or_else(|| panic!("no {kind} in {spans:#?}"))
        };
        let (server, client) = (of("SPAN_KIND_SERVER"), of("SPAN_KIND_CLIENT"));
        for (span, of, above, status) in [
            (server, &server["ID"], SPAN, "Int(200)"),
            (client, &parent, &*server["ID"], "Int(200)"),
        ] {
            assert_eq!(span["Trace ID"], TRACE, "{protocol}: {span:#?}");
            assert_eq!(
                (&*span["ID"], &*span["Parent ID"]),
                (&**of, above),
                "{span:#?}"
            );
            assert_eq!(span["http.response.status_code"], status, "{span:#?}");
            assert_eq!(span["http.request.method"], "Str(GET)", "{span:#?}");
        }
        assert_eq!(server["url.path"], "Str(/cart)", "{server:#?}");
        assert_eq!(client["weir.service"], "Str(app)", "{client:#?}");
        let out = std::fs::read_to_string(collector.dir.path().join("out"));
        assert!(out.expect("its output").contains("service.name: Str(edge)"));
    }
}

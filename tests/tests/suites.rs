//! The public suites of bad and good requests, through the binary, with a recording origin behind it.

use std::fmt::Write as _;
use std::time::Duration;

use weir_tests::client::{Answer, Client};
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::say;
use weir_tests::suite::{self, Desync, Encoding, Pass, Probe, SILENT_AFTER, Tier, heads_in};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::wire::{bytes, latin1};

/// How long a connection may linger after a refusal before it is closed.
const LINGER: Duration = Duration::from_secs(3);

/// Cases that AWS's classifier, which reads a request already parsed, calls compliant, and that
/// HTTP/1.1 on the wire cannot carry; refusing them is right as well.
const NOT_ON_THE_WIRE: [(&str, &str); 3] = [
    (
        "International in URI",
        "raw bytes above ASCII in a target: RFC 9112, section 3.2",
    ),
    (
        "Empty URI",
        "two spaces after the method: RFC 9112, section 3",
    ),
    (
        "Compliant URL",
        "a raw fragment in a target: RFC 9112, section 3.2",
    ),
];

#[test]
fn every_probe_gets_an_answer_that_it_expects_and_at_most_one_request_passes() {
    let Some(dir) = suite::directory() else {
        return;
    };
    let mut table = String::new();
    let (mut scored, mut passed, mut failures) = (0, 0, Vec::new());
    let origin = Origin::ok("probe");
    let weir = Weir::start(&Setup::to(&origin));
    for probe in suite::probes(&dir) {
        let outcome = run_probe(&probe, &weir, &origin);
        let verdict = if outcome.is_ok() { "pass" } else { "FAIL" };
        let answer = outcome.as_ref().map_or_else(Clone::clone, Clone::clone);
        writeln!(
            table,
            "{verdict} {:34} {:34} {answer}",
            probe.id, probe.expected
        )
        .expect("write to a string");
        if probe.scored {
            scored += 1;
            passed += usize::from(outcome.is_ok());
            failures.extend(
                outcome
                    .err()
                    .map(|why| format!("{} ({}): {why}", probe.id, probe.description)),
            );
        }
    }
    say(&format!(
        "{table}h1-probe: {passed} of {scored} scored cases pass"
    ));
    assert!(
        failures.is_empty(),
        "{} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert_eq!(
        weir.get("localhost", "/").status(),
        200,
        "weir serves on after all of them"
    );
}

/// What came back, in words; as an error where that is not what the case wants.
fn run_probe(probe: &Probe, weir: &Weir, origin: &Origin) -> Result<String, String> {
    origin.clear();
    let wanted = suite::expectation(&probe.expected)?;
    let mut client = weir.client();
    // A server that refuses early may reset while the rest is on its way; its answer still counts.
    let _ = client.wire.send(bytes(&probe.raw_request));
    let method = probe
        .raw_request
        .trim_start()
        .split([' ', '\t'])
        .next()
        .unwrap_or("GET")
        .to_owned();
    let answer = client.answer(&method, SILENT_AFTER);
    let needs_close = wanted
        .iter()
        .any(|pass| matches!(pass, Pass::ClassThenClose(_)));
    let refused = answer.status() == Some(400);
    let closed =
        answer == Answer::Closed || ((needs_close || refused) && client.closes_within(LINGER));
    let requests: usize = origin.tapes().iter().map(|tape| heads_in(tape)).sum();
    let shown = describe(&answer);
    if !wanted.iter().any(|pass| pass.holds(&answer, closed)) {
        return Err(format!("{shown}, expected {}", probe.expected));
    }
    if refused && !closed {
        return Err(format!("{shown}, but the connection stays open"));
    }
    if requests > 1 {
        return Err(format!(
            "{shown}, and {requests} requests reached the origin"
        ));
    }
    Ok(shown)
}

#[test]
fn every_desync_case_is_forwarded_true_or_refused_as_its_tier_says() {
    let Some(dir) = suite::directory() else {
        return;
    };
    let origin = Origin::ok("desync");
    let weir = Weir::start(&Setup::to(&origin));
    let (mut table, mut failures, mut count) = (String::new(), Vec::new(), 0);
    for (file, case) in suite::desync(&dir) {
        for encoding in [Encoding::Utf8, Encoding::Latin1] {
            if encoding == Encoding::Latin1 && case.ascii() {
                continue;
            }
            let Some(request) = case.request(encoding) else {
                continue;
            };
            count += 1;
            let outcome = run_desync(&case, &request, encoding, &weir, &origin);
            let verdict = if outcome.is_ok() { "pass" } else { "FAIL" };
            let answer = outcome.as_ref().map_or_else(Clone::clone, Clone::clone);
            let name: String = case.name.chars().take(60).collect();
            writeln!(
                table,
                "{verdict} {:?} {file}: {name} [{encoding:?}] {answer}",
                case.expected.tier
            )
            .expect("write to a string");
            failures.extend(
                outcome
                    .err()
                    .map(|why| format!("{file}: {} ({}): {why}", case.name, case.expected.reason)),
            );
        }
    }
    say(&format!(
        "{table}desync: {} of {count} cases pass",
        count - failures.len()
    ));
    assert!(
        failures.is_empty(),
        "{} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn run_desync(
    case: &Desync,
    request: &[u8],
    encoding: Encoding,
    weir: &Weir,
    origin: &Origin,
) -> Result<String, String> {
    origin.clear();
    let mut client = weir.client();
    let _ = client.wire.send(request);
    let answer = client.answer(&case.method, SILENT_AFTER);
    let shown = describe(&answer);
    let may_refuse = case.expected.tier != Tier::Compliant
        || NOT_ON_THE_WIRE.iter().any(|(name, _)| *name == case.name);
    let may_forward = case.expected.tier <= Tier::Acceptable;
    let heads = |origin: &Origin| {
        origin
            .tapes()
            .iter()
            .map(|tape| heads_in(tape))
            .sum::<usize>()
    };
    match answer.status() {
        Some(200) if may_forward => {
            // Both ways of counting: what the origin's strict parser took, and what a careless one would.
            if (origin.requests().len(), heads(origin)) != (1, 1) {
                return Err(format!(
                    "{shown}, and the origin saw {:?}",
                    origin.requests()
                ));
            }
            if case.expected.tier == Tier::Compliant && !may_refuse {
                forwarded_true(case, encoding, origin)?;
            }
            Ok(format!("{shown}, forwarded"))
        }
        Some(400..=499) | None if may_refuse && answer != Answer::Silence => {
            if heads(origin) > 0 {
                return Err(format!(
                    "{shown}, but something reached the origin: {}",
                    tapes(origin)
                ));
            }
            if answer.status().is_some() && !client.closes_within(LINGER) {
                return Err(format!("{shown}, but the connection stays open"));
            }
            Ok(format!("{shown}, refused"))
        }
        _ => Err(format!(
            "{shown}, expected it to be {}",
            if may_forward { "forwarded" } else { "refused" }
        )),
    }
}

/// Whether the origin got the method, the target, the fields and the body as they were sent.
fn forwarded_true(case: &Desync, encoding: Encoding, origin: &Origin) -> Result<(), String> {
    let seen = eventually("the whole request at the origin", || {
        origin.requests().pop().filter(|r| r.body.is_some())
    });
    let latin = |text: &str| {
        encoding
            .encode(text)
            .map(|raw| latin1(&raw))
            .unwrap_or_default()
    };
    let start = format!("{} {} HTTP/1.1", case.method, latin(&case.uri));
    if seen.head.start != start {
        return Err(format!(
            "the origin got {:?}, sent was {start:?}",
            seen.head.start
        ));
    }
    for (name, value) in case.fields() {
        let lower = name.to_ascii_lowercase();
        let value = latin(&value).trim_matches([' ', '\t']).to_owned();
        match lower.as_str() {
            // Hop by hop, or ours to write.
            "connection" | "x-forwarded-for" | "content-length" => {}
            "transfer-encoding" => {
                codings_kept(&case.fields(), &seen.head.all("transfer-encoding"))?
            }
            _ if seen.head.fields.contains(&(latin(&name), value.clone())) => {}
            _ => {
                return Err(format!(
                    "{name}: {value:?} did not arrive; {:?}",
                    seen.head.fields
                ));
            }
        }
    }
    if seen.data() != case.body() {
        return Err(format!(
            "{} bytes of body arrived of {}",
            seen.data().len(),
            case.body().len()
        ));
    }
    Ok(())
}

/// Codings below `chunked` describe the bytes of the body, which pass unchanged: they must pass too.
fn codings_kept(sent: &[(String, String)], arrived: &[&str]) -> Result<(), String> {
    let codings = |values: Vec<&str>| -> Vec<String> {
        let all = values.join(",").to_ascii_lowercase();
        all.split(',')
            .map(|c| c.split(';').next().unwrap_or_default().trim().to_owned())
            .filter(|c| !c.is_empty())
            .collect()
    };
    let sent = codings(
        sent.iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case("transfer-encoding"))
            .map(|(_, v)| v.as_str())
            .collect(),
    );
    let arrived = codings(arrived.to_vec());
    if sent == arrived {
        Ok(())
    } else {
        Err(format!("codings {sent:?} arrived as {arrived:?}"))
    }
}

/// What arrived, as text.
fn tapes(origin: &Origin) -> String {
    origin
        .tapes()
        .iter()
        .filter(|tape| !tape.is_empty())
        .map(|tape| format!("{:?} ", latin1(tape)))
        .collect()
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Response(response) => response.status().to_string(),
        Answer::Closed => "closed".into(),
        Answer::Silence => "silence".into(),
    }
}

#[test]
fn a_refused_request_disturbs_nobody_else_and_is_counted() {
    let origin = Origin::ok("calm");
    let weir = Weir::start(&Setup::to(&origin).access_log("json"));
    let mut bystander = weir.client();
    assert_eq!(bystander.get("a.example", "/1").status(), 200);
    let mut attacker = Client::connect(weir.addr());
    attacker.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let refusal = attacker.response();
    assert_eq!(refusal.status(), 400);
    assert!(
        refusal.closes(),
        "the refusal says that it closes: {:?}",
        refusal.head
    );
    assert_eq!(attacker.closed(), b"", "nothing follows the refusal");
    assert_eq!(bystander.get("a.example", "/2").status(), 200);
    let targets: Vec<String> = origin
        .requests()
        .iter()
        .map(|r| r.target().to_owned())
        .collect();
    assert_eq!(targets, ["/1", "/2"]);
    eventually("a counter of the refusal", || {
        (weir.metric("weir_requests_total", &["4xx"]) >= 1.0).then_some(())
    });
    eventually("one log line of the refusal", || {
        weir.stdout().contains("\"status\":400").then_some(())
    });
}

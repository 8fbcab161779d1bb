//! Requests that must not become something else over HTTP/1.1, and what became of them at the origin.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use weir_tests::origin::Seen;
use weir_tests::{say, tools};

use crate::report::{parse, script};
use crate::target::Target;

#[derive(Debug, Deserialize)]
struct Report {
    cases: Vec<Case>,
}

/// What came back for one case, of which the origin tells the rest.
#[derive(Debug, Deserialize)]
struct Case {
    case: String,
    verdict: Verdict,
    outcome: String,
}

/// What may become of a case (tests/attacks/smuggle.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Safe,
    Cut,
    Refused,
}

impl Case {
    /// What is wrong with its end, in words.
    fn fault(&self, requests: &[Seen]) -> Option<String> {
        let marks = [
            format!("/case/{} ", self.case),
            format!("/case/{}#", self.case),
        ];
        let mine = |seen: &&Seen| marks.iter().any(|mark| seen.head.start.contains(mark));
        let arrived: Vec<&Seen> = requests.iter().filter(mine).collect();
        let whole = arrived.iter().filter(|seen| seen.body.is_some()).count();
        let refused = !matches!(self.outcome.as_bytes(), [b'2' | b'3', ..]);
        let fine = match self.verdict {
            Verdict::Good => self.outcome == "200" && (arrived.len(), whole) == (1, 1),
            Verdict::Safe => arrived.len() <= 1 && self.outcome != "silence",
            Verdict::Cut => refused && whole == 0 && self.outcome != "silence",
            Verdict::Refused => refused && arrived.is_empty() && self.outcome != "silence",
        };
        let (name, verdict, outcome) = (&self.case, self.verdict, &self.outcome);
        (!fine).then(|| format!("{name} ({verdict:?}): {outcome}, and the origin saw {arrived:#?}"))
    }
}

/// Every case against one proxy.
pub(crate) struct Table {
    cases: Vec<Case>,
    requests: Vec<Seen>,
}

impl Table {
    pub(crate) fn of(python: &Path, target: &Target) -> Self {
        let addr = target.addr().to_string();
        let output = script(python).args(["smuggle", &addr]).output();
        let report: Report = parse(&output.expect("run the cases"));
        Self {
            cases: report.cases,
            requests: target.origin.requests(),
        }
    }

    /// What is wrong, in words.
    fn faults(&self) -> Vec<String> {
        let of_cases = self.cases.iter().filter_map(|c| c.fault(&self.requests));
        of_cases
            .chain(self.requests.iter().filter_map(smuggled))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faulty = |case: &&Case| case.fault(&self.requests).is_some();
        let faulty: Vec<&Case> = self.cases.iter().filter(faulty).collect();
        let smuggled = self.requests.iter().filter_map(smuggled).count();
        let (all, bad) = (self.cases.len(), faulty.len());
        write!(
            f,
            "smuggle: {} of {all} cases, {smuggled} smuggled",
            all - bad
        )?;
        let word = |case: &Case| format!("{}: {}", case.case, case.outcome);
        let words: Vec<String> = faulty.into_iter().map(word).collect();
        write!(f, "; not so: {}", words.join(", "))
    }
}

/// Whether a request at the origin, or a field of one, is what a case tried to smuggle in.
fn smuggled(seen: &Seen) -> Option<String> {
    let field = seen.get("x-smuggled").is_some() || seen.get("x-late").is_some();
    (field || seen.target().contains("smuggled")).then(|| format!("smuggled: {seen:#?}"))
}

#[test]
fn no_request_becomes_more_or_other_than_one_request_of_http_1() {
    let Some(python) = tools::python(&["hyperframe", "hpack"]) else {
        return;
    };
    let target = Target::weir();
    let table = Table::of(&python, &target);
    say(&table.to_string());
    let faults = table.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(table.cases.len() > 100, "only {} cases", table.cases.len());
}

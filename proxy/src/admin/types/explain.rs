//! Why a request would go where it goes.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/explain?method=GET&url=http://host/path&header=name:value&client=1.2.3.4&listener=web`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The generation that was asked.
    pub generation: u64,
    /// The request as the data plane would read it.
    pub request: Request,
    /// `404: no rule matches`, `forwarded to shop (canary) at 127.0.0.1:9002`, in one line.
    pub verdict: String,
    /// Where the answer would be Weir's own: its status.
    pub status: Option<u16>,
    /// The access-log flag of that answer.
    pub flag: Option<String>,
    pub matched: Option<Matched>,
    /// Every match of every rule, in order of precedence, and what came of it.
    pub tried: Vec<Tried>,
    /// Where the matched rule leads; absent where a filter answers or nothing matched.
    pub destination: Option<Destination>,
}

/// The request that is explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub method: String,
    /// Lower case, without port.
    pub host: String,
    /// As it was asked for.
    pub path: String,
    /// As it is matched and forwarded; absent where it is refused.
    pub canonical_path: Option<String>,
    /// Why the path is refused.
    pub path_error: Option<String>,
    pub query: Option<String>,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    pub client: String,
    /// Absent where there is none.
    pub listener: Option<String>,
    /// Why this listener: `asked for`, `its port is the URL's`, `the only one`, `a rule of it matches`, `the first by name`.
    pub listener_reason: String,
}

/// The rule that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matched {
    pub route: String,
    /// Counts from 1, as people do.
    pub rule: usize,
    /// The match of the rule that held, in words.
    pub condition: String,
    /// How many bytes of the path the match covers.
    pub prefix_len: usize,
    pub filters: Vec<String>,
    pub timeout: Option<String>,
    pub backend_timeout: Option<String>,
    pub retry: Option<String>,
    pub source: String,
}

/// One match of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    pub route: String,
    /// Counts from 1.
    pub rule: usize,
    /// The match in words.
    pub condition: String,
    /// Whether this is the one that answers.
    pub matched: bool,
    /// `matched`, `path /cart is not under /api`, `header x-canary is absent`.
    pub outcome: String,
}

/// How the version and the endpoint are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub leaves: Vec<Leaf>,
    pub sticky: Option<Sticky>,
    pub pick: Pick,
}

/// One (service, version) pair and its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    pub service: String,
    /// Absent where the reference leads nowhere.
    pub version: Option<String>,
    pub weight: f64,
    /// In percent.
    pub share: f64,
    /// Endpoints of the version that take requests now.
    pub available: usize,
    pub candidates: Vec<Candidate>,
    /// Why it cannot answer, if it cannot.
    pub problem: Option<String>,
}

/// An endpoint that could be picked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub id: String,
    pub address: String,
    pub weight: f64,
    pub available: bool,
    pub state: String,
    pub reason: String,
    /// Why it was found to fail and is in all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ejected: Option<String>,
    pub in_flight: u32,
}

/// What keeps the client with one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sticky {
    /// `cookie weir-bucket`, `header x-user`, `client address`
    pub key: String,
    /// Its value in this request; absent: it has none, and the request is split as if not sticky (or gets a cookie).
    pub value: Option<String>,
    /// Where the value lies on the line that the versions share, in percent.
    pub bucket: Option<f64>,
}

/// What a pick would choose among, now. Nothing is drawn: asking does not disturb whose turn it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pick {
    /// Index into `leaves` where it is certain: a single leaf with weight, or a sticky client.
    pub leaf: Option<usize>,
    /// `the only version with weight`, `by bucket`, `in turn by weight`.
    pub version_by: String,
    /// The balancer of the service, where one service is certain.
    pub balancer: Option<String>,
    /// Endpoints that it would choose among.
    pub available: usize,
    /// The endpoint, where only one can be picked.
    pub endpoint: Option<String>,
}

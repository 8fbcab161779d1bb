//! Why a request would go where it goes.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/explain?method=GET&url=http://host/path&header=name:value&client=1.2.3.4&listener=web&identity=spiffe://a/svc/b`.
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
    /// Of each service that the rule leads to.
    #[serde(default)]
    pub limits: Vec<Limits>,
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
    /// Endpoints of the version that take requests now, in panic those too that fail or are ejected.
    pub available: usize,
    /// What the service is balanced by, if by a key.
    #[serde(default)]
    pub key: Option<Key>,
    /// The endpoint that gets the request, where that is certain: the only one, or the one its key leads to.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// How the requests of the version are shared out by priority and place.
    #[serde(default)]
    pub groups: Vec<Group>,
    pub candidates: Vec<Candidate>,
    /// Why it cannot answer, if it cannot.
    pub problem: Option<String>,
}

/// What a service is balanced by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// `header x-user`, `cookie user`, `query id`, `client address`
    pub by: String,
    /// Absent where this request has none: then any endpoint may get it.
    pub value: Option<String>,
}

/// Endpoints of one priority, or of one place in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// 0 is asked first.
    pub level: usize,
    /// Of the version's requests now, in percent.
    pub share: f64,
    /// Too few are available: those that fail or are ejected get requests too.
    pub panic: bool,
    pub endpoints: usize,
    pub available: usize,
}

/// The limits of a service, over all its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub service: String,
    pub limits: Vec<Limit>,
}

/// One limit, and how near it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// `connections`, `pending`, `requests`, `retries`
    pub limit: String,
    pub taken: u32,
    /// For `retries` what the budget allows now.
    pub allowed: u32,
    /// Refused for it since the start.
    pub refused: u64,
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
    /// Since when.
    #[serde(default)]
    pub since: String,
    /// When it may come back by itself.
    #[serde(default)]
    pub until: Option<String>,
    pub in_flight: u32,
    /// What its recent failures count for, in requests in flight.
    #[serde(default)]
    pub penalty: u32,
    /// What its answers take, where the balancer goes by that.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// Index into `groups`; absent where a locality policy leaves it out.
    #[serde(default)]
    pub group: Option<usize>,
    /// What the balancer judges it by: `load 3 (2 in flight, 1 for failures)`, `out: ejected`.
    #[serde(default)]
    pub judged: String,
    /// How often it was ejected.
    #[serde(default)]
    pub ejections: u64,
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

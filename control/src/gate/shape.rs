//! Which parts of an answer are passed: a list of what is kept, field by field, and everything else is dropped unread.
//!
//! What a container is started with (`Env`, `Cmd`, `Args`, `Entrypoint`), where its files are (`Mounts`, `Binds`) and what it is made
//! from never appear in it. Of labels those are kept that say where requests go.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::discovery::engine::allowed::Question;

/// What is kept of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A word, a number, true or false.
    Plain,
    /// Each entry in that shape.
    List(&'static Shape),
    /// The first entry of a list: what kind of health check it is, not what it runs.
    First,
    /// These fields.
    Object(&'static [(&'static str, Shape)]),
    /// Every field in that shape.
    Map(&'static Shape),
    /// The labels that say where requests go.
    Labels,
}

use Shape::{First, Labels, List, Map as Each, Object, Plain};

const HEALTHCHECK: Shape = Object(&[("Test", First)]);
const NETWORKS: Shape = Object(&[(
    "Networks",
    Each(&Object(&[
        ("IPAddress", Plain),
        ("GlobalIPv6Address", Plain),
    ])),
)]);
const CONTAINERS: Shape = List(&Object(&[
    ("Id", Plain),
    ("Names", List(&Plain)),
    ("Created", Plain),
    ("State", Plain),
    ("Status", Plain),
    ("Labels", Labels),
    (
        "Ports",
        List(&Object(&[
            ("PrivatePort", Plain),
            ("PublicPort", Plain),
            ("Type", Plain),
        ])),
    ),
    ("HostConfig", Object(&[("NetworkMode", Plain)])),
    ("NetworkSettings", NETWORKS),
]));
const CONTAINER: Shape = Object(&[
    ("Id", Plain),
    ("State", Object(&[("StartedAt", Plain)])),
    (
        "Config",
        Object(&[
            ("StopSignal", Plain),
            ("Healthcheck", HEALTHCHECK),
            // The names are the ports, the values are empty.
            ("ExposedPorts", Each(&Object(&[]))),
        ]),
    ),
    ("NetworkSettings", NETWORKS),
]);
const TEMPLATE: Shape = Object(&[(
    "ContainerSpec",
    Object(&[
        ("Labels", Labels),
        ("Healthcheck", HEALTHCHECK),
        ("StopSignal", Plain),
    ]),
)]);
const SERVICES: Shape = List(&Object(&[
    ("ID", Plain),
    ("CreatedAt", Plain),
    (
        "Spec",
        Object(&[
            ("Name", Plain),
            ("Labels", Labels),
            ("TaskTemplate", TEMPLATE),
            (
                "Mode",
                Object(&[
                    ("Replicated", Object(&[("Replicas", Plain)])),
                    ("Global", Object(&[])),
                    ("ReplicatedJob", Object(&[])),
                    ("GlobalJob", Object(&[])),
                ]),
            ),
            ("EndpointSpec", Object(&[("Mode", Plain)])),
        ]),
    ),
    (
        "Endpoint",
        Object(&[
            (
                "Ports",
                List(&Object(&[("Protocol", Plain), ("TargetPort", Plain)])),
            ),
            (
                "VirtualIPs",
                List(&Object(&[("NetworkID", Plain), ("Addr", Plain)])),
            ),
        ]),
    ),
    ("UpdateStatus", Object(&[("State", Plain)])),
]));
const TASKS: Shape = List(&Object(&[
    ("ID", Plain),
    ("CreatedAt", Plain),
    ("ServiceID", Plain),
    ("Slot", Plain),
    ("NodeID", Plain),
    ("DesiredState", Plain),
    ("Spec", TEMPLATE),
    (
        "Status",
        Object(&[
            ("Timestamp", Plain),
            ("State", Plain),
            ("ContainerStatus", Object(&[("ContainerID", Plain)])),
        ]),
    ),
    (
        "NetworksAttachments",
        List(&Object(&[
            (
                "Network",
                Object(&[
                    ("ID", Plain),
                    ("Spec", Object(&[("Name", Plain), ("Ingress", Plain)])),
                ]),
            ),
            ("Addresses", List(&Plain)),
        ])),
    ),
]));
const NODES: Shape = List(&Object(&[
    ("ID", Plain),
    ("Spec", Object(&[("Availability", Plain)])),
    ("Description", Object(&[("Hostname", Plain)])),
    ("Status", Object(&[("State", Plain)])),
]));
const ALL_NETWORKS: Shape = List(&Object(&[
    ("Id", Plain),
    ("Name", Plain),
    ("Ingress", Plain),
]));
const VERSION: Shape = Object(&[
    ("Version", Plain),
    ("ApiVersion", Plain),
    ("MinAPIVersion", Plain),
    ("Os", Plain),
    ("Arch", Plain),
]);
const EVENT: Shape = Object(&[
    ("Type", Plain),
    ("Action", Plain),
    ("scope", Plain),
    ("time", Plain),
    ("timeNano", Plain),
    (
        "Actor",
        Object(&[("ID", Plain), ("Attributes", Object(&[("signal", Plain)]))]),
    ),
]);

/// Labels of others that say to what a container belongs.
const BELONGING: [&str; 5] = [
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.swarm.service.id",
    "com.docker.swarm.service.name",
    "com.docker.stack.namespace",
];

impl Shape {
    /// Of the answer to a question. The one to `/_ping` is a word and has none.
    pub(super) fn of(question: Question) -> Self {
        match question {
            Question::Ping => Plain,
            Question::Version => VERSION,
            Question::Events => EVENT,
            Question::Containers => CONTAINERS,
            Question::Container => CONTAINER,
            Question::Services => SERVICES,
            Question::Tasks => TASKS,
            Question::Nodes => NODES,
            Question::Networks => ALL_NETWORKS,
        }
    }

    /// Reads JSON and keeps what has this shape.
    ///
    /// # Errors
    /// What is no JSON, or is followed by something.
    pub(super) fn read(self, json: &[u8]) -> Result<Value, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = self.deserialize(&mut reader)?;
        reader.end()?;
        Ok(value.unwrap_or(Value::Null))
    }
}

/// A label's value as it is passed on; `None` for one that is not. That a user list is there must be known, or a route
/// would be open that was meant to be closed; what is in it need not.
fn label(name: &str, value: Value) -> Option<Value> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("traefik.")
        && ["basicauth", "digestauth"]
            .iter()
            .any(|a| lower.contains(a))
    {
        return Some(Value::from("hidden"));
    }
    let passed =
        lower.starts_with("weir.") || lower.starts_with("traefik.") || BELONGING.contains(&name);
    (passed && value.is_string()).then_some(value)
}

/// `None`: the value has another shape, and is dropped.
impl<'de> DeserializeSeed<'de> for Shape {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Option<Value>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl Shape {
    fn plain<E>(self, value: impl Into<Value>) -> Result<Option<Value>, E> {
        Ok(matches!(self, Plain).then(|| value.into()))
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    /// Go writes an empty list or map as `null`.
    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Value>, E> {
        self.plain(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Value>, E> {
        self.plain(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Value>, E> {
        self.plain(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Value>, E> {
        self.plain(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Value>, E> {
        self.plain(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Option<Value>, A::Error> {
        let (mut kept, entry) = match self {
            List(entry) => (Some(Vec::new()), *entry),
            First => (Some(Vec::new()), Plain),
            _ => (None, Plain),
        };
        let only_one = matches!(self, First);
        while let Some(list) = &mut kept {
            match entries.next_element_seed(entry)? {
                Some(Some(value)) => list.push(value),
                Some(None) => {}
                None => return Ok(kept.map(Value::from)),
            }
            if only_one {
                break;
            }
        }
        while entries.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept.map(Value::from))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Option<Value>, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let shape = match self {
                Object(known) => known.iter().find(|(n, _)| *n == name).map(|(_, s)| *s),
                Each(shape) => Some(*shape),
                Labels => Some(Plain),
                Plain | List(_) | First => None,
            };
            let Some(shape) = shape else {
                fields.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = fields.next_value_seed(shape)?;
            let value = match self {
                Labels => value.and_then(|value| label(&name, value)),
                _ => value,
            };
            if let Some(value) = value {
                kept.insert(name, value);
            }
        }
        Ok(matches!(self, Object(_) | Each(_) | Labels).then(|| kept.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passed(question: Question, answer: &Value) -> Value {
        let json = serde_json::to_vec(answer).unwrap();
        Shape::of(question).read(&json).unwrap()
    }

    #[test]
    fn what_a_container_is_started_with_stays_behind() {
        let answer = json!({
            "Id": "abc", "Path": "/run", "Args": ["--password", "hush"], "Mounts": [{"Source": "/hush"}],
            "Config": {"Env": ["A=hush"], "Cmd": ["hush"], "Entrypoint": ["hush"], "StopSignal": "SIGQUIT",
                       "Healthcheck": {"Test": ["CMD", "curl", "-u", "hush"]}, "ExposedPorts": {"80/tcp": {"x": "hush"}},
                       "Labels": {"secret": "hush"}},
            "HostConfig": {"Binds": ["/hush:/x"]},
            "State": {"StartedAt": "2026-01-01T00:00:00Z", "Health": {"Log": [{"Output": "hush"}]}},
            "NetworkSettings": {"Networks": {"edge": {"IPAddress": "10.0.0.2", "DriverOpts": {"x": "hush"}}}},
        });
        assert_eq!(
            passed(Question::Container, &answer),
            json!({
                "Id": "abc",
                "Config": {"StopSignal": "SIGQUIT", "Healthcheck": {"Test": ["CMD"]}, "ExposedPorts": {"80/tcp": {}}},
                "State": {"StartedAt": "2026-01-01T00:00:00Z"},
                "NetworkSettings": {"Networks": {"edge": {"IPAddress": "10.0.0.2"}}},
            })
        );
    }

    #[test]
    fn a_value_of_another_shape_is_dropped_whole() {
        let answer = json!([{"Id": {"Env": "hush"}, "Names": "hush", "State": ["hush"], "Labels": ["hush"],
                             "NetworkSettings": "hush", "Status": null}, "hush", 7]);
        assert_eq!(
            passed(Question::Containers, &answer),
            json!([{"Status": null}])
        );
        assert_eq!(
            passed(Question::Containers, &json!({"Env": "hush"})),
            Value::Null
        );
    }

    #[test]
    fn of_labels_those_pass_that_say_where_requests_go() {
        let labels = json!({
            "weir.enable": "true", "WEIR.host": "a", "com.docker.compose.project": "p",
            "com.docker.compose.environment_file": "/hush", "maintainer": "hush", "traefik.enable": "true",
            "traefik.http.middlewares.a.basicauth.users": "u:hush", "traefik.http.middlewares.A.digestAuth.users": "hush",
        });
        let answer = json!([{"Labels": labels}]);
        assert_eq!(
            passed(Question::Containers, &answer)[0]["Labels"],
            json!({
                "weir.enable": "true", "WEIR.host": "a", "com.docker.compose.project": "p", "traefik.enable": "true",
                "traefik.http.middlewares.a.basicauth.users": "hidden",
                "traefik.http.middlewares.A.digestAuth.users": "hidden",
            })
        );
    }

    #[test]
    fn no_shape_knows_a_word_under_which_secrets_are_kept() {
        const SECRET: [&str; 12] = [
            "Env",
            "Cmd",
            "Args",
            "Command",
            "Entrypoint",
            "Mounts",
            "Binds",
            "Secrets",
            "Configs",
            "Path",
            "Err",
            "Output",
        ];
        fn words(shape: Shape, found: &mut Vec<&'static str>) {
            match shape {
                List(inner) | Each(inner) => words(*inner, found),
                Object(fields) => {
                    for (name, inner) in fields {
                        found.push(name);
                        words(*inner, found);
                    }
                }
                Plain | First | Labels => {}
            }
        }
        let mut found = Vec::new();
        for question in [
            Question::Version,
            Question::Events,
            Question::Containers,
            Question::Container,
            Question::Services,
            Question::Tasks,
            Question::Nodes,
            Question::Networks,
        ] {
            words(Shape::of(question), &mut found);
        }
        assert!(found.len() > 50);
        assert!(!found.iter().any(|word| SECRET.contains(word)), "{found:?}");
    }
}

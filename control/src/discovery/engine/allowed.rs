//! What may be asked of an engine: GET on a short list of paths, and nothing else.
//!
//! This is the one list. The client asks it before it sends anything, and the gate (`weir docker-gate`) before it passes
//! anything on.

use http::Method;

/// A list of 10,000 containers with many labels takes some 30 MiB.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;
const MAX_SMALL_BYTES: usize = 4 * 1024 * 1024;
/// A stream of events is opened anew, with nothing lost, after this much: one event cannot fill the memory.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// One of the questions that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Ping,
    Version,
    Events,
    Containers,
    /// One container, by its id.
    Container,
    Services,
    Tasks,
    Nodes,
    Networks,
}

/// The paths without the version in front. One container's is beside them: `/containers/ID/json`.
pub(crate) const PATHS: [(&str, Question); 8] = [
    ("/_ping", Question::Ping),
    ("/version", Question::Version),
    ("/events", Question::Events),
    ("/containers/json", Question::Containers),
    ("/services", Question::Services),
    ("/tasks", Question::Tasks),
    ("/nodes", Question::Nodes),
    ("/networks", Question::Networks),
];

/// Characters of a whole container id.
const ID_LENGTH: usize = 64;

impl Question {
    /// The question that a request asks; `None` for one that may not be asked. The path is taken as it is: nothing is
    /// decoded or made shorter, so that no other spelling of a path gets through.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        if method != Method::GET {
            return None;
        }
        let listed = PATHS.iter().find(|(known, _)| *known == path);
        listed.map(|(_, question)| *question).or_else(|| {
            let id = path.strip_prefix("/containers/")?.strip_suffix("/json")?;
            let plain =
                (1..=ID_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then_some(Self::Container)
        })
    }

    /// The largest answer taken, its head included, in bytes.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Ping | Self::Version | Self::Container => MAX_SMALL_BYTES,
            Self::Events => MAX_EVENT_BYTES,
            Self::Containers | Self::Services | Self::Tasks | Self::Nodes | Self::Networks => {
                MAX_LIST_BYTES
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_a_few_paths_is_allowed() {
        let listed = PATHS.iter().map(|(path, _)| *path);
        for path in listed.chain(["/containers/0123abcdef/json"]) {
            assert!(Question::of(&Method::GET, path).is_some(), "{path}");
            for method in [
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
                Method::CONNECT,
            ] {
                assert!(Question::of(&method, path).is_none(), "{method} {path}");
            }
        }
        for path in [
            "",
            "/",
            "/v1.41/containers/json",
            "//containers/json",
            "/containers/json/",
            "/Containers/json",
            "/containers/%6ason",
            "/info",
            "/containers/../images/json",
            "/containers/a/b/json",
            "/containers//json",
            "/containers/web/json",
            "/containers/abc/archive",
            "/containers/abc/exec",
            "/containers/abc/logs",
            "/secrets",
            "/configs",
            "/swarm",
            "/swarm/unlockkey",
            "/services/abc",
            "/services/create",
            "/tasks/abc",
            "/tasks/abc/logs",
            "/nodes/abc",
            "/networks/abc",
        ] {
            assert!(Question::of(&Method::GET, path).is_none(), "{path}");
        }
        let long = format!("/containers/{}/json", "a".repeat(65));
        assert!(Question::of(&Method::GET, &long).is_none());
    }
}

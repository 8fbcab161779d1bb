//! What one request asks the origin to do, read from its path and query.
//!
//! Pure: a path and a query in, a [`Plan`] out. The last segment of the path wins over the query, and
//! both win over the defaults of the command line.

use std::time::Duration;

use crate::units;

/// Behaviour given on the command line, for every request that says nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) delay: Duration,
    /// Share of requests answered with 500, in tenths of a percent.
    pub(crate) fail_tenths: u32,
}

/// What to do with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) fail_tenths: u32,
    /// 200 unless asked otherwise.
    pub(super) status: u16,
    /// `?json`: the identity as JSON whatever the client accepts.
    pub(super) json: bool,
    pub(super) kind: Kind,
}

/// The shape of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Name and version, and as JSON the request too.
    Identity,
    /// The request's headers, a line each.
    Headers,
    /// That many bytes with a Content-Length.
    Bytes(u64),
    /// That many chunks, an interval apart, without a Content-Length.
    Stream {
        chunks: u64,
        interval: Duration,
    },
    /// The request's body, as it comes.
    Echo,
    WebSocket,
    /// The state of the health check; a POST with `?status=` changes it.
    Health {
        set: Option<u16>,
    },
    /// No answer, ever.
    Hang,
    /// The connection closes without an answer.
    Close,
    /// The answer leaves before the request's body is read.
    Early,
    /// Two chunks and trailers, for a client that sends `TE: trailers`.
    Trailers,
}

impl Plan {
    /// Reads a path such as `/delay/250ms` and a query such as `fail=10%25&status=503`.
    ///
    /// # Errors
    /// A sentence about the value that cannot be read.
    pub(super) fn read(path: &str, query: &str, defaults: Defaults) -> Result<Self, String> {
        let mut plan = Self {
            delay: defaults.delay,
            fail_tenths: defaults.fail_tenths,
            status: 200,
            json: false,
            kind: Kind::Identity,
        };
        if path == "/" && query.is_empty() {
            return Ok(plan);
        }
        let query = Query::read(query);
        plan.read_query(&query)?;
        plan.read_path(path, &query)?;
        Ok(plan)
    }

    fn read_query(&mut self, query: &Query<'_>) -> Result<(), String> {
        self.json = query.json;
        if let Some(text) = query.delay {
            self.delay = units::duration(text)?;
        }
        if let Some(text) = query.status {
            self.status = status(text)?;
        }
        if let Some(text) = query.fail {
            // `%` is often sent bare, and as often encoded.
            self.fail_tenths = units::tenths_of_percent(&text.replace("%25", "%"))?;
        }
        Ok(())
    }

    fn read_path(&mut self, path: &str, query: &Query<'_>) -> Result<(), String> {
        let mut segments = path.rsplit('/');
        let last = segments.next().unwrap_or_default();
        let before = segments.next().unwrap_or_default();
        self.kind = match (before, last) {
            ("delay", text) => {
                self.delay = units::duration(text)?;
                Kind::Identity
            }
            ("status", text) => {
                self.status = status(text)?;
                Kind::Identity
            }
            ("bytes", text) => Kind::Bytes(number(text)?),
            ("stream", text) => {
                let interval = query.interval.map_or(Ok(Duration::ZERO), units::duration)?;
                Kind::Stream {
                    chunks: number(text)?,
                    interval,
                }
            }
            (_, "echo") => Kind::Echo,
            (_, "ws") => Kind::WebSocket,
            (_, "headers") => Kind::Headers,
            (_, "hang") => Kind::Hang,
            (_, "close") => Kind::Close,
            (_, "early") => Kind::Early,
            (_, "trailers") => Kind::Trailers,
            (_, "healthz" | "ready" | "live") => Kind::Health {
                set: query.status.map(status).transpose()?,
            },
            _ => Kind::Identity,
        };
        Ok(())
    }
}

/// The keys that mean something here; others are an application's and are left alone.
#[derive(Default)]
struct Query<'a> {
    json: bool,
    delay: Option<&'a str>,
    status: Option<&'a str>,
    fail: Option<&'a str>,
    interval: Option<&'a str>,
}

impl<'a> Query<'a> {
    fn read(text: &'a str) -> Self {
        let mut query = Self::default();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "json" => query.json = true,
                "delay" => query.delay = Some(value),
                "status" => query.status = Some(value),
                "fail" => query.fail = Some(value),
                "interval" => query.interval = Some(value),
                _ => {}
            }
        }
        query
    }
}

/// A final status: 1xx and 101 have paths of their own.
fn status(text: &str) -> Result<u16, String> {
    let bad = || format!("{text:?} is not a status from 200 to 599");
    text.parse()
        .ok()
        .filter(|s| (200..=599).contains(s))
        .ok_or_else(bad)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a count"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, query: &str) -> Plan {
        Plan::read(path, query, Defaults::default()).unwrap()
    }

    #[test]
    fn the_last_segments_of_a_path_say_what_to_do() {
        let ms = Duration::from_millis;
        for (path, query, kind) in [
            ("/", "", Kind::Identity),
            ("/shop/cart", "x=1", Kind::Identity),
            ("/bytes/1048576", "", Kind::Bytes(1_048_576)),
            ("/api/bytes/3", "", Kind::Bytes(3)),
            (
                "/stream/20",
                "interval=100ms",
                Kind::Stream {
                    chunks: 20,
                    interval: ms(100),
                },
            ),
            (
                "/stream/2",
                "",
                Kind::Stream {
                    chunks: 2,
                    interval: ms(0),
                },
            ),
            ("/v1/echo", "", Kind::Echo),
            ("/ws", "", Kind::WebSocket),
            ("/healthz", "", Kind::Health { set: None }),
            ("/ready", "", Kind::Health { set: None }),
            ("/live", "", Kind::Health { set: None }),
            ("/healthz", "status=503", Kind::Health { set: Some(503) }),
            ("/early", "", Kind::Early),
        ] {
            assert_eq!(read(path, query).kind, kind, "{path}?{query}");
        }
    }

    #[test]
    fn delay_status_and_failures_come_from_path_query_or_command_line() {
        assert_eq!(read("/delay/250ms", "").delay, Duration::from_millis(250));
        assert_eq!(read("/x", "delay=1s").delay, Duration::from_secs(1));
        assert_eq!(read("/status/503", "").status, 503);
        assert_eq!(read("/", "fail=10%").fail_tenths, 100);
        assert_eq!(read("/", "fail=10%25").fail_tenths, 100);
        let defaults = Defaults {
            delay: Duration::from_secs(2),
            fail_tenths: 5,
        };
        let plan = Plan::read("/x", "", defaults).unwrap();
        assert_eq!((plan.delay, plan.fail_tenths), (defaults.delay, 5));
        assert_eq!(
            Plan::read("/delay/0", "", defaults).unwrap().delay,
            Duration::ZERO
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        for (path, query) in [
            ("/delay/soon", ""),
            ("/status/42", ""),
            ("/bytes/many", ""),
            ("/stream/1", "interval=x"),
            ("/", "fail=200%"),
            ("/healthz", "status=up"),
        ] {
            assert!(
                Plan::read(path, query, Defaults::default()).is_err(),
                "{path}?{query}"
            );
        }
    }
}

//! Rate limits, faults and mirrors.

use std::time::Duration;

use super::report::Report;
use super::route::Names;
use super::{header, rule};
use crate::model::{Abort, Delay, Fault, Filter, Mirror, Percent, RateLimit, RateLimitKey};
use crate::raw::{self, At};

/// Most requests of a limit in its time, and at once: time is counted in nanoseconds, and a full bucket of the slowest
/// limit must not overflow them.
const MAX_REQUESTS: u32 = 1_000_000;
/// Most buckets of one limit: some 60 MB.
const MAX_KEYS: u32 = 1_000_000;
const DEFAULT_KEYS: u32 = 10_000;
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn rate_limit(raw: &raw::RateLimit, report: &mut Report) -> Option<RateLimit> {
    let count = |at: &At<u32>, name: &str, report: &mut Report| {
        let want = format!("{name} is from 1 to {MAX_REQUESTS}");
        report.bounded(at, |n| (1..=MAX_REQUESTS).contains(&n), &want)
    };
    let requests = report.required(&raw.requests, &raw.meta, "requests");
    let requests = requests.and_then(|at| count(at, "requests", report));
    let per = match &raw.per {
        Some(at) => {
            let fits = |per| (Duration::from_secs(1)..=HOUR).contains(&per);
            report.bounded(at, fits, "per is from 1s to 1h")
        }
        None => Some(Duration::from_secs(1)),
    };
    let burst = match &raw.burst {
        Some(at) => count(at, "burst", report),
        None => requests,
    };
    let key = limit_key(raw, report);
    let max_keys = match &raw.max_keys {
        Some(at) => {
            let want = format!("maxKeys is from 100 to {MAX_KEYS}");
            report.bounded(at, |n| (100..=MAX_KEYS).contains(&n), &want)
        }
        None => Some(DEFAULT_KEYS),
    };
    let key = key?;
    if let (RateLimitKey::Route, Some(at)) = (&key, &raw.max_keys) {
        let help = "add key: ClientIp or key: Header, or remove it";
        report.error_help(&at.place, "maxKeys is for a limit with a key", help);
    }
    Some(RateLimit {
        requests: requests?,
        per: per?,
        burst: burst?,
        key,
        max_keys: max_keys?,
    })
}

fn limit_key(raw: &raw::RateLimit, report: &mut Report) -> Option<RateLimitKey> {
    let kind = raw
        .key
        .as_ref()
        .map_or(raw::RateLimitKey::Route, |at| at.value);
    match (kind, &raw.header, &raw.key) {
        (raw::RateLimitKey::Header, Some(name), _) => {
            header::name(name, report).map(RateLimitKey::Header)
        }
        (raw::RateLimitKey::Header, None, Some(key)) => {
            if !raw.meta.broken {
                let help = "name it, as in header: x-api-key";
                report.error_help(&key.place, "the header that is the key is missing", help);
            }
            None
        }
        (_, Some(at), _) => {
            let help = "add key: Header, or remove the header";
            report.error_help(&at.place, "a header is for the key Header only", help);
            None
        }
        (raw::RateLimitKey::ClientIp, None, _) => Some(RateLimitKey::ClientIp),
        (_, None, _) => Some(RateLimitKey::Route),
    }
}

pub(super) fn fault(raw: &raw::FaultInjection, report: &mut Report) -> Option<Filter> {
    if !raw.meta.broken && raw.delay.is_none() && raw.abort.is_none() {
        report.error_help(
            &raw.meta.place,
            "this fault does nothing",
            "give it a delay or an abort",
        );
    }
    Some(Filter::Fault(Fault {
        delay: raw.delay.as_ref().and_then(|raw| delay(raw, report)),
        abort: raw.abort.as_ref().and_then(|raw| abort(raw, report)),
    }))
}

fn delay(raw: &raw::FaultDelay, report: &mut Report) -> Option<Delay> {
    let percent = percent(&raw.percent, &raw.meta, report);
    let at = report.required(&raw.duration, &raw.meta, "the duration of the delay")?;
    let fits = |d| (Duration::from_millis(1)..=HOUR).contains(&d);
    let duration = report.bounded(at, fits, "a delay is from 1ms to 1h");
    Some(Delay {
        duration: duration?,
        percent: percent?,
    })
}

fn abort(raw: &raw::FaultAbort, report: &mut Report) -> Option<Abort> {
    let percent = percent(&raw.percent, &raw.meta, report);
    let at = report.required(&raw.status, &raw.meta, "the status of the abort")?;
    let fits = |status| (400..=599).contains(&status);
    let status = report.bounded(at, fits, "an abort has a status from 400 to 599");
    Some(Abort {
        status: status?,
        percent: percent?,
    })
}

/// A fault says how many it is for: one that was meant for a few must not hit everybody by default.
fn percent(field: &Option<At<Percent>>, meta: &raw::Meta, report: &mut Report) -> Option<Percent> {
    report
        .required(field, meta, "the percentage of requests it is for")
        .map(|at| at.value)
}

pub(super) fn mirror(
    raw: &raw::RequestMirror,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Filter> {
    let backend = report.required(&raw.backend_ref, &raw.meta, "backendRef")?;
    if let Some(at) = &backend.weight {
        let help = "use percent beside backendRef";
        report.error_help(&at.place, "a weight is not for a mirror", help);
    }
    let (service, version) = rule::destination(backend, names, &rule::Lost::COPIES, report)?;
    Some(Filter::Mirror(Mirror {
        service,
        version,
        percent: raw.percent.as_ref().map_or(Percent::ALL, |at| at.value),
    }))
}

//! `weir.balancer` and what goes with it.

use super::super::keys::Labels;
use crate::diagnostic::Diagnostic;
use crate::raw::{
    ConsistentHash, HttpCookie, LoadBalancer, LocalityLb, Maglev, Meta, RingHash, Warmup,
};

pub(super) fn read(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> LoadBalancer {
    let locality = labels.get("weir.balancer.locality", found);
    LoadBalancer {
        simple: labels.get("weir.balancer", found),
        consistent_hash: consistent_hash(labels, &meta, found),
        warmup: warmup(labels, &meta, found),
        // Shares by place are the operator's business; a container may only ask for the nearest first.
        locality: locality.map(|enabled| LocalityLb {
            meta: meta.clone(),
            enabled: Some(enabled),
            ..LocalityLb::default()
        }),
        warmup_duration_secs: None,
        meta,
    }
}

/// The compiler's own rules hold here too, but it would speak of a file's keys where a label is missing.
fn consistent_hash(
    labels: &Labels<'_>,
    meta: &Meta,
    found: &mut Vec<Diagnostic>,
) -> Option<ConsistentHash> {
    let about = ["hash", "ringSize", "maglevSize"].map(|key| format!("weir.balancer.{key}"));
    let first = about.iter().find(|prefix| labels.has_any(prefix))?;
    let keys = ["hashHeader", "hashCookie", "hashQuery", "hashSourceIp"];
    let given = keys
        .iter()
        .filter(|key| labels.has(&format!("weir.balancer.{key}")));
    if given.count() != 1 {
        let message = "what is hashed is said by one of weir.balancer.hashHeader, .hashCookie, .hashQuery and .hashSourceIp";
        let help = "as in weir.balancer.hashHeader=x-user";
        found.push(Diagnostic::error(&labels.first_place(first), message).help(help));
        return None;
    }
    Some(ConsistentHash {
        meta: meta.clone(),
        http_header_name: labels.text("weir.balancer.hashHeader"),
        http_cookie: cookie(labels, meta, found),
        use_source_ip: labels.get("weir.balancer.hashSourceIp", found),
        http_query_parameter_name: labels.text("weir.balancer.hashQuery"),
        ring_hash: labels
            .get("weir.balancer.ringSize", found)
            .map(|size| RingHash {
                meta: meta.clone(),
                minimum_ring_size: Some(size),
            }),
        maglev: labels
            .get("weir.balancer.maglevSize", found)
            .map(|size| Maglev {
                meta: meta.clone(),
                table_size: Some(size),
            }),
        minimum_ring_size: None,
    })
}

fn cookie(labels: &Labels<'_>, meta: &Meta, found: &mut Vec<Diagnostic>) -> Option<HttpCookie> {
    let name = labels.text("weir.balancer.hashCookie");
    let path = labels.text("weir.balancer.hashCookiePath");
    let ttl = labels.get("weir.balancer.hashCookieTtl", found);
    (name.is_some() || path.is_some() || ttl.is_some()).then(|| HttpCookie {
        meta: meta.clone(),
        name,
        path,
        ttl,
        attributes: None,
    })
}

fn warmup(labels: &Labels<'_>, meta: &Meta, found: &mut Vec<Diagnostic>) -> Option<Warmup> {
    if !labels.has_any("weir.balancer.warmup") {
        return None;
    }
    if labels.text("weir.balancer.warmup").is_none() {
        let place = labels.first_place("weir.balancer.warmup");
        let message = "weir.balancer.warmup, the time that it takes, is missing";
        found.push(Diagnostic::error(&place, message).help("as in weir.balancer.warmup=30s"));
    }
    Some(Warmup {
        meta: meta.clone(),
        duration: labels.get("weir.balancer.warmup", found),
        minimum_percent: labels.get("weir.balancer.warmupMinimumPercent", found),
        aggression: labels.get("weir.balancer.warmupAggression", found),
    })
}

//! Localities: where things are, and how requests are kept near.

use std::sync::Arc;

use super::report::Report;
use crate::model::{Distribute, Locality, LocalityPolicy};
use crate::raw::{self, At};

/// Where something is: its region at least.
pub(crate) fn place(at: &At<Locality>, report: &mut Report) -> Option<Locality> {
    if !at.value.is_place() {
        report.error_help(
            &at.place,
            "a locality without a region is no place",
            "write region, region/zone or region/zone/subzone",
        );
        return None;
    }
    Some(at.value.clone())
}

pub(super) fn policy(raw: &raw::LocalityLb, report: &mut Report) -> Option<LocalityPolicy> {
    if let Some(later) = &raw.failover_priority {
        report.not_enforced(&later.place, "localityLbSetting.failoverPriority");
    }
    let distribute = raw.distribute.iter().flatten().next();
    if let (Some(_), Some(failover)) = (distribute, raw.failover.iter().flatten().next()) {
        report.error_help(
            &failover.meta.place,
            "distribute and failover are both given",
            "distribute already says where everything goes; keep one of them",
        );
    }
    let policy = LocalityPolicy {
        distribute: distributions(raw.distribute.iter().flatten(), report),
        failover: failovers(raw.failover.iter().flatten(), report),
    };
    let enabled = raw.enabled.as_ref().is_none_or(|at| at.value);
    enabled.then_some(policy)
}

fn distributions<'a>(
    all: impl Iterator<Item = &'a raw::Distribute>,
    report: &mut Report,
) -> Vec<Distribute> {
    let mut out: Vec<Distribute> = Vec::new();
    for raw in all {
        let from = report.required(&raw.from, &raw.meta, "from, where the proxy is,");
        let to = report.required(&raw.to, &raw.meta, "to, the shares by locality,");
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        if out.iter().any(|other| other.from == from.value) {
            let message = format!("distribute has two entries from {}", from.value);
            report.error(&from.place, message);
        }
        let sum: u32 = to.0.iter().map(|(_, share)| u32::from(share.value)).sum();
        if sum != 100 && !raw.meta.broken {
            report.error_help(
                &raw.meta.place,
                format!("the shares from {} add up to {sum}%", from.value),
                "make them 100% in all",
            );
        }
        for (at, (place, _)) in to.0.iter().enumerate() {
            if to
                .0
                .iter()
                .take(at)
                .any(|(other, _)| other.value == place.value)
            {
                let message = format!("{} is given twice", place.value);
                report.error(&place.place, message);
            }
        }
        out.push(Distribute {
            from: from.value.clone(),
            to: to
                .0
                .iter()
                .map(|(place, share)| (place.value.clone(), share.value))
                .collect(),
        });
    }
    out
}

fn failovers<'a>(
    all: impl Iterator<Item = &'a raw::Failover>,
    report: &mut Report,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut out: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for raw in all {
        let from = report.required(&raw.from, &raw.meta, "from, the region that fails,");
        let to = report.required(&raw.to, &raw.meta, "to, the region that takes over,");
        let (Some(from_at), Some(to)) = (from, to) else {
            continue;
        };
        let (Some(from), Some(to)) = (region(from_at, report), region(to, report)) else {
            continue;
        };
        if from == to {
            let message = format!("the region {from} cannot take over from itself");
            report.error(&raw.meta.place, message);
        }
        if out.iter().any(|(other, _)| *other == from) {
            let message = format!("failover has two entries from {from}");
            report.error(&from_at.place, message);
        }
        out.push((from, to));
    }
    out
}

fn region(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let locality = Locality::parse(&at.value)
        .ok()
        .filter(|locality| locality.is_place() && !at.value.contains('/'));
    if locality.is_none() {
        let message = format!("{:?} is not a region", at.value);
        let help = "failover goes from region to region, without zones and without a star";
        report.error_help(&at.place, message, help);
    }
    locality.map(|locality| locality.region)
}

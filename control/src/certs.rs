//! Certificates in force: where each is used, and warnings before it expires.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_config::model::{Certificate, Model};

use crate::clock;
use crate::control::Shared;
use crate::events::Draft;

const DAY: i64 = 24 * 3600;
/// Days before its end at which a certificate is warned of, once each, and when it has expired.
const MARKS: [i64; 6] = [30, 14, 7, 3, 1, 0];
/// How often ends are looked at while nothing changes.
const LOOK: Duration = Duration::from_secs(60);

/// A certificate and who uses it.
pub(crate) struct InUse<'m> {
    pub(crate) certificate: &'m Arc<Certificate>,
    /// Names of listeners that show it.
    pub(crate) listeners: Vec<&'m str>,
    /// Names of services whose endpoints are shown it.
    pub(crate) services: Vec<&'m str>,
}

/// Every certificate of a model, by name; one that is used several times is one.
pub(crate) fn in_use(model: &Model) -> Vec<InUse<'_>> {
    let mut all: BTreeMap<(&str, [u8; 32]), InUse<'_>> = BTreeMap::new();
    let shown = model.listeners.iter().flat_map(|listener| {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        certificates.map(|certificate| (certificate, Some(listener.name.as_str()), None))
    });
    let sent = model.services.iter().filter_map(|service| {
        let certificate = service.tls.as_ref()?.client.as_ref()?;
        Some((certificate, None, Some(service.name.as_str())))
    });
    for (certificate, listener, service) in shown.chain(sent) {
        let key = (certificate.name.as_str(), certificate.fingerprint);
        let used = all.entry(key).or_insert_with(|| InUse {
            certificate,
            listeners: Vec::new(),
            services: Vec::new(),
        });
        used.listeners.extend(listener);
        used.services.extend(service);
    }
    all.into_values().collect()
}

/// Which mark each certificate was warned at last, by its fingerprint.
#[derive(Default)]
struct Warned(BTreeMap<[u8; 32], i64>);

impl Warned {
    /// What there is to warn of now: of marks that were passed at once, the nearest to the end.
    ///
    /// A mark in the first two thirds of a certificate's life is none: one that lives for six days is not warned of at
    /// its birth.
    fn due(&mut self, model: &Model, now: i64) -> Vec<String> {
        let mut texts = Vec::new();
        let mut present = BTreeMap::new();
        for used in in_use(model) {
            let certificate = used.certificate;
            let left = certificate.not_after.saturating_sub(now);
            let life = certificate.not_after.saturating_sub(certificate.not_before);
            let passed = |mark: &&i64| left < **mark * DAY && **mark * DAY * 3 <= life.max(0);
            let mark = MARKS.iter().rev().find(passed).copied();
            let before = self.0.get(&certificate.fingerprint).copied();
            if let Some(mark) = mark.or(before) {
                present.insert(certificate.fingerprint, mark);
            }
            if mark.is_some_and(|mark| before.is_none_or(|before| mark < before)) {
                texts.push(text(&used, left));
            }
        }
        self.0 = present;
        texts
    }
}

fn text(used: &InUse<'_>, left: i64) -> String {
    let users: Vec<&str> = used
        .listeners
        .iter()
        .chain(&used.services)
        .copied()
        .collect();
    let (name, users) = (&used.certificate.name, users.join(", "));
    let seconds = u64::try_from(used.certificate.not_after).unwrap_or(0);
    let at = clock::rfc3339(seconds * 1000);
    match (left < 0, left / DAY) {
        (true, _) => format!("{name} expired at {at}: clients refuse it ({users})"),
        (false, 0) => format!("{name} expires within a day, at {at} ({users})"),
        (false, 1) => format!("{name} expires in 1 day, at {at} ({users})"),
        (false, days) => format!("{name} expires in {days} days, at {at} ({users})"),
    }
}

/// Warns until the control plane stops.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut models = shared.models.subscribe();
    let mut warned = Warned::default();
    loop {
        let model = Arc::clone(&models.borrow_and_update().model);
        for text in warned.due(&model, clock::now_seconds()) {
            tracing::warn!("certificate: {text}");
            shared.events.record(Draft::certificate(text));
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = models.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests;

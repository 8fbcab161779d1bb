//! Overrides as JSON: a mirror for the file, checked when it is turned into the real thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_config::model::{ServiceName, VersionName, Weight};
use weir_plan::{Override, Overrides};

/// Raised when the meaning of a field changes.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    services: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    weights: BTreeMap<String, String>,
    by: String,
    since_ms: u64,
}

/// Reads what [`to_text`] wrote.
///
/// # Errors
/// What is wrong, for a person. Nothing is taken from a file that is wrong in one place: half an
/// override could send traffic where nobody wanted it.
pub(crate) fn parse(text: &str) -> Result<Overrides, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.format != FORMAT {
        return Err(format!(
            "it has format {}, this version reads {FORMAT}",
            file.format
        ));
    }
    let mut overrides = Overrides::default();
    for (service, entry) in file.services {
        let service = ServiceName::new(&service).map_err(|error| error.to_string())?;
        let mut weights = BTreeMap::new();
        for (version, weight) in entry.weights {
            let version = VersionName::new(&version).map_err(|error| error.to_string())?;
            weights.insert(
                version,
                weight
                    .parse::<Weight>()
                    .map_err(|error| error.to_string())?,
            );
        }
        if weights.is_empty() {
            return Err(format!("service {service} has no weights"));
        }
        let entry = Override {
            weights,
            by: entry.by,
            since_ms: entry.since_ms,
        };
        overrides.services.insert(service, entry);
    }
    Ok(overrides)
}

/// The file's text.
pub(crate) fn to_text(overrides: &Overrides) -> String {
    let entry = |told: &Override| Entry {
        weights: told
            .weights
            .iter()
            .map(|(v, w)| (v.to_string(), w.to_string()))
            .collect(),
        by: told.by.clone(),
        since_ms: told.since_ms,
    };
    let services = overrides
        .services
        .iter()
        .map(|(name, told)| (name.to_string(), entry(told)));
    let file = File {
        format: FORMAT,
        services: services.collect(),
    };
    // Maps of strings to strings and numbers cannot fail to serialise.
    serde_json::to_string_pretty(&file).unwrap_or_default()
}

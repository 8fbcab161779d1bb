//! What changes between two models, in the terms of who runs them: not lines of text, but routes,
//! services, endpoints and weights.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::dump;
use crate::model::{Model, same};

/// What happened to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: ChangeKind,
    /// `listener`, `service`, `endpoint`, `version weight`, `route`, `tracing` or `access`.
    pub what: &'static str,
    /// Of an endpoint or a version, with its service in front: `shop/canary`.
    pub name: String,
    /// For a change, each field that differs: `timeouts.request: 15s -> 5s`.
    pub details: Vec<String>,
}

/// All changes: listeners, then services with their versions and endpoints, then routes, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diff {
    pub changes: Vec<Change>,
}

impl Diff {
    /// Whether the two serve alike. Where something was written does not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl fmt::Display for Diff {
    /// One line for each change: `+ route shop`, `- endpoint shop/ab12:80`, `~ version weight shop/canary (weight: 5 -> 25)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.kind {
                ChangeKind::Added => '+',
                ChangeKind::Removed => '-',
                ChangeKind::Changed => '~',
            };
            write!(f, "{sign} {} {}", change.what, change.name)?;
            match change.details.is_empty() {
                true => writeln!(f)?,
                false => writeln!(f, " ({})", change.details.join(", "))?,
            }
        }
        Ok(())
    }
}

/// Compares two models.
///
/// Only what differs is looked at closely, and one item at a time: of ten thousand routes mostly one has changed, and
/// at the start, when all are new, a dump of everything would take many times the room of the model.
#[must_use]
pub fn diff(old: &Model, new: &Model) -> Diff {
    let mut changes = Vec::new();
    let mut compare = |old: Model, new: Model| {
        changes.extend(diff_dumps(&dump(&old), &dump(&new)).changes);
    };
    for (old, new) in differing(&old.listeners, &new.listeners, |l| l.name.as_str()) {
        let model = |listeners| Model {
            listeners,
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    for (old, new) in differing(&old.services, &new.services, |s| s.name.as_str()) {
        let model = |services| Model {
            services,
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    for (old, new) in differing(&old.routes, &new.routes, |r| r.name.as_str()) {
        let model = |routes| Model {
            routes,
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    for (old, new) in differing(&old.streams, &new.streams, |r| r.name.as_str()) {
        let model = |streams| Model {
            streams,
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    if old.tracing != new.tracing {
        let model = |of: &Model| Model {
            tracing: Arc::clone(&of.tracing),
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    if old.access != new.access {
        let model = |of: &Model| Model {
            access: Arc::clone(&of.access),
            ..Model::default()
        };
        compare(model(old), model(new));
    }
    Diff { changes }
}

/// None or one of a list's items, as a list.
type One<T> = Vec<Arc<T>>;

/// An item as it was and as it is.
type Pair<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

/// Items of one name that are not alike, in the order of names; one of the two may be missing.
fn differing<T: PartialEq>(
    old: &[Arc<T>],
    new: &[Arc<T>],
    name: impl Fn(&T) -> &str,
) -> Vec<(One<T>, One<T>)> {
    let mut all: BTreeMap<&str, Pair<'_, T>> = BTreeMap::new();
    for item in old {
        all.entry(name(item)).or_default().0 = Some(item);
    }
    for item in new {
        all.entry(name(item)).or_default().1 = Some(item);
    }
    let one = |item: Option<&Arc<T>>| item.cloned().into_iter().collect();
    all.into_values()
        .filter(|(old, new)| match (old, new) {
            (Some(old), Some(new)) => !same(old, new),
            _ => true,
        })
        .map(|(old, new)| (one(old), one(new)))
        .collect()
}

/// Compares two models by what [`dump()`] made of them: one of them may be another process's.
#[must_use]
pub fn diff_dumps(old: &Value, new: &Value) -> Diff {
    let mut changes = Vec::new();
    compare(
        "listener",
        "",
        &old["listeners"],
        &new["listeners"],
        &[],
        &mut changes,
    );
    compare(
        "service",
        "",
        &old["services"],
        &new["services"],
        &["versions", "endpoints"],
        &mut changes,
    );
    for (name, before, after) in pairs(&old["services"], &new["services"], "name") {
        let inside = format!("{name}/");
        let part = |service: Option<&Value>, key: &str| {
            service.map_or(Value::Null, |service| service[key].clone())
        };
        compare(
            "version weight",
            &inside,
            &part(before, "versions"),
            &part(after, "versions"),
            &[],
            &mut changes,
        );
        compare(
            "endpoint",
            &inside,
            &part(before, "endpoints"),
            &part(after, "endpoints"),
            &[],
            &mut changes,
        );
    }
    compare(
        "route",
        "",
        &old["routes"],
        &new["routes"],
        &[],
        &mut changes,
    );
    tracing(&old["tracing"], &new["tracing"], &mut changes);
    compare(
        "access",
        "",
        &old["access"],
        &new["access"],
        &[],
        &mut changes,
    );
    Diff { changes }
}

/// Another process may be of a version that says nothing of tracing.
fn tracing(old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let mut details = Vec::new();
    if old.is_object() && new.is_object() {
        differ("", old, new, &[], &mut details);
    }
    if !details.is_empty() {
        changes.push(Change {
            kind: ChangeKind::Changed,
            what: "tracing",
            name: "settings".to_owned(),
            details,
        });
    }
}

/// Items of two lists by their key, in its order.
fn pairs<'a>(
    old: &'a Value,
    new: &'a Value,
    key: &str,
) -> Vec<(String, Option<&'a Value>, Option<&'a Value>)> {
    let mut all: BTreeMap<String, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
    let name = |item: &Value| item[key].as_str().unwrap_or_default().to_owned();
    for item in old.as_array().into_iter().flatten() {
        all.entry(name(item)).or_default().0 = Some(item);
    }
    for item in new.as_array().into_iter().flatten() {
        all.entry(name(item)).or_default().1 = Some(item);
    }
    all.into_iter()
        .map(|(name, (old, new))| (name, old, new))
        .collect()
}

fn compare(
    what: &'static str,
    inside: &str,
    old: &Value,
    new: &Value,
    apart: &[&str],
    changes: &mut Vec<Change>,
) {
    let key = if what == "endpoint" { "id" } else { "name" };
    for (name, before, after) in pairs(old, new, key) {
        let name = format!("{inside}{name}");
        let change = |kind, details| Change {
            kind,
            what,
            name,
            details,
        };
        match (before, after) {
            (None, Some(item)) => changes.push(change(ChangeKind::Added, summary(what, item))),
            (Some(_), None) => changes.push(change(ChangeKind::Removed, Vec::new())),
            (Some(before), Some(after)) => {
                let mut details = Vec::new();
                differ("", before, after, apart, &mut details);
                if !details.is_empty() {
                    changes.push(change(ChangeKind::Changed, details));
                }
            }
            (None, None) => {}
        }
    }
}

/// What is worth knowing of something new.
fn summary(what: &str, item: &Value) -> Vec<String> {
    let fields: &[&str] = match what {
        "listener" => &["bind"],
        "endpoint" => &["address", "version", "admission"],
        "version weight" => &["weight"],
        "route" => &["hostnames"],
        _ => &[],
    };
    let said = |field: &&&str| {
        item[**field]
            .as_array()
            .is_none_or(|items| !items.is_empty())
    };
    fields
        .iter()
        .filter(said)
        .map(|field| format!("{field}: {}", text(&item[*field])))
        .collect()
}

/// Every leaf that differs, with its path. Lists of one length are compared item by item.
fn differ(path: &str, old: &Value, new: &Value, apart: &[&str], details: &mut Vec<String>) {
    let join = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys.into_iter().filter(|key| {
                !(path.is_empty() && (*key == "source" || apart.contains(&key.as_str())))
            }) {
                let (before, after) = (
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                );
                differ(&join(key), before, after, apart, details);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (before, after)) in old.iter().zip(new).enumerate() {
                differ(&format!("{path}[{index}]"), before, after, apart, details);
            }
        }
        _ if old != new => details.push(format!("{path}: {} -> {}", text(old), text(new))),
        _ => {}
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" "),
        Value::Array(items) => format!("{} items", items.len()),
        other => other.to_string(),
    }
}

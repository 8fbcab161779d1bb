//! Header fields that are set, added and removed.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

use crate::basic::is_true;
use crate::refusal::{Refusal, Within as _, take};

/// A field's name, in lower case, and its value.
pub(crate) type Field = (Arc<str>, Arc<str>);

/// Fields that stand in the place of those of their names.
pub(crate) fn set(fields: &[Field]) -> Vec<HeaderValueOption> {
    options(fields, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// Fields that stand beside those of their names.
pub(crate) fn add(fields: &[Field]) -> Vec<HeaderValueOption> {
    options(fields, HeaderAppendAction::AppendIfExistsOrAdd)
}

fn options(fields: &[Field], action: HeaderAppendAction) -> Vec<HeaderValueOption> {
    let option = |(name, value): &Field| HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_string(),
            // Envoy replaces what stands between percent signs.
            value: value.replace('%', "%%"),
            raw_value: Vec::new(),
        }),
        append_action: action.into(),
        keep_empty_value: value.is_empty(),
        ..HeaderValueOption::default()
    };
    fields.iter().map(option).collect()
}

/// Fields apart: those that replace, and those that come beside.
pub(crate) fn apart(
    wire: Vec<HeaderValueOption>,
    field: &str,
) -> Result<(Vec<Field>, Vec<Field>), Refusal> {
    let (mut set, mut add) = (Vec::new(), Vec::new());
    for (index, option) in wire.into_iter().enumerate() {
        let (header, action) = one(option).at(field, index)?;
        match action {
            HeaderAppendAction::OverwriteIfExistsOrAdd => set.push(header),
            _ => add.push(header),
        }
    }
    Ok((set, add))
}

/// Fields of a message that has none of their names yet, so that all ways to put them in are one.
pub(crate) fn only_set(wire: Vec<HeaderValueOption>) -> Result<Vec<Field>, Refusal> {
    let one = |(index, option)| match one(option) {
        Ok((header, _)) => Ok(header),
        Err(refusal) => Err(refusal.within(&format!("[{index}]"))),
    };
    wire.into_iter().enumerate().map(one).collect()
}

fn one(option: HeaderValueOption) -> Result<(Field, HeaderAppendAction), Refusal> {
    take!(option => HeaderValueOption { header, append, append_action, keep_empty_value } refuse {});
    let action = match (append, HeaderAppendAction::try_from(append_action)) {
        // The field that `append_action` has taken the place of.
        (Some(append), Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => match is_true(Some(&append))
        {
            true => HeaderAppendAction::AppendIfExistsOrAdd,
            false => HeaderAppendAction::OverwriteIfExistsOrAdd,
        },
        (None, Ok(HeaderAppendAction::AppendIfExistsOrAdd)) => {
            HeaderAppendAction::AppendIfExistsOrAdd
        }
        (None, Ok(HeaderAppendAction::OverwriteIfExistsOrAdd)) => {
            HeaderAppendAction::OverwriteIfExistsOrAdd
        }
        _ => return Err(Refusal::unsupported("append_action")),
    };
    let header = header.ok_or_else(|| Refusal::missing("header"))?;
    take!(header => HeaderValue { key, value, raw_value } refuse {});
    let value = match raw_value.is_empty() {
        true => value,
        false => String::from_utf8(raw_value).map_err(|_| {
            Refusal::new("is no text")
                .within("raw_value")
                .within("header")
        })?,
    };
    if value.is_empty() && !keep_empty_value {
        return Err(Refusal::new("is empty and not kept")
            .within("value")
            .within("header"));
    }
    let value = literal(&value).within("value").within("header")?;
    Ok((
        (Arc::from(key.to_ascii_lowercase()), Arc::from(value)),
        action,
    ))
}

/// A value without anything that Envoy would replace.
fn literal(value: &str) -> Result<String, Refusal> {
    let plain = value.replace("%%", "");
    match plain.contains('%') {
        true => Err(Refusal::new(format!(
            "is {value:?}: command operators are not supported, and a percent sign is written %%"
        ))),
        false => Ok(value.replace("%%", "%")),
    }
}

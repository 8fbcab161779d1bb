//! Where notes stand: in a resource's metadata, under the name `weir`, which whoever is not Weir passes over.
//!
//! A note is JSON, as one text: the numbers of protobuf's `Struct` are doubles, and the library keeps its fields in no order,
//! so that one model would have many encodings.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value as WireValue};
use serde_json::Value;

use crate::refusal::Refusal;

const NAMESPACE: &str = "weir";
/// The form that notes have. Another one gets another key, and is refused by those who do not know it.
const FORM: &str = "v1";

/// Metadata that holds this note.
pub(crate) fn of(note: &Value) -> Option<Metadata> {
    let value = WireValue {
        kind: Some(Kind::StringValue(note.to_string())),
    };
    let fields = HashMap::from([(FORM.to_owned(), value)]);
    Some(Metadata {
        filter_metadata: HashMap::from([(NAMESPACE.to_owned(), Struct { fields })]),
        ..Metadata::default()
    })
}

/// The note in metadata; `None` where Weir wrote none. What others keep there is for others.
pub(crate) fn note(metadata: Option<&Metadata>) -> Result<Option<Value>, Refusal> {
    let Some(own) = metadata.and_then(|all| all.filter_metadata.get(NAMESPACE)) else {
        return Ok(None);
    };
    let broken =
        || Refusal::new("holds no note that this version of Weir reads").within("metadata.weir");
    let Some(Kind::StringValue(text)) = own.fields.get(FORM).and_then(|value| value.kind.as_ref())
    else {
        return Err(broken());
    };
    serde_json::from_str(text).map(Some).map_err(|_| broken())
}

/// What a value is amended with; refused where it does not fit.
pub(crate) fn amended<T: crate::noted::Noted>(
    value: &mut T,
    note: Option<&Value>,
) -> Result<(), Refusal> {
    note.map_or(Some(()), |note| value.amend(note))
        .ok_or_else(|| Refusal::new("holds a note that does not fit").within("metadata.weir"))
}

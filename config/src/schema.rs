//! The JSON schema of a configuration file, for editors and for tools that write one.

use schemars::generate::SchemaSettings;

use crate::raw::Document;

/// A JSON Schema (draft 2020-12) of the YAML file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator();
    let mut schema = generator.root_schema_for::<Document>();
    schema.insert("title".to_owned(), "Weir configuration".into());
    schema.to_value()
}

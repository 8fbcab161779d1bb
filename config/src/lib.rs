//! What a user writes, compiled into the model that the data plane runs.
//!
//! The stages are apart so that each input (file, container label, an imported document) meets the
//! others in one place only: `raw` mirrors what was written, [`model`] holds what is valid.

pub mod model;

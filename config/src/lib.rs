//! What a user writes, compiled into the model that the data plane runs.
//!
//! The stages are apart so that each input (file, container label, an imported document) meets the
//! others in one place only: [`raw`] mirrors what was written, [`compile()`] checks and resolves it
//! together, [`model`] holds what is valid.
//!
//! ```
//! let loaded = weir_config::file::parse(std::path::Path::new("weir.yaml"), "
//! listeners: [{ name: web, bind: 127.0.0.1:8080 }]
//! services: [{ name: shop, endpoints: [{ address: 127.0.0.1:9001 }] }]
//! routes: [{ name: shop, rules: [{ backendRefs: [{ name: shop }] }] }]
//! ");
//! let compiled = weir_config::compile(&[loaded.fragment]);
//! assert!(compiled.diagnostics.is_empty());
//! assert_eq!(compiled.model.routes.len(), 1);
//! ```

pub mod diagnostic;
pub mod endpoint_file;
pub mod file;
pub mod labels;
pub mod model;
pub mod raw;
pub mod references;
pub mod settings;
pub mod spiffe;

mod compile;
mod diff;
mod dump;
mod fragment;
mod restore;
mod schema;
mod yaml;

pub use compile::{Compiled, Kept, Memory, check, compile, compile_after, pem};
pub use diagnostic::{Diagnostic, Files, Place, Severity};
pub use diff::{Change, ChangeKind, Diff, diff, diff_dumps};
pub use dump::{dump, dump_authorization};
pub use fragment::Fragment;
pub use references::References;
pub use restore::{Restored, restore};
pub use schema::schema;
pub use settings::Settings;

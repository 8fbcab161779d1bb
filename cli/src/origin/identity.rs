//! Who an origin says it is.

use bytes::Bytes;
use http::HeaderValue;

/// A name and a version, with the bytes of the usual answer made once.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `shop-canary-1 canary\n`
    pub(super) line: Bytes,
    pub(super) name_header: HeaderValue,
    pub(super) version_header: HeaderValue,
}

impl Identity {
    /// Takes a name and a version that fit into a header.
    ///
    /// # Errors
    /// Names the text that does not fit.
    pub(crate) fn new(name: &str, version: &str) -> Result<Self, String> {
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| format!("{text:?} does not fit into a header"))
        };
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            line: Bytes::from(format!("{name} {version}\n")),
            name_header: header(name)?,
            version_header: header(version)?,
        })
    }
}

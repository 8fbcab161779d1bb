//! Where a control plane is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use tonic::transport::Uri;

/// `https://HOST:PORT`, or `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
}

/// A text is no address of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("write https://HOST:PORT, as in https://control.example.com:9902")]
    Form,
    #[error("name the port, as in {0}:9902")]
    Port(String),
}

impl Address {
    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Its host, without the brackets of an address of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or_default()
    }

    /// Whether it is on this machine, as far as its name tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError::Form)?;
        let known = matches!(uri.scheme_str(), Some("https" | "http"));
        let bare = uri.path_and_query().is_none_or(|it| it.as_str() == "/");
        let user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
        if !known || !bare || user || uri.host().is_none_or(str::is_empty) {
            return Err(AddressError::Form);
        }
        match uri.port_u16() {
            Some(_) => Ok(Self { uri }),
            None => Err(AddressError::Port(text.trim_end_matches('/').to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        write!(f, "{scheme}://{authority}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, secure, local) in [
            ("https://control.example.com:9902", true, false),
            ("https://10.0.0.1:9902/", true, false),
            ("http://127.0.0.1:9902", false, true),
            ("http://[::1]:9902", false, true),
            ("http://localhost:9902", false, true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.is_secure(), address.is_local()),
                (secure, local),
                "{text}"
            );
            assert_eq!(address.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "control:9902",
            "ftp://control:9902",
            "https://control:9902/path",
            "https://me@control:9902",
            "https://:9902",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Form), "{text}");
        }
        let error = "https://control".parse::<Address>().unwrap_err();
        assert!(
            error.to_string().contains("https://control:9902"),
            "{error}"
        );
    }
}

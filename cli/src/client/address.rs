//! Where an admin API is.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `http://HOST:PORT` or `unix:///PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// Host and port, as a Host header has them.
    Tcp(String),
    Unix(PathBuf),
}

impl AdminAddress {
    /// What goes into the Host header.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }

    /// Whether it is certainly on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(authority) => {
                let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
            Self::Unix(_) => true,
        }
    }
}

impl Default for AdminAddress {
    fn default() -> Self {
        Self::Tcp("127.0.0.1:9900".into())
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            Err(format!(
                "{text:?} is not an admin address: {why}; write http://HOST:PORT or unix:///PATH"
            ))
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match Path::new(path).is_absolute() {
                true => Ok(Self::Unix(path.into())),
                false => bad("the path of a socket is absolute"),
            };
        }
        if text.starts_with("https://") {
            return bad("the admin API speaks plain HTTP; put TLS in front or use a unix socket");
        }
        let authority = text
            .strip_prefix("http://")
            .unwrap_or(text)
            .trim_end_matches('/');
        if authority.contains(['/', '?', '#', '@', ' ']) || authority.contains("://") {
            return bad("it has neither user, path nor query");
        }
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p != 0) => {
                Ok(Self::Tcp(authority.into()))
            }
            _ => bad("it needs a host and a port"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let tcp = |text: &str| AdminAddress::Tcp(text.into());
        for (text, address) in [
            ("http://127.0.0.1:9900", tcp("127.0.0.1:9900")),
            ("http://weir.internal:9900/", tcp("weir.internal:9900")),
            ("[::1]:9900", tcp("[::1]:9900")),
            (
                "unix:///run/weir.sock",
                AdminAddress::Unix("/run/weir.sock".into()),
            ),
            (
                "unix:/run/weir.sock",
                AdminAddress::Unix("/run/weir.sock".into()),
            ),
        ] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_sockets_are_local() {
        for (text, local) in [
            ("http://127.0.0.1:9900", true),
            ("http://localhost:9900", true),
            ("http://[::1]:9900", true),
            ("unix:///run/weir.sock", true),
            ("http://10.0.0.1:9900", false),
            ("http://127.0.0.1.example.com:9900", false),
        ] {
            assert_eq!(
                text.parse::<AdminAddress>().unwrap().is_local(),
                local,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_right_form() {
        for text in [
            "",
            "9900",
            "http://",
            "http://host",
            "https://host:1",
            "unix://run.sock",
            "http://h:0",
            "http://h:1/x",
            "ftp://h:1",
        ] {
            let why = text.parse::<AdminAddress>().unwrap_err();
            assert!(
                why.contains("http://HOST:PORT or unix:///PATH"),
                "{text}: {why}"
            );
        }
    }
}

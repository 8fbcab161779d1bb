//! Names of workloads in the mesh: SPIFFE ids.
//!
//! The rules are those of the SPIFFE-ID standard (sections 2.1 to 2.3): a trust domain of lower case letters, digits, `.`, `-`
//! and `_`, then a path of segments that also hold upper case letters. Nothing is normalised and nothing is escaped, so that two
//! ids are the same exactly when their bytes are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Invalid, ServiceName};

const SCHEME: &str = "spiffe://";
/// Bytes of a whole id (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;
/// Bytes of a trust domain (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN: usize = 255;
/// Where services are.
const SERVICES: &str = "/svc/";
/// The control plane itself.
const CONTROL: &str = "/control";

/// Whose certificates mean something: `weir.local`, `prod.example.org`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Takes 1 to 255 lower case letters, digits, `.`, `-` and `_`.
    ///
    /// # Errors
    /// [`Invalid`] names the first character that does not fit, or the length.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > MAX_TRUST_DOMAIN {
            return Err(Invalid(format!(
                "a trust domain has 1 to {MAX_TRUST_DOMAIN} characters, this one has {}",
                text.len()
            )));
        }
        let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        match text.chars().find(|&c| !fits(c)) {
            None => Ok(Self(Arc::from(text))),
            Some(c) => Err(Invalid(format!(
                "a trust domain holds lower case letters, digits, '.', '-' and '_' only; {text:?} has {c:?}"
            ))),
        }
    }

    /// As it is written, without the scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TrustDomain {
    /// `weir.local`
    fn default() -> Self {
        Self(Arc::from("weir.local"))
    }
}

/// Who a workload is: `spiffe://weir.local/svc/shop`. Compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Where the path begins.
    path: usize,
}

impl SpiffeId {
    /// Reads an id as it stands in a certificate.
    ///
    /// # Errors
    /// [`Invalid`] says what a SPIFFE id must not hold.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_ID {
            return Err(Invalid(format!(
                "a SPIFFE id has at most {MAX_ID} bytes, this one has {}",
                text.len()
            )));
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(Invalid(format!(
                "{text:?} is not a SPIFFE id; write spiffe://TRUST-DOMAIN/PATH"
            )));
        };
        let domain = rest.split('/').next().unwrap_or_default();
        TrustDomain::new(domain)?;
        check_path(&rest[domain.len()..])?;
        Ok(Self {
            path: SCHEME.len() + domain.len(),
            text: Arc::from(text),
        })
    }

    /// The id of a service.
    ///
    /// # Errors
    /// [`Invalid`] for a name that no path can hold, such as one with a colon.
    pub fn of_service(domain: &TrustDomain, service: &ServiceName) -> Result<Self, Invalid> {
        Self::new(&format!("{SCHEME}{}{SERVICES}{service}", domain.0)).map_err(|Invalid(why)| {
            Invalid(format!("service {service} cannot be in the mesh: {why}"))
        })
    }

    /// The id of the control plane.
    #[must_use]
    pub fn of_control(domain: &TrustDomain) -> Self {
        Self {
            text: Arc::from(format!("{SCHEME}{}{CONTROL}", domain.0)),
            path: SCHEME.len() + domain.0.len(),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose certificates it is in.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(Arc::from(self.domain_text()))
    }

    /// From its first slash on; empty for the id of a trust domain itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.path..]
    }

    /// The service that it is of; `None`: it is no service's.
    #[must_use]
    pub fn service(&self) -> Option<ServiceName> {
        ServiceName::new(self.path().strip_prefix(SERVICES)?).ok()
    }

    /// Whether it is the control plane's of that trust domain.
    #[must_use]
    pub fn is_control_of(&self, domain: &TrustDomain) -> bool {
        self.domain_text() == domain.as_str() && self.path() == CONTROL
    }

    /// Whether it is of that trust domain.
    #[must_use]
    pub fn is_in(&self, domain: &TrustDomain) -> bool {
        self.domain_text() == domain.as_str()
    }

    fn domain_text(&self) -> &str {
        &self.text[SCHEME.len()..self.path]
    }
}

/// Nothing, or segments with a slash before each.
fn check_path(path: &str) -> Result<(), Invalid> {
    let Some(segments) = path.strip_prefix('/') else {
        return Ok(());
    };
    for segment in segments.split('/') {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if segment.is_empty() {
            return Err(Invalid(format!(
                "the path of a SPIFFE id has no empty segment and no slash at its end; {path:?} has"
            )));
        }
        if segment == "." || segment == ".." {
            return Err(Invalid(format!(
                "the path of a SPIFFE id has no segment {segment:?}; {path:?} has"
            )));
        }
        if let Some(c) = segment.chars().find(|&c| !fits(c)) {
            return Err(Invalid(format!(
                "the path of a SPIFFE id holds letters, digits, '.', '-' and '_' only; {path:?} has {c:?}"
            )));
        }
    }
    Ok(())
}

macro_rules! as_text {
    ($ty:ty, $of:expr) => {
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($of(self))
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt($of(self), f)
            }
        }

        impl FromStr for $ty {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }
    };
}

as_text!(TrustDomain, TrustDomain::as_str);
as_text!(SpiffeId, SpiffeId::as_str);

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> TrustDomain {
        TrustDomain::new(text).unwrap()
    }

    fn service(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    #[test]
    fn a_trust_domain_is_lower_case_and_nothing_else() {
        for good in ["weir.local", "a", "my_domain-1.example", &"x".repeat(255)] {
            assert_eq!(domain(good).as_str(), good);
        }
        let long = "x".repeat(256);
        for bad in [
            "", "Weir", "a/b", "a:1", "a@b", "a%20b", "a b", "a\0", "é", "xn–a", &long,
        ] {
            assert!(TrustDomain::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_has_a_scheme_a_trust_domain_and_whole_segments() {
        for good in [
            "spiffe://a",
            "spiffe://a/svc/shop",
            "spiffe://a/svc/Shop_1.eu-2",
            "spiffe://a/ns/x/sa/y",
            "spiffe://a/...",
        ] {
            assert_eq!(SpiffeId::new(good).unwrap().as_str(), good);
        }
        let long = format!("spiffe://a/{}", "x".repeat(2048));
        for bad in [
            "",
            "spiffe://",
            "spiffe:///svc/shop",
            "SPIFFE://a/b",
            "http://a/b",
            "spiffe://A/b",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://a/svc/shop?x",
            "spiffe://a/svc/shop#x",
            "spiffe://a/svc/sh%6fp",
            "spiffe://a/svc/shop\0",
            "spiffe://a/svc/shop ",
            "spiffe://a/svc/shо\u{440}",
            "spiffe://a:80/b",
            "spiffe://u@a/b",
            &long,
        ] {
            assert!(SpiffeId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_services_id_is_read_back_as_the_service() {
        let id = SpiffeId::of_service(&TrustDomain::default(), &service("shop")).unwrap();
        assert_eq!(id.as_str(), "spiffe://weir.local/svc/shop");
        assert_eq!(id.service(), Some(service("shop")));
        assert!(id.is_in(&domain("weir.local")) && !id.is_in(&domain("weir.loca")));
        for no in ["a:b", "a@b", "a//b", "a/../b", "a/", "/a"] {
            assert!(
                SpiffeId::of_service(&domain("a"), &service(no)).is_err(),
                "{no}"
            );
        }
        let other = SpiffeId::new("spiffe://weir.local/svc").unwrap();
        assert_eq!(other.service(), None);
    }

    #[test]
    fn the_control_plane_is_no_service() {
        let id = SpiffeId::of_control(&domain("a.b"));
        assert_eq!(SpiffeId::new(id.as_str()).unwrap(), id);
        assert!(id.is_control_of(&domain("a.b")) && !id.is_control_of(&domain("a")));
        assert_eq!(id.service(), None);
        let fake = SpiffeId::of_service(&domain("a.b"), &service("control")).unwrap();
        assert!(!fake.is_control_of(&domain("a.b")));
    }

    proptest::proptest! {
        /// The standard's grammar, written a second way.
        #[test]
        fn what_is_taken_is_what_the_standard_allows(text in "(spiffe://)?[a-cA-C0-1._/%:@~-]{0,24}|\\PC{0,20}") {
            let grammar = regex::Regex::new(r"\Aspiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*\z").unwrap();
            let dots = text.split('/').skip(3).any(|segment| segment == "." || segment == "..");
            let id = SpiffeId::new(&text);
            proptest::prop_assert_eq!(id.is_ok(), grammar.is_match(&text) && !dots);
            if let Ok(id) = id {
                proptest::prop_assert_eq!(id.as_str(), &text);
                proptest::prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            }
        }
    }
}

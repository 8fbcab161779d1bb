//! An identity from the control plane's authority: by a token the first time, by itself from then on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use weir_config::model::{ServiceName, TrustDomain};
use weir_wire::mesh::{AuthorityClient, BundleRequest, IssueRequest};
use weir_xds_client::{Address, Line};

use crate::channel::{AskError, connect, roots_of_file, trust_of};
use crate::identity::Identity;
use crate::key::Fresh;
use crate::verify::Trust;
use crate::world::World;

/// Where container engines put a token that is given as a secret.
pub const TOKEN_SECRET: &str = "/run/secrets/weir-token";
/// From a question to its answer, once there is a connection.
const ANSWER: Duration = Duration::from_secs(15);
/// Digits of the fingerprint at the end of a token.
const PIN_DIGITS: usize = 32;

/// What is asked of which authority.
#[derive(Debug, Clone)]
pub struct FromAuthority {
    /// Where to ask: in turn, until one answers. At least one.
    pub control: Vec<Address>,
    /// Whose certificate this is to be.
    pub service: ServiceName,
    /// `None`: whichever the control plane is of.
    pub trust_domain: Option<TrustDomain>,
    /// For the first certificate, or for one after the last has ended. `None`: there is none but in [`TOKEN_SECRET`].
    pub token: Option<TokenSource>,
    /// Authorities of the control plane's certificate, where it has one of its own (`control.tls`). `None`: the fingerprint in
    /// the token, and later the mesh's roots, say who it is.
    pub ca: Option<PathBuf>,
    /// Where the identity is kept over a restart. `None`: nowhere.
    pub dir: Option<PathBuf>,
}

/// Where a token is. It does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenSource {
    Text(String),
    /// Read each time that one is needed.
    File(PathBuf),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(not shown)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What an authority says of roots.
pub(crate) struct Told {
    pub(crate) bundle: Vec<Vec<u8>>,
    pub(crate) renew: bool,
    pub(crate) ask_again_ms: i64,
}

/// A certificate that came, and in how many milliseconds to ask for the bundle.
pub(crate) struct Came {
    pub(crate) identity: Identity,
    pub(crate) ask_again_ms: i64,
}

impl FromAuthority {
    /// Whether a token could be had.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some() || Path::new(TOKEN_SECRET).exists()
    }

    /// A certificate by a token, for a key that may have asked with it before.
    pub(crate) async fn join(&self, key: &Fresh, world: &World) -> Result<Came, AskError> {
        let token = self.read_token()?;
        let pin = pin_of(&token).ok_or_else(|| {
            AskError::Refused(
                "what is given is not a token, which looks like weir.ID.SECRET.PIN; make one with weir token create".to_owned(),
            )
        })?;
        let trust = match &self.ca {
            Some(path) => Trust::Named(Arc::new(roots_of_file(path)?)),
            None => Trust::Pin(pin),
        };
        self.of_any(|control| {
            let (trust, domain) = (trust.clone(), self.trust_domain.clone());
            let token = token.clone();
            async move {
                let client = connect(control, trust, domain, None, world).await?;
                self.issue(client, key, token).await
            }
        })
        .await
    }

    /// The next certificate, to whom has one.
    pub(crate) async fn renew(&self, own: &Identity, world: &World) -> Result<Came, AskError> {
        // A fresh key each time: one that leaked is of no use for long.
        let key = &Fresh::make().map_err(AskError::failed)?;
        self.of_any(|control| async move {
            let client = self.connect_as(own, control, world).await?;
            self.issue(client, key, String::new()).await
        })
        .await
    }

    /// What is trusted now. Asked on the connection that is there anyway, for this happens every minute and a handshake is much
    /// work for both ends; on one of its own where there is none, or where that fails.
    pub(crate) async fn ask(
        &self,
        own: &Identity,
        line: &Line,
        world: &World,
    ) -> Result<Told, AskError> {
        if let Some(channel) = line.to_any(&self.control)
            && let Ok(told) = ask_on(AuthorityClient::new(channel), own).await
        {
            return Ok(told);
        }
        self.of_any(|control| async move {
            ask_on(self.connect_as(own, control, world).await?, own).await
        })
        .await
    }

    /// What the first control plane says that answers. A refusal is one only where all of them refuse: another may know the
    /// token, and one that cannot be reached now may later.
    async fn of_any<'a, T, Answer>(
        &'a self,
        ask: impl Fn(&'a Address) -> Answer,
    ) -> Result<T, AskError>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        let (mut are_refusals, mut whys) = (true, Vec::new());
        for control in &self.control {
            let error = match ask(control).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            are_refusals &= matches!(error, AskError::Refused(_));
            whys.push(match self.control.len() {
                1 => error.to_string(),
                _ => format!("{control}: {error}"),
            });
        }
        let why = whys.join("; ");
        Err(match are_refusals {
            true => AskError::Refused(why),
            false => AskError::Failed(why),
        })
    }

    async fn connect_as(
        &self,
        own: &Identity,
        control: &Address,
        world: &World,
    ) -> Result<AuthorityClient, AskError> {
        let trust = trust_of(own, self.ca.as_deref())?;
        let domain = Some(own.id.trust_domain());
        connect(control, trust, domain, Some(own), world).await
    }

    async fn issue(
        &self,
        mut client: AuthorityClient,
        key: &Fresh,
        token: String,
    ) -> Result<Came, AskError> {
        let request = IssueRequest {
            csr: key.request().map_err(AskError::failed)?,
            token,
            service: self.service.to_string(),
        };
        let answer = in_time(client.issue(request)).await?;
        let identity =
            Identity::new(answer.chain, key.private(), answer.bundle).map_err(|error| {
                AskError::Failed(format!(
                    "what the control plane sent is no identity: {error}"
                ))
            })?;
        self.check(&identity)?;
        Ok(Came {
            identity,
            ask_again_ms: sane(answer.ask_again_ms),
        })
    }

    /// That it is ours: also an identity that was kept may be of a service that this was before.
    pub(crate) fn check(&self, identity: &Identity) -> Result<(), AskError> {
        let id = &identity.id;
        let domain = self
            .trust_domain
            .as_ref()
            .is_none_or(|domain| id.is_in(domain));
        match domain && id.service().as_ref() == Some(&self.service) {
            true => Ok(()),
            false => Err(AskError::Failed(format!(
                "{id} is not service {} of {}",
                self.service,
                self.trust_domain
                    .as_ref()
                    .map_or("any trust domain", TrustDomain::as_str)
            ))),
        }
    }

    fn read_token(&self) -> Result<String, AskError> {
        let default = TokenSource::File(TOKEN_SECRET.into());
        match self.token.as_ref().unwrap_or(&default) {
            TokenSource::Text(text) => Ok(text.trim().to_owned()),
            TokenSource::File(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| {
                    AskError::Refused(format!(
                        "the token cannot be read from {}: {error}; make one with weir token create",
                        path.display()
                    ))
                })?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

async fn ask_on(mut client: AuthorityClient, own: &Identity) -> Result<Told, AskError> {
    let have = own.bundle_digest();
    let answer = in_time(client.bundle(BundleRequest { have })).await?;
    Ok(Told {
        bundle: answer.bundle,
        renew: answer.renew,
        ask_again_ms: sane(answer.ask_again_ms),
    })
}

/// A server that takes a question and does not answer it is one that failed.
async fn in_time<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, AskError> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    let answer = answer.map_err(|_| AskError::Failed(format!("no answer within {ANSWER:?}")))?;
    answer.map_err(AskError::from)
}

/// The fingerprint at the end of a token.
fn pin_of(token: &str) -> Option<[u8; 16]> {
    let mut parts = token.split('.');
    let (Some("weir"), Some(_), Some(_), Some(pin), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return None;
    };
    if pin.len() != PIN_DIGITS || !pin.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 16];
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(pin.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// Whatever a server says, it is asked neither all the time nor never.
fn sane(ask_again_ms: u64) -> i64 {
    i64::try_from(ask_again_ms)
        .unwrap_or(i64::MAX)
        .clamp(1_000, 5 * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_the_end_of_a_token() {
        let pin = "00ff".repeat(8);
        assert_eq!(
            pin_of(&format!("weir.a.b.{pin}")),
            Some([0, 255].repeat(8).try_into().unwrap())
        );
        for bad in ["", "weir", "weir.a.b", "weir.a.b.", "weir.a.b.00"] {
            assert_eq!(pin_of(bad), None, "{bad}");
        }
        assert_eq!(pin_of(&format!("weir.a.b.{pin}.c")), None);
        assert_eq!(pin_of(&format!("other.a.b.{pin}")), None);
        assert_eq!(pin_of(&format!("weir.a.b.{}", "+f".repeat(16))), None);
    }

    #[test]
    fn a_token_does_not_show() {
        let source = TokenSource::Text("weir.a.secret.pin".into());
        assert!(!format!("{source:?}").contains("secret"));
    }
}

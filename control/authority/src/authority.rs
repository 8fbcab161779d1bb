//! The whole: asked for certificates and tokens, told to rotate, looked at from time to time.

mod kept;
mod owed;
pub(crate) mod rotate;
pub(crate) mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::CertificateDer;
use weir_config::model::{ServiceName, SpiffeId, TrustDomain};
use weir_config::settings::Mesh;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::attempts::Attempts;
use crate::ca::{Random, SignError, Wanted, hex};
use crate::csr::RequestedKey;
use crate::error::OpenError;
use crate::holders::{Holder, Holders};
use crate::home::Opening;
use crate::records::{Change, Records};
use crate::refused::Refused;
use crate::source::{ServerCertificate, Source, View};
use crate::token::{Redemption, TokenText, Tokens};
use kept::{Kept, LEAVES, TOKENS, json};
use owed::Owed;

/// Where the roots are, in the state directory.
const DIR: &str = "mesh";
/// How long the control plane's own certificate lives at most, in seconds.
const SERVER_LIFETIME: i64 = 24 * 3600;
/// How often workloads ask what is to be trusted, in seconds: when nothing changes, and during a rotation.
const ASK: i64 = 60;
const ASK_ROTATING: i64 = 5;

/// Time and randomness.
#[derive(Clone)]
pub struct World {
    /// Seconds since 1970.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Fills with bytes that nobody can guess.
    pub random: Arc<Random>,
}

/// What an authority is opened with.
pub struct Options {
    pub mesh: Mesh,
    /// Where the roots are kept; needed unless the mesh names files.
    pub state_dir: Option<PathBuf>,
    pub records: Arc<dyn Records>,
    pub world: World,
}

/// The mesh's authority.
pub struct Authority {
    mesh: Mesh,
    records: Arc<dyn Records>,
    world: World,
    inner: Mutex<Inner>,
}

struct Inner {
    source: Source,
    view: Arc<View>,
    tokens: Tokens,
    holders: Holders,
    owed: Owed,
    attempts: Attempts,
}

/// Who is at the other end of a connection, by the certificate that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub id: SpiffeId,
    /// In hexadecimal.
    pub serial: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// A certification request in DER.
    pub csr: &'a [u8],
    /// Whose certificate is asked for; empty: of the service of the certificate shown.
    pub service: &'a str,
    /// Empty: none was sent.
    pub token: &'a str,
    pub shown: Option<&'a Shown>,
    pub from: IpAddr,
}

/// A certificate with all that its holder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub id: SpiffeId,
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    pub bundle: Vec<CertificateDer<'static>>,
    /// Seconds since 1970.
    pub not_after: i64,
    /// In how many seconds to ask for the bundle.
    pub ask_again: i64,
}

/// What is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub ders: Vec<CertificateDer<'static>>,
    /// Whether who asked is to get a new certificate now, because the root of the one it has is going.
    pub renew: bool,
    /// In how many seconds to ask again.
    pub ask_again: i64,
}

impl Authority {
    /// Opens what there is, and makes a root at the first start.
    ///
    /// # Errors
    /// [`OpenError`] names the file and what to check.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let Options {
            mesh,
            state_dir,
            records,
            world,
        } = options;
        let now = (world.now)();
        let (source, view) = {
            let with = Opening {
                domain: &mesh.trust_domain,
                lifetime: seconds(mesh.leaf_lifetime),
                now,
                random: &*world.random,
            };
            match (&mesh.ca, &state_dir) {
                (Some(files), _) => Source::given(files, &with)?,
                (None, Some(dir)) => Source::made(&dir.join(DIR), &with)?,
                (None, None) => return Err(OpenError::NoPlace),
            }
        };
        let made_now = source
            .state()
            .and_then(|state| state.lifetimes.first().copied());
        let made_now = made_now.is_some_and(|(made, _)| made == now);
        let kept = Kept::load(&*records, now, made_now).await?;
        let mut holders = kept.holders;
        if let (Some(since), Some(state)) = (kept.unknown_before, source.state()) {
            holders.unknown(state.last_end(since));
        }
        if let Source::Made(home) = &source
            && !kept.first
            && !home.is_whole()
        {
            holders.unknown(home.state.last_end(now));
        }
        let mut inner = Inner {
            source,
            view: Arc::new(view),
            tokens: kept.tokens,
            holders,
            owed: Owed::default(),
            attempts: Attempts::default(),
        };
        inner.settle(now);
        Ok(Self {
            mesh,
            records,
            world,
            inner: Mutex::new(inner),
        })
    }

    /// Whose identities these are.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.mesh.trust_domain
    }

    /// What is in force; another one each time that something changed.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.lock().view)
    }

    /// The roots that are trusted now.
    #[must_use]
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.lock().view.bundle.clone()
    }

    /// Who it is that shows this chain, now.
    ///
    /// # Errors
    /// Why it is nobody of this mesh.
    pub fn identify(&self, chain: &[CertificateDer<'_>]) -> Result<Shown, String> {
        let view = self.view();
        let id = crate::verify::client(chain, &view.bundle, (self.world.now)())?;
        if !id.is_in(&self.mesh.trust_domain) {
            return Err(format!("{id} is of another trust domain"));
        }
        let (_, own) = X509Certificate::from_der(&chain[0]).map_err(|error| error.to_string())?;
        Ok(Shown {
            id,
            serial: hex(own.raw_serial()),
        })
    }

    /// A certificate for the control plane, under its names.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn server(&self, names: &[String]) -> Result<ServerCertificate, SignError> {
        let lifetime = self.lifetime().min(SERVER_LIFETIME);
        let times = ((self.world.now)(), lifetime);
        let id = SpiffeId::of_control(&self.mesh.trust_domain);
        let random = &*self.world.random;
        self.view().server(&id, names, times, random)
    }

    /// A certificate for a service's proxy in the authority's own process, which needs no token and keeps no key on disk.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn own(&self, service: &ServiceName) -> Result<ServerCertificate, SignError> {
        let id = SpiffeId::of_service(&self.mesh.trust_domain, service)?;
        let times = ((self.world.now)(), self.lifetime());
        self.view().server(&id, &[], times, &*self.world.random)
    }

    /// What is trusted, for somebody that trusts what `have` is the digest of.
    #[must_use]
    pub fn bundle(&self, shown: Option<&Shown>, have: &str) -> Bundle {
        let mut inner = self.lock();
        if let Some(shown) = shown
            && let Some(before) = inner.holders.trusts(&shown.serial, have)
        {
            inner.owed.forget(before);
        }
        let going = shown.is_some_and(|shown| inner.is_of_going(&shown.serial));
        Bundle {
            ders: inner.view.bundle.clone(),
            renew: going,
            ask_again: inner.ask_again(),
        }
    }

    /// Hands out a certificate, for a token or to somebody that has one already.
    ///
    /// A token is used up, and the certificate written down, on disk before this returns. A certificate that was renewed goes out also
    /// when the disk takes nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn issue(&self, asked: &Asked<'_>) -> Result<Issued, Refused> {
        let now = (self.world.now)();
        if !asked.token.is_empty() && !self.lock().attempts.allows(asked.from, now) {
            return Err(Refused::TooMany);
        }
        let outcome = self.decide(asked, now).await;
        if !asked.token.is_empty() && outcome.as_ref().is_err_and(Refused::is_guess) {
            self.lock().attempts.failed(asked.from, now);
        }
        outcome
    }

    async fn decide(&self, asked: &Asked<'_>, now: i64) -> Result<Issued, Refused> {
        match (asked.token.is_empty(), asked.shown) {
            (false, _) => self.issue_by_token(asked, now).await,
            (true, Some(shown)) => self.issue_again(asked, shown).await,
            (true, None) => Err(Refused::NoProof),
        }
    }

    async fn issue_by_token(&self, asked: &Asked<'_>, now: i64) -> Result<Issued, Refused> {
        let text: TokenText = asked.token.parse()?;
        let service = ServiceName::new(asked.service)?;
        let from = asked.from.to_string();
        // What it costs to look at the request is spent for right tokens alone.
        let mut redemption = Redemption {
            text: &text,
            service: &service,
            key: &[0; 32],
            from: &from,
            now,
        };
        match self.lock().tokens.check(&redemption) {
            Ok(()) | Err(crate::token::TokenRefused::Used) => {}
            Err(refused) => return Err(refused.into()),
        }
        let key = RequestedKey::read(asked.csr)?;
        let digest = key.digest();
        redemption.key = &digest;
        let (issued, redeemed, change) = {
            let mut inner = self.lock();
            inner.tokens.check(&redemption)?;
            let (issued, mut change) = self.sign(&inner, &service, &key, None)?;
            let redeemed = inner.tokens.redeem(&redemption)?;
            let (_, after) = &redeemed;
            change.push((format!("{TOKENS}{}", after.id), Some(json(after))));
            (issued, redeemed, change)
        };
        if let Err(error) = self.records.change(change).await {
            // No certificate leaves, so the token may still be used, if only by who finds it unused on disk.
            self.lock().tokens.restore(redeemed);
            return Err(error.into());
        }
        Ok(self.note(issued, &[]))
    }

    async fn issue_again(&self, asked: &Asked<'_>, shown: &Shown) -> Result<Issued, Refused> {
        let own = shown.id.service();
        let fits = own
            .as_ref()
            .filter(|own| asked.service.is_empty() || own.as_str() == asked.service);
        let Some(service) = fits else {
            return Err(Refused::OtherService {
                own: shown.id.to_string(),
                asked: asked.service.to_owned(),
            });
        };
        let key = RequestedKey::read(asked.csr)?;
        let (issued, mut change, replaced) = {
            let inner = self.lock();
            let (issued, change) = self.sign(&inner, service, &key, Some(shown))?;
            (issued, change, inner.holders.replaced_by(&shown.serial))
        };
        let gone = replaced.iter();
        change.extend(gone.map(|serial| (format!("{LEAVES}{serial}"), None)));
        if let Err(error) = self.records.change(change).await {
            self.owe(&issued, &replaced, &error);
        }
        Ok(self.note(issued, &replaced))
    }

    /// Signs, and says what is to be written down before it may be handed out.
    fn sign(
        &self,
        inner: &Inner,
        service: &ServiceName,
        key: &RequestedKey,
        shown: Option<&Shown>,
    ) -> Result<(Signed, Change), Refused> {
        if inner.holders.is_full(service.as_str()) {
            return Err(Refused::TooManyCertificates(service.to_string()));
        }
        let view = &inner.view;
        let id = SpiffeId::of_service(&self.mesh.trust_domain, service)?;
        let wanted = Wanted {
            id: &id,
            names: &[],
            lifetime: self.lifetime(),
            now: (self.world.now)(),
        };
        let leaf = view.ca.sign(&wanted, &key.0, &*self.world.random)?;
        let parent = shown.map(|shown| shown.serial.clone());
        let root = view.root.clone();
        let holder = Holder::new(service.to_string(), root, leaf.not_after, parent);
        let change = vec![(format!("{LEAVES}{}", leaf.serial), Some(json(&holder)))];
        let signed = Signed {
            serial: leaf.serial,
            holder,
            issued: Issued {
                id,
                chain: view.chain(leaf.der),
                bundle: view.bundle.clone(),
                not_after: leaf.not_after,
                ask_again: ASK,
            },
        };
        Ok((signed, change))
    }

    /// Remembers who holds it, and forgets what its holder no longer needs.
    fn note(&self, signed: Signed, replaced: &[String]) -> Issued {
        let mut inner = self.lock();
        for serial in replaced {
            inner.holders.remove(serial);
            inner.owed.unwritten.remove(serial);
        }
        inner.holders.insert(signed.serial, signed.holder);
        Issued {
            // What was signed may be of a root that is going by now, or trust too little.
            ask_again: inner.ask_again(),
            ..signed.issued
        }
    }

    fn lifetime(&self) -> i64 {
        seconds(self.mesh.leaf_lifetime)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signed, and not handed out yet.
struct Signed {
    serial: String,
    holder: Holder,
    issued: Issued,
}

impl Inner {
    fn ask_again(&self) -> i64 {
        match self.source.state() {
            Some(state) if state.due().is_some() => ASK_ROTATING,
            _ => ASK,
        }
    }

    fn is_of_going(&self, serial: &str) -> bool {
        self.source
            .state()
            .is_some_and(|state| self.holders.is_of_going(state, serial))
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

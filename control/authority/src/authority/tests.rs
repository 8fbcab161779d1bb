use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SanType};
use x509_parser::prelude::{GeneralName, X509Certificate};

use super::*;
use crate::records::RecordsError;
use crate::refused::RotationRefused;
use crate::rotation::{Phase, SETTLE};
use crate::token::TokenRefused;

const HOUR: i64 = 3600;
const NOW: i64 = 1_800_000_000;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// A disk that can be full.
#[derive(Default)]
struct Disk {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    full: AtomicBool,
    /// For the next change alone, and it takes its time to find out.
    full_once: AtomicBool,
}

impl Records for Disk {
    fn load(&self) -> BoxFuture<'_, Result<crate::records::Entries, RecordsError>> {
        let all = self.values.lock().unwrap().clone();
        async { Ok(all.into_iter().collect()) }.boxed()
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), RecordsError>> {
        if self.full.load(SeqCst) {
            return async { Err(RecordsError("no room".into())) }.boxed();
        }
        if self.full_once.swap(false, SeqCst) {
            return async {
                tokio::task::yield_now().await;
                Err(RecordsError("no room".into()))
            }
            .boxed();
        }
        let mut values = self.values.lock().unwrap();
        for (key, value) in change {
            match value {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
        async { Ok(()) }.boxed()
    }
}

struct Place {
    dir: tempfile::TempDir,
    disk: Arc<Disk>,
    now: Arc<AtomicI64>,
    mesh: Mesh,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            disk: Arc::default(),
            now: Arc::new(AtomicI64::new(NOW)),
            mesh: Mesh::default(),
        }
    }

    fn open(&self) -> Authority {
        self.open_in(Some(self.dir.path())).unwrap()
    }

    fn open_in(&self, dir: Option<&Path>) -> Result<Authority, OpenError> {
        let now = Arc::clone(&self.now);
        block_on(Authority::open(Options {
            mesh: self.mesh.clone(),
            state_dir: dir.map(Path::to_path_buf),
            records: Arc::clone(&self.disk) as Arc<dyn Records>,
            world: World {
                now: Arc::new(move || now.load(SeqCst)),
                random: Arc::new(|bytes| rand::fill(bytes)),
            },
        }))
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, SeqCst);
    }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .der()
        .to_vec()
}

fn token(authority: &Authority, service: &str) -> String {
    let service = ServiceName::new(service).unwrap();
    let (_, text) = block_on(authority.create_token(&service, HOUR, "ann")).unwrap();
    text.reveal()
}

fn ask(
    authority: &Authority,
    csr: &[u8],
    service: &str,
    token: &str,
    shown: Option<&Shown>,
) -> Result<Issued, Refused> {
    let asked = Asked {
        csr,
        service,
        token,
        shown,
        from: IpAddr::from([10, 0, 0, 1]),
    };
    block_on(authority.issue(&asked))
}

fn join(authority: &Authority, service: &str) -> Issued {
    ask(
        authority,
        &csr(&key()),
        service,
        &token(authority, service),
        None,
    )
    .unwrap()
}

fn who(authority: &Authority, issued: &Issued) -> Shown {
    authority.identify(&issued.chain).unwrap()
}

fn word(result: Result<Issued, Refused>) -> &'static str {
    result.map_or_else(|refused| refused.word(), |_| "issued")
}

#[test]
fn a_certificate_says_who_and_nothing_that_was_asked_for() {
    let place = Place::new();
    let authority = place.open();
    let key = key();
    let mut params = CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI(
        "spiffe://weir.local/svc/bank".try_into().unwrap(),
    ));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key).unwrap();
    let issued = ask(
        &authority,
        request.der(),
        "shop",
        &token(&authority, "shop"),
        None,
    )
    .unwrap();
    let (_, got) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    let names = got.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert!(matches!(
        names.value.general_names[..],
        [GeneralName::URI("spiffe://weir.local/svc/shop")]
    ));
    assert_eq!(got.subject().iter().count(), 0);
    assert!(!got.is_ca());
    let usage = got.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature alone");
    let extended = got.extended_key_usage().unwrap().unwrap().value;
    assert!(
        extended.client_auth && extended.server_auth && !extended.any && extended.other.is_empty()
    );
    assert_eq!(got.public_key().raw, key.subject_public_key_info());
    assert_eq!(got.validity().not_before.timestamp(), NOW - 300);
    assert_eq!(got.validity().not_after.timestamp(), NOW + 24 * HOUR);
    assert!(got.raw_serial().len() == 16);
    assert_eq!(issued.bundle, authority.roots());
    assert_eq!(
        who(&authority, &issued).id.as_str(),
        "spiffe://weir.local/svc/shop"
    );
}

#[test]
fn serials_differ_and_short_lives_begin_no_earlier_than_they_are_long() {
    let mut place = Place::new();
    place.mesh.leaf_lifetime = std::time::Duration::from_secs(60);
    let authority = place.open();
    let (a, b) = (join(&authority, "shop"), join(&authority, "shop"));
    assert_ne!(who(&authority, &a).serial, who(&authority, &b).serial);
    assert_eq!(crate::ca::validity(&a.chain[0]), Some((NOW - 60, NOW + 60)));
}

#[test]
fn nothing_lives_longer_than_what_signed_it() {
    let place = Place::new();
    let authority = place.open();
    let end = authority.standing().not_after;
    place.now.store(end - HOUR, SeqCst);
    assert_eq!(join(&authority, "shop").not_after, end);
    place.now.store(end, SeqCst);
    let (csr, token) = (csr(&key()), token(&authority, "shop"));
    assert_eq!(
        word(ask(&authority, &csr, "shop", &token, None)),
        "cannot_sign"
    );
}

#[test]
fn a_token_is_used_up_on_disk_before_anything_is_handed_out() {
    let place = Place::new();
    let authority = place.open();
    let text = token(&authority, "shop");
    place.disk.full.store(true, SeqCst);
    let request = csr(&key());
    assert_eq!(
        word(ask(&authority, &request, "shop", &text, None)),
        "cannot_keep"
    );
    place.disk.full.store(false, SeqCst);
    ask(&authority, &request, "shop", &text, None).unwrap();
    // The answer was lost in a crash: who comes back with what is on disk finds it used, but for the holder of the same key.
    drop(authority);
    let authority = place.open();
    assert_eq!(
        word(ask(&authority, &csr(&key()), "shop", &text, None)),
        "used_token"
    );
    assert_eq!(
        word(ask(&authority, &request, "shop", &text, None)),
        "issued"
    );
    place.pass(61);
    assert_eq!(
        word(ask(&authority, &request, "shop", &text, None)),
        "used_token"
    );
}

#[test]
fn a_request_that_is_not_right_does_not_use_up_a_token() {
    let place = Place::new();
    let authority = place.open();
    let text = token(&authority, "shop");
    assert_eq!(
        word(ask(&authority, b"nonsense", "shop", &text, None)),
        "bad_request"
    );
    assert_eq!(
        word(ask(&authority, &csr(&key()), "bank", &text, None)),
        "other_service"
    );
    assert_eq!(
        word(ask(&authority, &csr(&key()), "", &text, None)),
        "bad_service"
    );
    assert_eq!(
        word(ask(&authority, &csr(&key()), "shop", &text, None)),
        "issued"
    );
}

#[test]
fn who_has_a_certificate_gets_the_next_of_the_same_service_alone() {
    let place = Place::new();
    let authority = place.open();
    let shown = who(&authority, &join(&authority, "shop"));
    let request = csr(&key());
    assert_eq!(
        word(ask(&authority, &request, "shop", "", Some(&shown))),
        "issued"
    );
    assert_eq!(
        word(ask(&authority, &request, "", "", Some(&shown))),
        "issued"
    );
    assert_eq!(
        word(ask(&authority, &request, "bank", "", Some(&shown))),
        "other_service"
    );
    assert_eq!(
        word(ask(&authority, &request, "shop", "", None)),
        "no_proof"
    );
    let control = Shown {
        id: SpiffeId::of_control(authority.trust_domain()),
        serial: "01".into(),
    };
    assert_eq!(
        word(ask(&authority, &request, "", "", Some(&control))),
        "other_service"
    );
}

#[test]
fn who_asks_again_and_again_with_one_certificate_holds_one_more_at_most() {
    let place = Place::new();
    let authority = place.open();
    let shown = who(&authority, &join(&authority, "shop"));
    for _ in 0..5 {
        ask(&authority, &csr(&key()), "shop", "", Some(&shown)).unwrap();
        assert_eq!(authority.standing().holders, 2, "this one and the next");
    }
    // What came back is in use and does not count as lost; the one before is no longer.
    let next = ask(&authority, &csr(&key()), "shop", "", Some(&shown)).unwrap();
    report(&authority, &who(&authority, &next));
    ask(&authority, &csr(&key()), "shop", "", Some(&shown)).unwrap();
    assert_eq!(authority.standing().holders, 2);
    block_on(authority.sweep()).unwrap();
    drop(authority);
    assert_eq!(place.open().standing().holders, 2, "on disk it is the same");
}

#[test]
fn one_service_has_only_so_many_certificates_and_leaves_room_for_others() {
    let place = Place::new();
    let authority = place.open();
    let shown = who(&authority, &join(&authority, "shop"));
    {
        let mut inner = authority.lock();
        for i in 0..crate::holders::MAX_OF_SERVICE {
            let holder = Holder::new("shop".into(), "a".into(), NOW + HOUR, None);
            inner.holders.insert(i.to_string(), holder);
        }
    }
    let request = csr(&key());
    assert_eq!(
        word(ask(&authority, &request, "shop", "", Some(&shown))),
        "too_many_certificates"
    );
    let text = token(&authority, "shop");
    assert_eq!(
        word(ask(&authority, &request, "shop", &text, None)),
        "too_many_certificates"
    );
    assert_eq!(
        authority
            .tokens()
            .iter()
            .filter(|token| token.used.is_none())
            .count(),
        1
    );
    join(&authority, "bank");
}

#[test]
fn wrong_tokens_are_bounded_for_an_address() {
    let place = Place::new();
    let authority = place.open();
    let good = token(&authority, "shop");
    let request = csr(&key());
    for _ in 0..10 {
        assert_eq!(
            word(ask(&authority, &request, "shop", "weir.no", None)),
            "no_token"
        );
    }
    assert_eq!(
        word(ask(&authority, &request, "shop", &good, None)),
        "too_many"
    );
    place.pass(60);
    assert_eq!(
        word(ask(&authority, &request, "shop", &good, None)),
        "issued"
    );
}

#[test]
fn certificates_of_others_are_nobodys() {
    let (place, other) = (Place::new(), Place::new());
    let (authority, stranger) = (place.open(), other.open());
    let issued = join(&authority, "shop");
    assert!(
        stranger.identify(&issued.chain).is_err(),
        "the same trust domain, another root"
    );
    assert!(authority.identify(&[]).is_err());
    place.pass(24 * HOUR + 1);
    assert!(authority.identify(&issued.chain).is_err(), "it has ended");
}

#[test]
fn an_authority_needs_a_place() {
    let error = Place::new().open_in(None).err().unwrap().to_string();
    assert!(
        error.contains("stateDir") && error.contains("mesh.ca"),
        "{error}"
    );
}

/// Tells the authority that it trusts all roots of now.
fn report(authority: &Authority, shown: &Shown) -> Bundle {
    let digest = authority.view().digest.clone();
    authority.bundle(Some(shown), &digest)
}

#[test]
fn a_rotation_waits_for_reports_also_over_a_restart() {
    let place = Place::new();
    let authority = place.open();
    let shop = who(&authority, &join(&authority, "shop"));
    report(&authority, &shop);
    authority.rotate_start().unwrap();
    place.pass(SETTLE);
    assert!(
        !authority.look().unwrap(),
        "what it trusted before is not what it is to trust"
    );
    assert_eq!(authority.standing().awaited, 1);
    // Who is forgotten would not be waited for.
    drop(authority);
    let authority = place.open();
    assert!(!authority.look().unwrap());
    assert_eq!(
        authority.standing().awaited_services,
        BTreeMap::from([("shop".to_owned(), ())])
            .into_keys()
            .collect()
    );
    assert!(!report(&authority, &shop).renew);
    assert!(authority.look().unwrap());
    assert!(matches!(authority.standing().phase, Phase::Retiring { .. }));
    assert!(report(&authority, &shop).renew, "its root is going");
    place.pass(SETTLE);
    assert!(!authority.look().unwrap());
    let next = ask(&authority, &csr(&key()), "shop", "", Some(&shop)).unwrap();
    assert!(
        !authority.look().unwrap(),
        "the answer may be lost, and its holder go on with what it has"
    );
    report(&authority, &who(&authority, &next));
    assert!(authority.look().unwrap());
    assert_eq!(authority.standing().phase, Phase::Steady);
    block_on(authority.sweep()).unwrap();
    drop(authority);
    assert_eq!(
        place.open().standing().holders,
        1,
        "on disk the one before is forgotten as well"
    );
}

#[test]
fn with_lost_records_a_rotation_waits_for_a_lifetime() {
    let place = Place::new();
    join(&place.open(), "shop");
    place.disk.values.lock().unwrap().clear();
    place.pass(HOUR);
    let authority = place.open();
    authority.rotate_start().unwrap();
    let end = NOW + HOUR + 24 * HOUR;
    let standing = authority.standing();
    assert_eq!((standing.awaited, standing.unknown_until), (0, Some(end)));
    place.pass(24 * HOUR);
    assert!(!authority.look().unwrap());
    place.pass(1);
    assert_eq!(authority.standing().unknown_until, None);
    assert!(authority.look().unwrap());
}

#[test]
fn with_a_full_disk_certificates_are_renewed_and_written_down_later() {
    let place = Place::new();
    let authority = place.open();
    let (first, text) = (join(&authority, "shop"), token(&authority, "shop"));
    place.disk.full.store(true, SeqCst);
    let mut shown = who(&authority, &first);
    for _ in 0..3 {
        let next = ask(&authority, &csr(&key()), "shop", "", Some(&shown)).unwrap();
        shown = who(&authority, &next);
        report(&authority, &shown);
    }
    assert_eq!(
        word(ask(&authority, &csr(&key()), "shop", &text, None)),
        "cannot_keep",
        "a token would be good again after a restart"
    );
    let standing = authority.standing();
    assert_eq!((standing.holders, standing.unwritten), (1, 1));
    assert!(block_on(authority.sweep()).is_err());
    // A rotation waits for it as for any other.
    place.disk.full.store(false, SeqCst);
    authority.rotate_start().unwrap();
    place.pass(SETTLE);
    assert_eq!(authority.standing().awaited, 1);
    assert!(!authority.look().unwrap());
    authority.rotate_abort().unwrap();
    block_on(authority.sweep()).unwrap();
    assert_eq!(authority.standing().unwritten, 0);
    drop(authority);
    let standing = place.open().standing();
    assert_eq!((standing.holders, standing.unknown_until), (1, None));
}

#[test]
fn who_was_renewed_and_not_written_down_is_waited_for_after_a_restart() {
    let place = Place::new();
    let authority = place.open();
    let shown = who(&authority, &join(&authority, "shop"));
    assert_eq!(place.open().standing().unknown_until, None);
    place.disk.full.store(true, SeqCst);
    ask(&authority, &csr(&key()), "shop", "", Some(&shown)).unwrap();
    drop(authority);
    place.disk.full.store(false, SeqCst);
    let authority = place.open();
    let end = NOW + 24 * HOUR;
    assert_eq!(authority.standing().unknown_until, Some(end));
    block_on(authority.sweep()).unwrap();
    assert_eq!(
        place.open().standing().unknown_until,
        Some(end),
        "that the disk is well makes nobody known"
    );
    place.pass(24 * HOUR + 1);
    block_on(authority.sweep()).unwrap();
    assert_eq!(place.open().standing().unknown_until, None);
}

#[test]
fn a_token_from_before_leads_to_the_control_plane_while_its_root_is_trusted() {
    let place = Place::new();
    let authority = place.open();
    let old = authority.roots();
    authority.rotate_start().unwrap();
    authority.rotate_force().unwrap();
    let chain = authority.server(&["localhost".to_owned()]).unwrap().chain;
    for root in authority.roots() {
        // As somebody does who knows a root by its fingerprint alone.
        let sent = chain
            .iter()
            .find(|der| **der == root)
            .expect("the root is sent along")
            .clone();
        let usage = webpki::KeyUsage::server_auth();
        crate::verify::check(&chain, &[sent], NOW, usage).unwrap();
    }
    assert!(chain.contains(&old[0]));
}

#[test]
fn what_ended_is_swept() {
    let place = Place::new();
    let authority = place.open();
    join(&authority, "shop");
    place.pass(48 * HOUR + 1);
    block_on(authority.sweep()).unwrap();
    assert_eq!(
        (authority.tokens().len(), authority.standing().holders),
        (0, 0)
    );
    assert_eq!(
        place.disk.values.lock().unwrap().len(),
        1,
        "but since when all is known"
    );
}

#[test]
fn a_token_that_was_revoked_is_gone_unless_the_disk_says_otherwise() {
    let place = Place::new();
    let authority = place.open();
    let text = token(&authority, "shop");
    let id = authority.tokens()[0].id.clone();
    place.disk.full.store(true, SeqCst);
    assert!(block_on(authority.revoke_token(&id)).is_err());
    assert_eq!(authority.tokens().len(), 1);
    place.disk.full.store(false, SeqCst);
    block_on(authority.revoke_token(&id)).unwrap();
    let refused = ask(&authority, &csr(&key()), "shop", &text, None);
    assert!(matches!(
        refused,
        Err(Refused::Token(TokenRefused::Unknown))
    ));
    assert!(block_on(authority.revoke_token(&id)).is_err());
}

#[test]
fn a_token_that_is_revoked_while_the_disk_refuses_it_stays_revoked() {
    let place = Place::new();
    let authority = place.open();
    let text = token(&authority, "shop");
    let id = authority.tokens()[0].id.clone();
    let request = csr(&key());
    let asked = Asked {
        csr: &request,
        service: "shop",
        token: &text,
        shown: None,
        from: IpAddr::from([10, 0, 0, 1]),
    };
    place.disk.full_once.store(true, SeqCst);
    let both = async {
        futures_util::future::join(authority.issue(&asked), authority.revoke_token(&id)).await
    };
    let (issued, revoked) = block_on(both);
    assert_eq!(word(issued), "cannot_keep");
    revoked.unwrap();
    assert!(authority.tokens().is_empty());
    assert_eq!(
        word(ask(&authority, &request, "shop", &text, None)),
        "wrong_token"
    );
}

#[test]
fn given_files_are_read_again_and_say_how_they_are_rotated() {
    let mut place = Place::new();
    let write = |place: &Place| {
        let ca = crate::ca::Ca::make(&TrustDomain::default(), NOW, &|bytes: &mut [u8]| {
            rand::fill(bytes)
        })
        .unwrap();
        std::fs::write(
            place.dir.path().join("ca.crt"),
            crate::pem::certificates(&ca.chain),
        )
        .unwrap();
        std::fs::write(place.dir.path().join("ca.key"), ca.key_pem()).unwrap();
    };
    write(&place);
    place.mesh.ca = Some(weir_config::settings::MeshCa {
        cert: place.dir.path().join("ca.crt"),
        key: place.dir.path().join("ca.key"),
        root: None,
    });
    let authority = place.open_in(None).unwrap();
    let before = authority.roots();
    assert!(matches!(
        authority.rotate_start(),
        Err(RotationRefused::Files)
    ));
    assert!(!authority.look().unwrap());
    std::fs::write(place.dir.path().join("ca.key"), "half").unwrap();
    assert!(!authority.look().unwrap());
    assert!(authority.standing().problem.unwrap().contains("ca.key"));
    assert_eq!(authority.roots(), before);
    write(&place);
    assert!(authority.look().unwrap());
    assert_eq!(authority.standing().problem, None);
    assert_ne!(authority.roots(), before);
}

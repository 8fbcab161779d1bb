//! Certificates over several compilations: what turns bad, what is renewed, what is made here.

mod ocsp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use weir_config::file::parse_with;
use weir_config::model::Certificate;
use weir_config::references::{Held, Unreadable};
use weir_config::{Compiled, Fragment, Memory, compile_after, diff, dump};

/// Later than the certificates of `rcgen` begin, long before they end.
const NOW: i64 = 1_800_000_000;

/// A file system of a test.
#[derive(Default)]
struct Disk(RefCell<BTreeMap<PathBuf, Held>>);

impl Disk {
    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = Held::File {
            bytes: Arc::from(content.as_ref()),
            exposed: false,
        };
        self.0.borrow_mut().insert(path.into(), file);
    }

    fn pair(&self, name: &str, host: &str) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        self.write(&format!("{name}.crt"), cert.pem());
        self.write(&format!("{name}.key"), signing_key.serialize_pem());
    }

    fn remove(&self, path: &str) {
        self.0.borrow_mut().remove(Path::new(path));
    }

    fn look(&self, path: &Path) -> Held {
        let files = self.0.borrow();
        let inside = files.keys().filter(|file| file.parent() == Some(path));
        let names: Vec<String> = inside
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        match files.get(path) {
            Some(held) => held.clone(),
            None if names.is_empty() => Held::Unreadable(Unreadable::Missing),
            None => Held::Directory(names),
        }
    }
}

/// A configuration over several compilations.
struct Weir {
    disk: Disk,
    memory: Memory,
    text: String,
}

impl Weir {
    fn with_tls(tls: &str) -> Self {
        Self {
            disk: Disk::default(),
            memory: Memory::default(),
            text: format!(
                "listeners: [{{ name: web, bind: 127.0.0.1:1, protocol: https, tls: {{ {tls} }} }}]"
            ),
        }
    }

    fn fragment(&self) -> Fragment {
        let mut loaded = parse_with(Path::new("weir.yaml"), &self.text, &|_| None);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        loaded.fragment.look_up(&|path| self.disk.look(path));
        loaded.fragment
    }

    fn compile(&mut self) -> Compiled {
        self.compile_at(NOW)
    }

    fn compile_at(&mut self, now: i64) -> Compiled {
        let (compiled, memory) = compile_after(&[self.fragment()], &self.memory, now);
        self.memory = memory;
        compiled
    }
}

fn certificates(compiled: &Compiled) -> Vec<Arc<Certificate>> {
    let listeners = compiled.model.listeners.iter();
    let tls = listeners.filter_map(|listener| listener.tls.as_ref());
    tls.flat_map(|tls| tls.certificates.clone()).collect()
}

fn names(compiled: &Compiled) -> Vec<String> {
    let all = certificates(compiled);
    all.iter().flat_map(|c| c.names.clone()).collect()
}

const PAIR: &str = "certificates: [{ cert: /c/a.crt, key: /c/a.key }]";

#[test]
fn a_certificate_that_turns_bad_stays_as_it_was_and_says_why() {
    type Spoil = fn(&Disk);
    let spoils: [(&str, Spoil); 5] = [
        ("no such file", |disk| disk.remove("/c/a.crt")),
        ("no such file", |disk| disk.remove("/c/a.key")),
        ("no certificate in it", |disk| disk.write("/c/a.crt", "")),
        ("does not belong", |disk| {
            let key = rcgen::KeyPair::generate().unwrap();
            disk.write("/c/a.key", key.serialize_pem());
        }),
        ("may not read it", |disk| {
            let denied = Held::Unreadable(Unreadable::Denied);
            disk.0.borrow_mut().insert("/c/a.key".into(), denied);
        }),
    ];
    for (reason, spoil) in spoils {
        let mut weir = Weir::with_tls(PAIR);
        weir.disk.pair("/c/a", "one.example.com");
        let first = weir.compile();
        assert!(first.diagnostics.is_empty(), "{:?}", first.diagnostics);
        spoil(&weir.disk);
        // Twice: what is kept is remembered too.
        for _ in 0..2 {
            let bad = weir.compile();
            assert!(!bad.has_errors(), "{:?}", bad.diagnostics);
            assert_eq!(bad.model, first.model, "{reason}");
            assert_eq!(bad.kept.len(), 1);
            assert!(bad.kept[0].reason.contains(reason), "{:?}", bad.kept);
            assert!(bad.diagnostics[0].message.contains("stays in force"));
        }
        weir.disk.pair("/c/a", "two.example.com");
        let good = weir.compile();
        assert_eq!(names(&good), ["two.example.com"]);
        assert!(good.kept.is_empty() && good.diagnostics.is_empty());
    }
}

#[test]
fn every_other_change_goes_through_while_a_certificate_is_bad() {
    let mut weir = Weir::with_tls(PAIR);
    weir.disk.pair("/c/a", "one.example.com");
    weir.compile();
    weir.disk.remove("/c/a.crt");
    weir.text = weir.text.replace("127.0.0.1:1", "127.0.0.1:2");
    weir.text.insert_str(0, "# moved down\n\n");
    let changed = weir.compile();
    assert_eq!(changed.model.listeners[0].bind.port(), 2);
    assert_eq!(names(&changed), ["one.example.com"]);
}

#[test]
fn what_was_never_good_is_an_error_and_what_is_no_longer_named_is_forgotten() {
    let mut weir = Weir::with_tls(PAIR);
    assert!(weir.compile().has_errors());
    weir.disk.pair("/c/a", "one.example.com");
    weir.compile();
    let text = std::mem::take(&mut weir.text);
    weir.compile();
    weir.disk.remove("/c/a.crt");
    weir.text = text;
    let again = weir.compile();
    assert!(again.has_errors() && again.model.listeners.is_empty());
}

#[test]
fn authorities_that_turn_bad_stay_as_they_were() {
    let mut weir = Weir::with_tls(&format!("{PAIR}, clientAuth: {{ ca: /c/ca.pem }}"));
    weir.disk.pair("/c/a", "one.example.com");
    weir.disk.pair("/c/ca", "authority");
    let Held::File { bytes, .. } = weir.disk.look(Path::new("/c/ca.crt")) else {
        panic!("it was written");
    };
    weir.disk.write("/c/ca.pem", &bytes);
    let first = weir.compile();
    assert!(first.diagnostics.is_empty(), "{:?}", first.diagnostics);
    weir.disk.write("/c/ca.pem", "");
    let bad = weir.compile();
    assert_eq!(bad.model, first.model);
    assert_eq!(bad.kept[0].name, "/c/ca.pem");
}

#[test]
fn a_directory_serves_what_is_in_it_and_keeps_what_is_half_replaced() {
    let mut weir = Weir::with_tls("certificates: [{ directory: /c }]");
    weir.disk.pair("/c/a", "a.example.com");
    weir.disk.pair("/c/b", "b.example.com");
    assert_eq!(names(&weir.compile()), ["a.example.com", "b.example.com"]);
    // A half of a pair that was whole is a pair that is being replaced.
    weir.disk.remove("/c/a.key");
    let half = weir.compile();
    assert_eq!(names(&half), ["a.example.com", "b.example.com"]);
    assert_eq!(half.kept.len(), 1, "{:?}", half.kept);
    // A pair that is gone is gone, and a new one comes.
    weir.disk.remove("/c/a.crt");
    weir.disk.pair("/c/c", "c.example.com");
    let gone = weir.compile();
    assert_eq!(names(&gone), ["b.example.com", "c.example.com"]);
    assert!(gone.kept.is_empty());
    // All at once is no wish: the directory is not mounted.
    let mounted = weir.disk.0.take();
    let unmounted = weir.compile();
    assert_eq!(names(&unmounted), ["b.example.com", "c.example.com"]);
    assert_eq!(unmounted.kept[0].name, "/c");
    weir.disk.0.replace(mounted);
    assert!(weir.compile().kept.is_empty());
}

#[test]
fn a_renewed_certificate_is_a_change_and_the_same_one_is_none() {
    let mut weir = Weir::with_tls(PAIR);
    weir.disk.pair("/c/a", "one.example.com");
    let first = weir.compile();
    let same = weir.compile();
    assert!(Arc::ptr_eq(
        &certificates(&first)[0],
        &certificates(&same)[0]
    ));
    weir.disk.pair("/c/a", "one.example.com");
    let renewed = weir.compile();
    let told = diff(&first.model, &renewed.model).to_string();
    assert!(
        told.contains("~ listener web") && told.contains("fingerprint"),
        "{told}"
    );
}

#[test]
fn a_self_signed_certificate_is_for_the_hosts_served_and_outlives_a_restart() {
    let mut weir = Weir::with_tls("selfSigned: true");
    weir.text.push_str(
        "
services: [{ name: s, endpoints: [{ address: 127.0.0.1:9 }] }]
routes: [{ name: r, hostnames: [shop.example.com, \"*.pr.example.com\"], rules: [{ backendRefs: [{ name: s }] }] }]",
    );
    let first = weir.compile();
    assert!(first.diagnostics.is_empty(), "{:?}", first.diagnostics);
    let want = ["127.0.0.1", "::1", "localhost", "shop.example.com"];
    assert_eq!(names(&first), want);
    let made = certificates(&first).remove(0);
    assert_eq!(made.name, "self-signed");
    assert_eq!(certificates(&weir.compile()), [Arc::clone(&made)]);

    weir.memory = Memory::with_development(&weir.memory.development().unwrap());
    assert_eq!(certificates(&weir.compile()), [Arc::clone(&made)]);

    // Another host needs another certificate, of the same key.
    weir.text = weir.text.replace("shop.example.com", "blog.example.com");
    let other = certificates(&weir.compile()).remove(0);
    assert_ne!(other.fingerprint, made.fingerprint);
    assert_eq!(other.key, made.key);
    assert!(Memory::with_development("nonsense").development().is_none());
}

#[test]
fn no_secret_is_in_a_dump_a_diff_or_a_debug_text() {
    let mut weir = Weir::with_tls(PAIR);
    weir.disk.pair("/c/a", "one.example.com");
    weir.disk.write("/token", "Bearer top-secret\n");
    weir.text.push_str(
        "
tracing: { otlp: { endpoint: \"http://127.0.0.1\", headers: { authorization: \"file:/token\", x-key: inline-secret } } }
",
    );
    let fragment = weir.fragment();
    let compiled = weir.compile();
    assert!(
        compiled.diagnostics.is_empty(),
        "{:?}",
        compiled.diagnostics
    );
    let sent = &compiled.model.tracing.otlp.as_ref().unwrap().headers;
    assert_eq!(sent[0].1.expose(), "Bearer top-secret");
    let key = certificates(&compiled)[0].key.der();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let numbers = format!("{:?}", &key.secret_der()[40..60]);
    let secrets = [
        "top-secret".to_owned(),
        "inline-secret".to_owned(),
        "PRIVATE KEY".to_owned(),
        hex(&key.secret_der()[40..60]),
        numbers.trim_matches(['[', ']']).to_owned(),
    ];
    let texts = [
        dump(&compiled.model).to_string(),
        diff(&Default::default(), &compiled.model).to_string(),
        format!("{:?}", compiled.model),
        format!("{:?}", weir.memory),
        format!("{:?}", fragment.references),
        format!("{:?}", compiled.kept),
    ];
    for (text, secret) in texts
        .iter()
        .flat_map(|t| secrets.iter().map(move |s| (t, s)))
    {
        assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
    }
}

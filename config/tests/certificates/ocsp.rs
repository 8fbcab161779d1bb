//! OCSP answers beside certificates: which are stapled, for how long, and what is said of the others.

use weir_config::model::{OcspStatus, Source};
use weir_config::pem;

use super::*;

const CERT: &str = include_str!("../golden/certs/shop.crt");
const KEY: &str = include_str!("../golden/certs/shop.key");
/// About that certificate, until 2126.
const GOLDEN: &[u8] = include_bytes!("../golden/certs/shop.ocsp");
const SERIAL: &[u8] = &[0, 0xab, 1];
/// SHA-1 of its issuer's name.
const ISSUER: [u8; 20] = [
    0x4c, 0x76, 0xd4, 0xad, 0x7f, 0xb0, 0x6b, 0x5e, 0x37, 0xa4, 0xe2, 0xde, 0x68, 0xbd, 0x18, 0x9a,
    0x28, 0xed, 0x38, 0x38,
];

const STAPLED: &str = "certificates: [{ cert: /c/a.crt, key: /c/a.key, ocsp: /c/a.ocsp }]";

/// An element of DER around others.
fn der(tag: u8, inside: &[&[u8]]) -> Vec<u8> {
    let inside = inside.concat();
    let length = u8::try_from(inside.len()).unwrap();
    let head = match length {
        ..0x80 => vec![tag, length],
        _ => vec![tag, 0x81, length],
    };
    [head, inside].concat()
}

/// An answer, as little of it as there must be.
struct Answer {
    issuer: [u8; 20],
    about: &'static [u8],
    status: &'static [u8],
    /// `YYYYMMDDHHMMSSZ`
    this_update: &'static str,
    next_update: Option<&'static str>,
}

const GOOD: Answer = Answer {
    issuer: ISSUER,
    about: SERIAL,
    status: &[0x80, 0],
    // An hour before and after `NOW`.
    this_update: "20270115070000Z",
    next_update: Some("20270115090000Z"),
};

impl Answer {
    fn der(&self) -> Vec<u8> {
        let algorithm = der(0x30, &[&[6, 5, 0x2b, 14, 3, 2, 26]]);
        let hash = der(4, &[&[7; 20]]);
        let issuer = der(4, &[&self.issuer]);
        let id = der(0x30, &[&algorithm, &issuer, &hash, &der(2, &[self.about])]);
        let time = |text: &str| der(0x18, &[text.as_bytes()]);
        let next = self.next_update.map(|text| der(0xa0, &[&time(text)]));
        let this = time(self.this_update);
        let single = der(0x30, &[&id, self.status, &this, &next.unwrap_or_default()]);
        around(&single)
    }
}

/// An answer of these single ones.
fn around(singles: &[u8]) -> Vec<u8> {
    let responder = der(0xa2, &[&der(4, &[&[7; 20]])]);
    let produced = der(0x18, &[b"20270101000000Z"]);
    let data = der(0x30, &[&responder, &produced, &der(0x30, &[singles])]);
    let basic = der(0x30, &[&data, &der(0x30, &[]), &[3, 2, 0, 1]]);
    let kind = [6, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
    let bytes = der(0x30, &[&kind, &der(4, &[&basic])]);
    der(0x30, &[&[10, 1, 0], &der(0xa0, &[&bytes])])
}

fn weir(tls: &str) -> Weir {
    let weir = Weir::with_tls(tls);
    weir.disk.write("/c/a.crt", CERT);
    weir.disk.write("/c/a.key", KEY);
    weir
}

fn stapled(compiled: &Compiled) -> Option<Vec<u8>> {
    let certificate = certificates(compiled).remove(0);
    certificate.ocsp.as_ref().map(|answer| answer.der.clone())
}

#[test]
fn an_answer_about_the_certificate_that_holds_now_is_stapled() {
    for good in [GOLDEN.to_vec(), GOOD.der()] {
        let mut weir = weir(STAPLED);
        weir.disk.write("/c/a.ocsp", &good);
        let compiled = weir.compile();
        assert!(
            compiled.diagnostics.is_empty(),
            "{:?}",
            compiled.diagnostics
        );
        assert_eq!(stapled(&compiled), Some(good));
        let [one, same] = [&compiled, &weir.compile()].map(|c| certificates(c).remove(0));
        assert!(Arc::ptr_eq(&one, &same));
    }
}

#[test]
fn an_answer_that_cannot_be_used_is_told_and_left_out_and_the_certificate_is_not() {
    let of_type = |number: u8| {
        let kind = [6, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, number];
        let bytes = der(0xa0, &[&der(0x30, &[&kind, &der(4, &[&[]])])]);
        der(0x30, &[&[10, 1, 0], &bytes])
    };
    let wrong: [(Option<Vec<u8>>, &str); 15] = [
        (None, "no such file"),
        (Some(Vec::new()), "it is empty"),
        (Some(b"stapled".to_vec()), "no answer of an OCSP responder"),
        (Some(CERT.into()), "it is PEM text"),
        (
            Some(b"-----BEGIN OCSP RESPONSE-----".to_vec()),
            "it is PEM text",
        ),
        (Some(vec![0x30, 3, 10, 1, 3]), "had no answer: tryLater"),
        (Some(vec![0x30, 3, 10, 1, 0]), "no basic OCSP response"),
        (Some(of_type(2)), "no basic OCSP response"),
        (Some(around(&[])), "about no certificate"),
        (
            Some(
                Answer {
                    about: &[0x12, 0x34],
                    ..GOOD
                }
                .der(),
            ),
            "about the certificate 12:34, and this one is 00:ab:01",
        ),
        (
            Some(
                Answer {
                    issuer: [7; 20],
                    ..GOOD
                }
                .der(),
            ),
            "about the certificate 00:ab:01 of another authority",
        ),
        (
            Some(
                Answer {
                    status: &[0x82, 0],
                    ..GOOD
                }
                .der(),
            ),
            "its status is \"unknown\"",
        ),
        (
            Some(
                Answer {
                    next_update: None,
                    ..GOOD
                }
                .der(),
            ),
            "until when it holds",
        ),
        (
            Some(
                Answer {
                    next_update: Some("20270115075959Z"),
                    ..GOOD
                }
                .der(),
            ),
            "its time has passed",
        ),
        (
            Some(
                Answer {
                    this_update: "20270115080600Z",
                    ..GOOD
                }
                .der(),
            ),
            "it holds from",
        ),
    ];
    for (file, reason) in wrong {
        let mut weir = weir(STAPLED);
        if let Some(file) = &file {
            weir.disk.write("/c/a.ocsp", file);
        }
        let compiled = weir.compile();
        assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
        let said = &compiled.diagnostics[0];
        assert!(said.message.contains(reason), "{}", said.message);
        assert!(said.message.starts_with("/c/a.ocsp: "), "{}", said.message);
        assert!(said.message.ends_with("; nothing is stapled"));
        assert_eq!(stapled(&compiled), None, "{reason}");
        assert!(compiled.kept.is_empty());
    }
}

#[test]
fn an_answer_that_is_damaged_anywhere_harms_nothing() {
    let mut weir = weir(STAPLED);
    let mut damaged: Vec<Vec<u8>> = (0..GOLDEN.len())
        .map(|length| GOLDEN[..length].to_vec())
        .collect();
    damaged.push([GOLDEN, b"\n"].concat());
    for damaged in &damaged {
        weir.disk.write("/c/a.ocsp", damaged);
        assert_eq!(stapled(&weir.compile()), None, "{} bytes", damaged.len());
    }
    // What is changed within may still be an answer, for signatures are for clients.
    for (at, bit) in (0..GOLDEN.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut changed = GOLDEN.to_vec();
        changed[at] ^= 1 << bit;
        weir.disk.write("/c/a.ocsp", changed);
        assert!(!weir.compile().has_errors());
    }
}

#[test]
fn the_last_good_answer_is_kept_for_as_long_as_it_holds() {
    let mut weir = weir(STAPLED);
    weir.disk.write("/c/a.ocsp", GOOD.der());
    let first = weir.compile();
    weir.disk.write("/c/a.ocsp", "garbage");
    for _ in 0..2 {
        let bad = weir.compile();
        assert_eq!(bad.model, first.model);
        assert!(bad.diagnostics[0].message.contains("stays in force"));
        assert_eq!(bad.kept.len(), 1);
        assert_eq!(bad.kept[0].name, "/c/a.ocsp");
        assert!(bad.kept[0].reason.contains("no answer"));
        // As the certificate's, by which it is shown beside it.
        assert_eq!(bad.kept[0].source, certificates(&bad)[0].source);
    }
    let old = weir.compile_at(NOW + 3601);
    assert_eq!(stapled(&old), None);
    assert!(old.kept.is_empty() && old.diagnostics[0].message.contains("nothing is stapled"));
    weir.disk.write("/c/a.ocsp", GOLDEN);
    let good = weir.compile_at(NOW + 3601);
    assert_eq!(stapled(&good).as_deref(), Some(GOLDEN));
    assert!(good.diagnostics.is_empty());
}

#[test]
fn an_answer_whose_time_passes_where_it_is_is_told_and_no_longer_stapled() {
    let mut weir = weir(STAPLED);
    weir.disk.write("/c/a.ocsp", GOOD.der());
    assert!(stapled(&weir.compile_at(NOW + 3600)).is_some());
    let old = weir.compile_at(NOW + 3601);
    assert_eq!(stapled(&old), None);
    assert!(old.diagnostics[0].message.contains("its time has passed"));
}

#[test]
fn an_answer_about_the_certificate_before_is_not_stapled_to_the_next() {
    let mut weir = weir(STAPLED);
    weir.disk.write("/c/a.ocsp", GOOD.der());
    assert!(stapled(&weir.compile()).is_some());
    weir.disk.pair("/c/a", "next.example.com");
    let next = weir.compile();
    assert_eq!(names(&next), ["next.example.com"]);
    assert_eq!(stapled(&next), None);
    let said = &next.diagnostics[0].message;
    assert!(said.contains("about the certificate 00:ab:01"), "{said}");
}

#[test]
fn a_revocation_is_stapled_and_warned_of() {
    let mut weir = weir(STAPLED);
    weir.disk.write("/c/a.ocsp", GOLDEN);
    weir.compile();
    let status = [&[0xa1, 17, 0x18, 15][..], b"20270101000000Z"].concat();
    let revoked = Answer {
        status: status.leak(),
        ..GOOD
    };
    weir.disk.write("/c/a.ocsp", revoked.der());
    let compiled = weir.compile();
    let certificate = certificates(&compiled).remove(0);
    let answer = certificate.ocsp.as_ref().unwrap();
    assert_eq!(answer.status, OcspStatus::Revoked);
    assert!(compiled.kept.is_empty());
    assert!(compiled.diagnostics[0].message.contains("is revoked"));
}

#[test]
fn an_answer_of_a_directory_comes_and_goes_without_the_certificate() {
    let mut weir = weir("certificates: [{ directory: /c }]");
    assert_eq!(stapled(&weir.compile()), None);
    weir.disk.write("/c/a.ocsp", GOLDEN);
    assert_eq!(stapled(&weir.compile()).as_deref(), Some(GOLDEN));
    weir.disk.remove("/c/a.ocsp");
    let gone = weir.compile();
    assert_eq!(stapled(&gone), None);
    assert!(gone.diagnostics.is_empty() && gone.kept.is_empty());
    // A pair that turns bad is remembered although its answer is new.
    weir.disk.write("/c/a.ocsp", GOLDEN);
    weir.disk.write("/c/a.crt", "");
    let kept = weir.compile();
    assert_eq!(stapled(&kept).as_deref(), Some(GOLDEN));
    assert_eq!(kept.kept.len(), 1);
}

#[test]
fn what_comes_in_another_way_than_by_files_is_read_the_same_way() {
    let read = |ocsp: &[u8]| {
        let (cert, key) = (CERT.as_bytes(), KEY.as_bytes());
        pem::certificate("a".to_owned(), cert, key, Some(ocsp), Source::default())
    };
    let answer = read(GOLDEN).unwrap().ocsp.unwrap();
    assert_eq!(answer.der, GOLDEN);
    let told = read(b"garbage").unwrap_err();
    assert!(
        told.contains("an OCSP answer that cannot be used"),
        "{told}"
    );
    // Whoever shows it looks at its time.
    let old = Answer {
        next_update: Some("20200101000000Z"),
        ..GOOD
    };
    let answer = read(&old.der()).unwrap().ocsp.unwrap();
    assert_eq!(answer.next_update, 1_577_836_800);
}

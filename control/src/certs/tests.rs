use std::path::Path;

use weir_config::{Memory, compile_after, file};

use super::*;

const NOW: i64 = 1_700_000_000;

/// A model with one certificate that lives for a year from now.
fn model() -> Model {
    let text = "
listeners:
  - { name: a, bind: 127.0.0.1:1, protocol: https, tls: { selfSigned: true } }
  - { name: b, bind: 127.0.0.1:2, protocol: https, tls: { selfSigned: true } }
";
    let loaded = file::parse_with(Path::new("weir.yaml"), text, &|_| None);
    let (compiled, _) = compile_after(&[loaded.fragment], &Memory::default(), NOW);
    assert!(
        compiled.diagnostics.is_empty(),
        "{:?}",
        compiled.diagnostics
    );
    compiled.model
}

#[test]
fn a_certificate_of_two_listeners_is_one() {
    let model = model();
    let used = in_use(&model);
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].listeners, ["a", "b"]);
}

#[test]
fn each_mark_before_the_end_is_warned_of_once() {
    let model = model();
    let mut warned = Warned::default();
    let end = in_use(&model)[0].certificate.not_after;
    for (left, said) in [
        (365 * DAY, None),
        (30 * DAY, None),
        (30 * DAY - 1, Some("expires in 29 days")),
        (20 * DAY, None),
        (13 * DAY, Some("expires in 13 days")),
        // Asleep over two marks: one warning.
        (2 * DAY, Some("expires in 2 days")),
        (DAY - 1, Some("expires within a day")),
        (1, None),
        (-1, Some("expired at")),
        (-DAY, None),
    ] {
        let texts = warned.due(&model, end - left);
        assert_eq!(
            texts.len(),
            usize::from(said.is_some()),
            "{left}: {texts:?}"
        );
        if let Some(said) = said {
            assert!(
                texts[0].contains(said) && texts[0].contains("(a, b)"),
                "{texts:?}"
            );
        }
    }
}

#[test]
fn a_renewed_certificate_is_warned_of_anew() {
    let (old, new) = (model(), model());
    let mut warned = Warned::default();
    let near = |model: &Model| in_use(model)[0].certificate.not_after - DAY / 2;
    assert_eq!(warned.due(&old, near(&old)).len(), 1);
    assert_eq!(warned.due(&new, NOW).len(), 0);
    assert_eq!(warned.due(&new, near(&new)).len(), 1);
}

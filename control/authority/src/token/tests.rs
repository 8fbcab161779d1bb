use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn random(bytes: &mut [u8]) {
    rand::fill(bytes);
}

fn with_one(name: &str) -> (Tokens, TokenText) {
    let mut tokens = Tokens::default();
    let (token, text) = tokens
        .create(&service(name), "ann", (100, HOUR), &[7; 32], &random)
        .unwrap();
    tokens.insert(token);
    (tokens, text)
}

/// Asks with a key for a service at a time.
fn ask(
    tokens: &mut Tokens,
    text: &TokenText,
    name: &str,
    key: u8,
    now: i64,
) -> Result<(), TokenRefused> {
    let asked = Redemption {
        text,
        service: &service(name),
        key: &[key; 32],
        from: "10.0.0.1",
        now,
    };
    tokens.redeem(&asked).map(drop)
}

#[test]
fn a_token_is_good_once() {
    let (mut tokens, text) = with_one("shop");
    assert_eq!(ask(&mut tokens, &text, "shop", 1, 200), Ok(()));
    assert_eq!(
        ask(&mut tokens, &text, "shop", 2, 200),
        Err(TokenRefused::Used)
    );
    // An answer that was lost: the same key, and only for a minute.
    assert_eq!(ask(&mut tokens, &text, "shop", 1, 260), Ok(()));
    assert_eq!(
        ask(&mut tokens, &text, "shop", 1, 261),
        Err(TokenRefused::Used)
    );
    let used = tokens.list()[0].used.clone().unwrap();
    assert_eq!((used.at, used.from.as_str()), (200, "10.0.0.1"));
}

#[test]
fn a_token_is_good_for_one_service_and_until_it_expires() {
    let (mut tokens, text) = with_one("shop");
    assert_eq!(
        ask(&mut tokens, &text, "bank", 1, 200),
        Err(TokenRefused::OtherService)
    );
    assert_eq!(
        ask(&mut tokens, &text, "Shop", 1, 200),
        Err(TokenRefused::OtherService)
    );
    assert_eq!(
        ask(&mut tokens, &text, "shop", 1, 100 + HOUR),
        Err(TokenRefused::Expired)
    );
    // None of that used it up.
    assert_eq!(ask(&mut tokens, &text, "shop", 1, 99 + HOUR), Ok(()));
}

#[test]
fn a_secret_that_is_not_right_is_no_token_whatever_its_id() {
    let (mut tokens, text) = with_one("shop");
    let (_, other) = with_one("shop");
    let mixed = TokenText {
        secret: other.secret.clone(),
        ..text.clone()
    };
    assert_eq!(
        ask(&mut tokens, &mixed, "shop", 1, 200),
        Err(TokenRefused::Unknown)
    );
    assert_eq!(
        ask(&mut tokens, &other, "shop", 1, 200),
        Err(TokenRefused::Unknown)
    );
    tokens.remove(&text.id);
    assert_eq!(
        ask(&mut tokens, &text, "shop", 1, 200),
        Err(TokenRefused::Unknown)
    );
}

#[test]
fn only_a_digest_is_kept_and_nothing_shows_the_secret() {
    let (tokens, text) = with_one("shop");
    let kept = serde_json::to_string(&tokens.list()).unwrap();
    assert!(!kept.contains(&text.secret) && kept.contains(&text.id));
    assert!(!format!("{text:?}{tokens:?}").contains(&text.secret));
    let back: Vec<Token> = serde_json::from_str(&kept).unwrap();
    assert_eq!(back, tokens.list());
}

#[test]
fn lives_are_bounded_and_what_ended_is_swept_a_day_later() {
    let (mut tokens, text) = with_one("shop");
    for ttl in [0, 59, -5, 30 * 24 * HOUR + 1] {
        let made = tokens.create(&service("shop"), "ann", (0, ttl), &[0; 32], &random);
        assert_eq!(made.unwrap_err(), CreateRefused::Ttl);
    }
    assert!(tokens.old(100 + HOUR + 24 * HOUR).is_empty());
    assert_eq!(
        tokens.old(101 + HOUR + 24 * HOUR),
        std::slice::from_ref(&text.id)
    );
    ask(&mut tokens, &text, "shop", 1, 200).unwrap();
    assert_eq!(tokens.old(201 + 24 * HOUR), std::slice::from_ref(&text.id));
}

#[test]
fn there_are_only_so_many() {
    let (mut tokens, _) = with_one("shop");
    let token = tokens.list().remove(0);
    for i in 1..MAX_TOKENS {
        tokens.insert(Token {
            id: i.to_string(),
            ..token.clone()
        });
    }
    let made = tokens.create(&service("shop"), "ann", (0, HOUR), &[0; 32], &random);
    assert_eq!(made.unwrap_err(), CreateRefused::Full);
}

#[test]
fn a_text_is_read_as_it_was_written() {
    let (_, text) = with_one("shop");
    let written = text.reveal();
    assert_eq!(format!("{written}\n").parse(), Ok(text.clone()));
    assert_eq!(text.pin(), [7; 16]);
    assert_eq!(
        written.split('.').map(str::len).collect::<Vec<_>>(),
        [4, 12, 64, 32]
    );
    let upper = written.to_uppercase();
    for bad in [
        "",
        "weir",
        "weir...",
        &written[1..],
        &written[..written.len() - 1],
        &format!("{written}.a"),
        &upper,
    ] {
        assert_eq!(bad.parse::<TokenText>(), Err(NoToken), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", parts in proptest::collection::vec("[0-9a-fé]{0,70}", 0..6)) {
        let _ = text.parse::<TokenText>();
        let _ = format!("weir.{}", parts.join(".")).parse::<TokenText>();
    }

    /// Of any number of askers with keys of their own one gets in.
    #[test]
    fn one_key_gets_in(keys in proptest::collection::vec(0..5_u8, 1..30)) {
        let (mut tokens, text) = with_one("shop");
        let mut got: Vec<u8> = keys.iter().filter(|key| ask(&mut tokens, &text, "shop", **key, 200).is_ok()).copied().collect();
        got.dedup();
        prop_assert_eq!(got, [keys[0]]);
    }
}

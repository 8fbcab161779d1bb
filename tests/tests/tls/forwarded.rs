//! What endpoints are told of a client's certificate, and what strangers cannot tell them.

use weir_tests::config::Setup;
use weir_tests::tls::{Connector, Offer};
use weir_tests::weir::Weir;

use super::Site;

const WEB: &str = "spiffe://weir.local/svc/web";
const EDGE: &str = "spiffe://weir.local/svc/edge";
const LIES: &str = "X-Forwarded-Client-Cert: By=spiffe://a/b;URI=spiffe://weir.local/svc/admin\r\nx-forwarded-client-cert: URI=spiffe://weir.local/svc/root\r\nClient-Cert: :eA==:\r\nclient-cert-chain: :eQ==:\r\n";

fn setup(site: &Site, keys: &str) -> Setup {
    let identity = site.authority.client(&["shop.example", EDGE]);
    let ca = site.authority.write(site.dir.path(), "clients");
    let auth = format!("clientAuth: {{ mode: optional, ca: \"{}\" }}", ca.display());
    let setup = site.setup(&[&identity], &auth);
    if keys.is_empty() {
        setup
    } else {
        setup.listener(keys)
    }
}

fn told(site: &Site, keys: &str, with_certificate: bool) -> Vec<(String, String)> {
    let weir = Weir::start(&setup(site, keys));
    let web = site.authority.client(&[WEB]);
    let offer = Offer {
        client: with_certificate.then_some(&web),
        ..Offer::default()
    };
    let mut client = weir.tls(&Connector::new("shop.example", &offer));
    let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{LIES}\r\n");
    client.wire.send(request).expect("send");
    assert_eq!(client.response().status(), 200);
    let seen = site.origin.requests();
    let head = &seen.last().expect("a request").head;
    let about = |name: &str| name.to_ascii_lowercase().contains("client-cert");
    let fields = head.fields.iter().filter(|(name, _)| about(name));
    fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

#[test]
fn what_a_stranger_says_of_certificates_goes_nowhere() {
    let site = Site::new();
    for keys in ["", "forwardClientCert: sanitize"] {
        assert_eq!(told(&site, keys, true), []);
    }
    for keys in [
        "forwardClientCert: sanitizeSet",
        "forwardClientCert: appendForward",
    ] {
        assert_eq!(told(&site, keys, false), [], "{keys}");
    }
}

#[test]
fn an_endpoint_is_told_who_was_verified() {
    let site = Site::new();
    for keys in [
        "forwardClientCert: sanitizeSet",
        "forwardClientCert: appendForward",
    ] {
        let fields = told(&site, keys, true);
        assert_eq!(fields.len(), 1, "{fields:?}");
        let (name, value) = &fields[0];
        assert_eq!(name, "x-forwarded-client-cert");
        let parts: Vec<&str> = value.split(';').collect();
        assert_eq!(parts[0], format!("By={EDGE}"));
        let hash = parts[1].strip_prefix("Hash=").expect("a hash");
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(parts[2], "Subject=\"CN=weir test\"");
        assert_eq!(parts[3..], [format!("URI={WEB}")]);
    }
}

#[test]
fn a_trusted_hops_word_is_kept_and_ours_put_behind_it() {
    let site = Site::new();
    let trusted = "trustedHops: 1, forwardClientCert";
    let kept = told(&site, "trustedHops: 1", true);
    assert_eq!(kept.len(), 4, "{kept:?}");
    let behind = told(&site, &format!("{trusted}: appendForward"), true);
    let ours: Vec<&str> = behind
        .iter()
        .filter(|(name, _)| name == "x-forwarded-client-cert")
        .map(|(_, value)| value.as_str())
        .collect();
    let [one] = ours[..] else {
        panic!("{behind:?}")
    };
    let hops: Vec<&str> = one.split(',').collect();
    assert_eq!(hops.len(), 3, "{one}");
    assert!(hops[0].contains("/svc/admin") && hops[1].contains("/svc/root"));
    assert!(hops[2].starts_with(&format!("By={EDGE};Hash=")) && hops[2].ends_with(WEB));
    // In place of it, where the listener says so.
    let set = told(&site, &format!("{trusted}: sanitizeSet"), true);
    let text = format!("{set:?}");
    assert!(!text.contains("/svc/admin") && text.contains(WEB), "{text}");
}

#[test]
fn a_name_that_aliases_ours_is_refused() {
    let site = Site::new();
    let weir = Weir::start(&setup(&site, ""));
    for name in [
        "Client_Cert",
        "X_Forwarded_Client_Cert",
        "client.cert.chain",
    ] {
        let mut client = weir.tls(&Connector::blind("shop.example", &[]));
        let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{name}: x\r\n\r\n");
        client.wire.send(request).expect("send");
        assert_eq!(client.response().status(), 400, "{name}");
    }
    assert_eq!(site.origin.count(), 0);
}

#[test]
fn what_a_stranger_says_of_itself_admits_it_nowhere() {
    let site = Site::new();
    let policy = "authorization: [{ name: told, action: allow, rules: [{ when: [{ key: 'request.headers[x-forwarded-client-cert]', values: ['*svc/web'] }] }, { when: [{ key: 'request.headers[x-tier]', values: [gold] }] }] }]";
    let ask = |weir: &Weir, fields: &str| {
        let mut client = weir.client();
        let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n");
        client.send(request).response().status()
    };
    let told = "X-Forwarded-Client-Cert: URI=spiffe://weir.local/svc/web\r\n";
    let open = Weir::start(&Setup::to(&site.origin).listener(policy));
    assert_eq!(ask(&open, told), 403);
    assert_eq!(ask(&open, "X-Tier: gold\r\n"), 200);
    // A field that does not go on admits to nothing either.
    assert_eq!(ask(&open, "X-Tier: gold\r\nConnection: x-tier\r\n"), 403);
    let behind = Setup::to(&site.origin).listener(&format!("trustedHops: 1, {policy}"));
    assert_eq!(ask(&Weir::start(&behind), told), 200);
}

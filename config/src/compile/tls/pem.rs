//! Certificates and keys out of what files hold, with the reason where there is none.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// What is wrong with a file, and what to do about it.
pub(super) type Complaint = (String, &'static str);

/// Most certificates of one file: the public authorities are some 150.
const MAX_CERTIFICATES: usize = 2000;

/// Every certificate of a file, in its order.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Complaint> {
    let mut out = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|error| {
            let message = format!("it is not whole PEM text: {error:?}");
            (message, "write the file again, with every line of it")
        })?;
        out.push(certificate.as_ref().to_vec());
    }
    match out.len() {
        0 => Err(("there is no certificate in it".to_owned(), instead(bytes))),
        1..=MAX_CERTIFICATES => Ok(out),
        _ => Err((
            format!("it holds more than {MAX_CERTIFICATES} certificates"),
            "name a file with fewer",
        )),
    }
}

/// The private key of a file.
pub(super) fn key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Complaint> {
    if has(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(bytes, b"Proc-Type: 4,ENCRYPTED")
    {
        let help = "nobody is there to type its passphrase; store it decrypted (openssl pkey -in KEY -out PLAIN), readable for Weir alone";
        return Err(("its key is encrypted".to_owned(), help));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        let help = match instead(bytes) {
            IS_DER => IS_DER,
            _ => "it is PEM text with -----BEGIN PRIVATE KEY-----",
        };
        ("there is no private key in it".to_owned(), help)
    })
}

const IS_DER: &str =
    "it seems to be DER; PEM is what is read (openssl x509 -inform der, openssl pkey -inform der)";

/// What a file without a certificate seems to be.
fn instead(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(&[0x30, 0x82]) {
        return IS_DER;
    }
    match bytes.is_empty() {
        true => "it is empty",
        false => "it is PEM text with -----BEGIN CERTIFICATE-----",
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

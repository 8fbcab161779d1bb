//! Certificates as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

/// In the order given (RFC 7468, section 5.1).
#[must_use]
pub fn certificates(ders: &[CertificateDer<'_>]) -> String {
    let mut out = String::new();
    for der in ders {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(der);
        for (i, c) in text.chars().enumerate() {
            if i > 0 && i % 64 == 0 {
                out.push('\n');
            }
            out.push(c);
        }
        out.push_str("\n-----END CERTIFICATE-----\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::pem::PemObject as _;

    #[test]
    fn what_is_written_is_read_back() {
        for len in 0..200_u8 {
            let der = CertificateDer::from((0..len).collect::<Vec<u8>>());
            let text = certificates(&[der.clone(), der.clone()]);
            assert!(text.lines().all(|line| line.len() <= 64), "{text}");
            let back: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(back, [der.clone(), der]);
        }
    }
}

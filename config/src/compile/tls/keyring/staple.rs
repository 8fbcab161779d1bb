//! The OCSP answer beside a certificate.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Keyring, complaint};
use crate::compile::report::Report;
use crate::compile::tls::ocsp;
use crate::model::{Certificate, OcspAnswer, OcspStatus};
use crate::raw::At;

impl Keyring<'_> {
    /// A certificate with the answer in that file, or without. `before` is what the same files held.
    pub(super) fn staple(
        &mut self,
        certificate: Arc<Certificate>,
        ocsp: Option<&At<PathBuf>>,
        before: Option<&Certificate>,
        report: &mut Report,
    ) -> Arc<Certificate> {
        let last = before.filter(|before| before.fingerprint == certificate.fingerprint);
        let last = last.and_then(|before| before.ocsp.as_ref());
        let answer = ocsp.and_then(|at| self.answer(at, &certificate, last, report));
        if certificate.ocsp == answer {
            return certificate;
        }
        Arc::new(Certificate {
            ocsp: answer,
            ..Certificate::clone(&certificate)
        })
    }

    /// What is in that file, or what was there `last` for as long as that holds.
    ///
    /// What is wrong is never an error, for the certificate is as good without.
    fn answer(
        &mut self,
        at: &At<PathBuf>,
        certificate: &Certificate,
        last: Option<&OcspAnswer>,
        report: &mut Report,
    ) -> Option<OcspAnswer> {
        let leaf = certificate.chain.first();
        let leaf = leaf.map(Vec::as_slice).unwrap_or_default();
        let read = self.bytes(at).and_then(|(_, bytes)| {
            let read = match last.filter(|last| last.der == bytes) {
                Some(same) => Ok(same.clone()),
                None => ocsp::read(bytes, leaf),
            };
            let good = read.and_then(|answer| ocsp::judge(&answer, self.now).map(|()| answer));
            good.map_err(|(message, help)| complaint(at, &message, help))
        });
        let problem = match read {
            Ok(answer) => {
                if answer.status == OcspStatus::Revoked {
                    let message = format!("{}: the certificate is revoked", at.value.display());
                    let help = "clients that check refuse it; replace it";
                    report.warn(&at.place, message, help);
                }
                return Some(answer);
            }
            Err(problem) => problem,
        };
        let last = last.filter(|last| ocsp::judge(last, self.now).is_ok());
        if last.is_some() {
            let name = at.value.display().to_string();
            self.keep_at(name, &certificate.source, &problem, report);
        } else {
            let message = format!("{}; nothing is stapled", problem.message);
            report.warn(&problem.place, message, problem.help);
        }
        last.cloned()
    }
}

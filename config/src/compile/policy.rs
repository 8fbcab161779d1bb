//! The policies of a service, from each place that may state some.

use std::sync::Arc;

use super::report::Report;
use super::tls::{self, ClientTls, Keyring};
use super::{balance, protect};
use crate::model::{AppProtocol, ConnectionPool, LoadBalancer, OutlierDetection};
use crate::raw;

/// What one place states. Each of them counts as one setting: half of a pool from here and half of it from there
/// would be a policy that nobody wrote.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) pool: Option<ConnectionPool>,
    pub(super) outlier: Option<OutlierDetection>,
    pub(super) protocol: Option<AppProtocol>,
    pub(super) tls: Option<ClientTls>,
}

impl Policies {
    pub(super) fn compile(
        load_balancer: Option<&raw::LoadBalancer>,
        pool: Option<&raw::ConnectionPool>,
        outlier: Option<&raw::OutlierDetection>,
        report: &mut Report,
    ) -> Self {
        Self {
            load_balancer: load_balancer.map(|raw| balance::load_balancer(raw, report)),
            pool: pool.map(|raw| protect::connection_pool(raw, report)),
            outlier: outlier.map(|raw| protect::outlier_detection(raw, report)),
            protocol: pool.and_then(protect::upgrade),
            tls: None,
        }
    }

    /// Of a part of a service.
    pub(super) fn of(part: &raw::Service, keyring: &mut Keyring<'_>, report: &mut Report) -> Self {
        let mut policies = Self::compile(
            part.load_balancer.as_deref(),
            part.connection_pool.as_deref(),
            part.outlier_detection.as_deref(),
            report,
        );
        if let Some(stated) = &part.app_protocol {
            policies.protocol = Some(stated.value.into());
        }
        let tls = part.tls.as_ref();
        policies.tls = tls
            .and_then(|raw| tls::backend(raw, keyring, report))
            .map(|tls| ClientTls::Tls(Arc::new(tls)));
        policies
    }

    /// What is stated here, and where nothing is, what is stated there.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            load_balancer: self.load_balancer.or(other.load_balancer),
            pool: self.pool.or(other.pool),
            outlier: self.outlier.or(other.outlier),
            protocol: self.protocol.or(other.protocol),
            tls: self.tls.or(other.tls),
        }
    }
}

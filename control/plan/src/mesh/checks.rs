//! Health checks of callers, which come in at the sidecars like any other call.

use weir_config::model::{
    AccessAction, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among, HealthProbe,
    Model, Pattern, PolicyName, ProbeMethod, Service,
};

use super::view::is_tcp;

/// The name of the policy that admits them.
const NAME: &str = "mesh/health-check";
/// What a check of gRPC asks (gRPC, health checking protocol).
const GRPC: (&str, &str) = ("POST", "/grpc.health.v1.Health/Check");

/// What a service's sidecars admit beside its policies. Callers check a service's health themselves, by its own check: where some of
/// what may be called is listed, that one request is too, for whoever has an identity of the mesh. Else each of them would find
/// the service ill. `None`: nothing is listed, or no request is made.
#[must_use]
pub fn admits_checks(model: &Model, own: &Service) -> Option<AccessPolicy> {
    let access = model.access.of(own.name.as_str());
    let lists = |policy: &AccessPolicy| policy.action == AccessAction::Allow && !policy.log_only;
    let authorization = access.authorization.as_ref()?;
    if !authorization.policies.iter().any(lists) || is_tcp(own) {
        return None;
    }
    let (method, path) = match &own.health_check.as_ref()?.probe {
        HealthProbe::Http(probe) => {
            let method = match probe.method {
                ProbeMethod::Get => "GET",
                ProbeMethod::Head => "HEAD",
            };
            (method, probe.path.split('?').next().unwrap_or_default())
        }
        HealthProbe::Grpc(_) => GRPC,
        HealthProbe::Tcp(_) => return None,
    };
    Some(AccessPolicy {
        name: PolicyName::new(NAME).ok()?,
        action: AccessAction::Allow,
        log_only: false,
        rules: vec![AccessRule {
            from: vec![AccessSource {
                principals: only(Pattern::Any),
                ..AccessSource::default()
            }],
            to: vec![AccessOperation {
                methods: only(Pattern::Exact(method.into())),
                paths: only(Pattern::Exact(path.into())),
                ..AccessOperation::default()
            }],
            when: Vec::new(),
        }],
        source: own.source.clone(),
    })
}

fn only(pattern: Pattern) -> Among<Pattern> {
    Among {
        only: vec![pattern],
        never: Vec::new(),
    }
}

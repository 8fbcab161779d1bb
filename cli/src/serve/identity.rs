//! A proxy's identity in the mesh: where it is from, and what the proxy does with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_config::model::ServiceName;
use weir_identity::{
    FromAuthority, FromFiles, FromWorkloadApi, Identity as Own, Kept, Source, Status, TokenSource,
    World, start,
};
use weir_plan::mesh::Credentials;
use weir_xds_client::{Access, Address};

use crate::commands::sidecar::IdentityArgs;
use crate::exit::{Exit, Failure};

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_secs(1);
/// Beside the last good state, in a directory of its own.
const DIRECTORY: &str = "identity";

/// Where an identity is to be from.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    from: Source,
}

/// One that is there, and kept current.
pub(crate) struct Running {
    kept: Kept,
    world: World,
    credentials: watch::Receiver<Option<Arc<Credentials>>>,
}

impl Identity {
    /// By what the command line says.
    ///
    /// # Errors
    /// A control plane in clear, or a socket that is written in another way than `unix:///PATH`.
    pub(crate) fn plan(
        args: &IdentityArgs,
        service: &ServiceName,
        control: &[Address],
        state_dir: Option<&Path>,
    ) -> Result<Self, Failure> {
        if let Some(clear) = control.iter().find(|address| !address.is_secure()) {
            let message = format!(
                "--control {clear}: it is in clear, and identities are not given out in clear"
            );
            return Err(Failure::new(Exit::Usage, message).help("write https://"));
        }
        if let Some(url) = &args.workload_api {
            let path = url
                .strip_prefix("unix://")
                .or_else(|| url.strip_prefix("unix:"));
            let socket = path.map(PathBuf::from).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("--workload-api {url}: it is no unix socket"),
                )
                .help("write it as in unix:///run/spire/agent.sock")
            })?;
            return Ok(Self {
                from: Source::WorkloadApi(FromWorkloadApi { socket }),
            });
        }
        let files = (
            &args.identity_cert,
            &args.identity_key,
            &args.identity_bundle,
        );
        if let (Some(cert), Some(key), Some(bundle)) = files {
            return Ok(Self {
                from: Source::Files(FromFiles {
                    cert: cert.clone(),
                    key: key.clone(),
                    bundle: bundle.clone(),
                }),
            });
        }
        let text = args.join_token.clone().map(TokenSource::Text);
        let token = text.or_else(|| args.join_token_file.clone().map(TokenSource::File));
        Ok(Self {
            from: Source::Authority(FromAuthority {
                control: control.to_vec(),
                service: service.clone(),
                trust_domain: None,
                token,
                ca: args.control_ca.clone(),
                dir: state_dir.map(|dir| dir.join(DIRECTORY)),
            }),
        })
    }

    /// Waits for it, however long that takes, and keeps it current from then on. How that goes is in `status`.
    ///
    /// # Errors
    /// Where waiting does not help: a token that is refused, files that hold none.
    pub(crate) async fn start(&self, status: Arc<Status>) -> Result<Running, Failure> {
        let world = World::real();
        let kept = start(self.from.clone(), world.clone(), status).await;
        let kept = kept.map_err(|error| {
            Failure::runtime(error.to_string()).help(
                "make a token with `weir token create --service NAME` where the control plane is",
            )
        })?;
        let mut identities = kept.watch();
        let mut now = Arc::clone(&identities.borrow_and_update());
        let clock = world.clone();
        let mut held = now.holds(clock.now());
        let (sender, credentials_of) = watch::channel(held.then(|| credentials(&now)));
        tokio::spawn(async move {
            loop {
                let another = tokio::select! {
                    changed = identities.changed() => match changed {
                        Ok(()) => true,
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(LOOK) => false,
                };
                if another {
                    now = Arc::clone(&identities.borrow_and_update());
                }
                let holds = now.holds(clock.now());
                if !another && holds == held {
                    continue;
                }
                if held && !holds {
                    tracing::error!(
                        id = now.id.as_str(),
                        "THE IDENTITY HAS EXPIRED: nothing of the mesh is called or taken until it is renewed; is the control plane reached?"
                    );
                }
                held = holds;
                sender.send_replace(holds.then(|| credentials(&now)));
            }
        });
        Ok(Running {
            kept,
            world,
            credentials: credentials_of,
        })
    }
}

pub(super) fn credentials(own: &Own) -> Arc<Credentials> {
    Arc::new(Credentials {
        trust_domain: own.id.trust_domain(),
        certificate: own.certificate(),
        roots: own.roots(),
    })
}

impl Running {
    /// What is shown to a control plane.
    pub(crate) fn access(&self) -> Access {
        Access {
            own: Some(self.kept.tls(&self.world)),
            ..Access::default()
        }
    }

    pub(crate) fn credentials(&self) -> watch::Receiver<Option<Arc<Credentials>>> {
        self.credentials.clone()
    }
}

//! Modes of the mesh that are stated apart from the services (Istio, PeerAuthentication).

use std::sync::Arc;

use weir_config::model::{MeshMode, Model, PeerMode, Service, ServiceMesh};

/// The model in which each service is met as policies say: those stand before what the service says of itself. A service
/// that is not in the mesh is called in plain text, and no policy changes that; what a sidecar of it takes is another matter
/// ([`super::view()`]).
#[must_use]
pub fn with_modes(model: &Model) -> Model {
    let mut model = model.clone();
    for service in &mut model.services {
        let Some(mesh) = service.mesh else {
            continue;
        };
        let access = model.access.of(service.name.as_str());
        let Some(mode) = access.peer_mode(port_of(service)) else {
            continue;
        };
        let mesh = match mode {
            PeerMode::Off => None,
            PeerMode::Strict => Some(with(mesh, MeshMode::Strict)),
            PeerMode::Permissive => Some(with(mesh, MeshMode::Permissive)),
        };
        if mesh != service.mesh {
            Arc::make_mut(service).mesh = mesh;
        }
    }
    model
}

fn with(mesh: ServiceMesh, mode: MeshMode) -> ServiceMesh {
    ServiceMesh { mode, ..mesh }
}

/// The port of the app, as its endpoints have it.
pub(super) fn port_of(service: &Service) -> u16 {
    let first = service.endpoints.first();
    first.map_or(0, |endpoint| endpoint.address.port())
}

//! What services say of the mesh.

use super::report::Report;
use crate::model::{INBOUND_PORT, MeshMode, MeshProtocol, ServiceMesh};
use crate::raw::{self, At};

/// How a service is met; `None` for one that is not in the mesh, or says of itself what makes no sense.
pub(crate) fn of_service(raw: &raw::ServiceMesh, report: &mut Report) -> Option<ServiceMesh> {
    let mode = match raw.mode.as_ref().map(|at| at.value) {
        None | Some(raw::MeshMode::Strict) => MeshMode::Strict,
        Some(raw::MeshMode::Permissive) => MeshMode::Permissive,
        Some(raw::MeshMode::Off) => return None,
    };
    let protocol = match raw.protocol.as_ref().map(|at| at.value) {
        None | Some(raw::MeshProtocol::Http) => MeshProtocol::Http,
        Some(raw::MeshProtocol::Tcp) => MeshProtocol::Tcp,
    };
    let port = port(raw.port.as_ref(), report)?.unwrap_or(INBOUND_PORT);
    let listen = self::port(raw.listen.as_ref(), report)?;
    if let (MeshProtocol::Http, Some(at)) = (protocol, &raw.listen) {
        report.error_help(
            &at.place,
            "requests have no port of their own in the mesh",
            "remove listen, or write protocol: tcp; callers reach a service of HTTP by its name",
        );
        return None;
    }
    Some(ServiceMesh {
        mode,
        port,
        protocol,
        listen,
    })
}

/// `None` for port 0, which is reported.
#[expect(clippy::option_option, reason = "not stated, and stated wrongly")]
fn port(raw: Option<&At<u16>>, report: &mut Report) -> Option<Option<u16>> {
    match raw {
        Some(at) if at.value == 0 => {
            report.error_help(
                &at.place,
                "0 is no port that others can find",
                "write a port from 1 to 65535, or leave it out",
            );
            None
        }
        other => Some(other.map(|at| at.value)),
    }
}

//! A socket that Weir's user may not open.

use weir_tests::docker::{Network, Relay, Spec, available, unique, watching_at};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::{discovery, served};

/// The user of the image.
const NOBODY: u32 = 65532;

#[test]
fn a_socket_without_permission_is_explained_and_tried_until_it_is_granted() {
    if !available() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        weir_tests::say("LEFT OUT: only root can start weir as somebody else");
        return;
    }
    let network = Network::create();
    let _container = Spec::origin(&network, "granted", "stable")
        .routed(&unique("svc"), "granted.example", "stable")
        .run();
    let relay = Relay::start();
    relay.set_mode(0o660);
    let socket = relay.socket();
    let setup = watching_at(&socket, &network.name);
    let mut weir = Weir::spawn_as(NOBODY, |ports| setup.render(ports));
    let expected = format!(
        "permission denied: this process (user 65532, group 65532) may not open {}, which belongs to user 0 and group \
         0 with mode 660; give it that group: docker run --group-add 0, group_add: [\"0\"] in Compose, or usermod -aG \
         0 on a host",
        socket.display()
    );
    eventually("what is wrong and what to do, in weir discovery", || {
        discovery(&weir).contains(&expected).then_some(())
    });
    eventually("the same in the log", || {
        // There it is JSON.
        let text = expected.replace('"', "\\\"");
        weir.logs().contains(&text).then_some(())
    });
    let tried = weir.metric("weir_discovery_errors_total", &[]);
    eventually("more attempts", || {
        (weir.metric("weir_discovery_errors_total", &[]) > tried + 1.0).then_some(())
    });
    assert!(weir.running(), "{}", weir.logs());
    assert_eq!(weir.metric("weir_discovery_up", &["docker"]), 0.0);
    relay.set_mode(0o666);
    served(&weir, "granted.example");
    assert!(
        discovery(&weir).starts_with("docker: up"),
        "{}",
        discovery(&weir)
    );
}

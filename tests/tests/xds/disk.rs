//! A disk that is full: serving goes on, and it is said.

use std::path::Path;
use std::process::Command;

use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::{client::Client, in_ci, ports, say};

use crate::cluster::{endpoints, proxy, whole};
use crate::management::Management;

/// A file system of a few kilobytes, gone when dropped.
struct Tiny {
    dir: tempfile::TempDir,
}

impl Tiny {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(dir.path())
            .status();
        let mounted = mounted.is_ok_and(|status| status.success());
        assert!(mounted || !in_ci(), "a tiny disk wants root and mount");
        if !mounted {
            say("LEFT OUT: a tiny disk wants root and mount");
        }
        mounted.then_some(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn on_a_full_disk_serving_goes_on_and_it_is_said_loudly() {
    let Some(disk) = Tiny::mount() else { return };
    let Some(mut server) = Management::start("delta") else {
        return;
    };
    let (first, second, web) = (Origin::ok("first"), Origin::ok("second"), ports::free());
    server.put(&whole(web, &[first.addr()]));
    let mut weir = proxy(&[server.url()], disk.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    eventually("the last good state on disk", || {
        disk.path().join("proxy/last-good").exists().then_some(())
    });
    let hog = disk.path().join("hog");
    let _ = std::fs::write(&hog, vec![b'x'; 1 << 20]);
    server.put(&[endpoints("shop", &[second.addr()])]);
    eventually("the failure to be counted", || {
        (weir.metric("weir_last_good_writes_total", &["error"]) >= 1.0).then_some(())
    });
    assert_eq!(
        Client::connect(web)
            .get("shop.example", "/")
            .get("x-origin"),
        Some("second")
    );
    assert!(
        weir.stderr()
            .contains("THE LAST GOOD STATE CANNOT BE WRITTEN"),
        "{}",
        weir.stderr()
    );
    let status = weir.json("/api/v1/status");
    let text = status["providers"].to_string();
    assert!(
        text.contains("last good") && text.contains("No space left"),
        "{text}"
    );
    // What was there before is there still.
    let nobody = format!("http://{}", ports::free());
    drop(weir);
    let mut weir = proxy(&[nobody], disk.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    assert_eq!(
        Client::connect(web)
            .get("shop.example", "/")
            .get("x-origin"),
        Some("first")
    );
    drop(weir);
    // With room again it is written again.
    std::fs::remove_file(&hog).expect("make room");
    let mut weir = proxy(&[server.url()], disk.path(), &[]);
    weir.wait_ready()
        .unwrap_or_else(|why| panic!("weir {why}\n{}", weir.logs()));
    eventually("the state on disk again", || {
        (weir.metric("weir_last_good_writes_total", &["ok"]) >= 1.0).then_some(())
    });
}

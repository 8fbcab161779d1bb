//! Secrets and ConfigMaps as Kubernetes mounts them: the files are links through `..data`, a link that is swapped.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use weir_tests::config::Setup;
use weir_tests::pki::{Authority, Identity};
use weir_tests::tls::{Connector, Offer};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{Site, ask, status};

const NAME: &str = "a.example.com";

/// A volume of some files.
struct Mount {
    at: PathBuf,
    names: &'static [&'static str],
    generation: usize,
}

impl Mount {
    fn new(at: PathBuf, names: &'static [&'static str], fill: impl Fn(&Path)) -> Self {
        let mut mount = Self {
            at,
            names,
            generation: 0,
        };
        std::fs::create_dir(&mount.at).expect("a mount");
        mount.swap(fill);
        for name in names {
            symlink(Path::new("..data").join(name), mount.at.join(name)).expect("a link");
        }
        mount
    }

    /// As the kubelet does it: a new directory, a link to it renamed over the old one, and the old directory removed.
    fn swap(&mut self, fill: impl Fn(&Path)) {
        let of = |generation: usize| format!("..2026_11_26_{generation}");
        let old = self.at.join(of(self.generation));
        self.generation += 1;
        let new = of(self.generation);
        std::fs::create_dir(self.at.join(&new)).expect("a directory");
        fill(&self.at.join(&new));
        for name in self.names {
            assert!(self.at.join(&new).join(name).is_file(), "{name}");
        }
        let aside = self.at.join("..data_tmp");
        symlink(&new, &aside).expect("a link");
        std::fs::rename(aside, self.at.join("..data")).expect("swap the link");
        if self.generation > 1 {
            std::fs::remove_dir_all(old).expect("remove the old directory");
        }
    }
}

fn secret(identity: &Identity) -> impl Fn(&Path) {
    |to| {
        identity.write(to, "tls");
    }
}

#[test]
fn a_secret_whose_link_is_swapped_is_shown_in_the_next_handshake() {
    let site = Site::new();
    let identity = site.authority.server(&[NAME]);
    let at = site.dir.path().join("secret");
    let mut mount = Mount::new(at, &["tls.crt", "tls.key"], secret(&identity));
    let at = mount.at.display().to_string();
    for certificate in [
        format!("{{ directory: \"{at}\" }}"),
        format!("{{ cert: \"{at}/tls.crt\", key: \"{at}/tls.key\" }}"),
    ] {
        let tls = format!("tls: {{ certificates: [{certificate}] }}");
        let setup = Setup::to(&site.origin).protocol("https").listener(&tls);
        let weir = Weir::start(&setup);
        for _ in 0..3 {
            let next = site.authority.server(&[NAME]);
            mount.swap(secret(&next));
            eventually("the next certificate", || {
                let tls = Connector::trusting(&site.authority, NAME, &[]);
                let got = ask(&weir, &tls, NAME).expect("a handshake");
                assert_eq!(got.status, Some(200));
                (got.session.peer.first() == Some(next.leaf())).then_some(())
            });
        }
        let refused = weir.metric("weir_certificates_rejected_total", &[]);
        assert_eq!(refused, 0.0, "nothing was bad at any time");
    }
}

#[test]
fn a_config_map_whose_link_is_swapped_changes_whom_a_handshake_trusts() {
    let site = Site::new();
    let (old, new) = (Authority::new("old clients"), Authority::new("new clients"));
    let authority = |from: &Authority| {
        let pem = from.pem();
        move |to: &Path| std::fs::write(to.join("ca.crt"), &pem).expect("write the authority")
    };
    let at = site.dir.path().join("config-map");
    let mut mount = Mount::new(at, &["ca.crt"], authority(&old));
    let keys = format!("clientAuth: {{ ca: \"{}/ca.crt\" }}", mount.at.display());
    let weir = Weir::start(&site.setup(&[&site.authority.server(&[NAME])], &keys));
    let answers = |from: &Authority| {
        let client = from.client(&["x"]);
        let offer = Offer {
            client: Some(&client),
            ..Offer::default()
        };
        status(&weir, &Connector::new(NAME, &offer), NAME) == Ok(Some(200))
    };
    assert!(answers(&old) && !answers(&new));
    mount.swap(authority(&new));
    eventually("the new authority", || answers(&new).then_some(()));
    assert!(!answers(&old));
}

//! A directory of endpoint files. All hosts are in one, so that a change is one step: several files are never seen as one
//! when the machine is slow.

use std::path::PathBuf;

use weir_config::settings::EndpointFileSettings;
use weir_control::ControlOptions;

use super::{Source, address};
use crate::HOLD;

pub(crate) struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn directory(&self) -> PathBuf {
        self.dir.path().join("endpoints")
    }

    /// Where the files are while the directory is away.
    fn aside(&self) -> PathBuf {
        self.dir.path().join("aside")
    }

    /// Where the files are now.
    fn place(&self) -> PathBuf {
        match self.aside().exists() {
            true => self.aside(),
            false => self.directory(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place().join(name);
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }
}

impl Source for Files {
    async fn start() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(files.directory()).unwrap();
        files
    }

    fn name() -> String {
        "files".into()
    }

    fn options(&self) -> ControlOptions {
        ControlOptions {
            endpoint_files: Some(EndpointFileSettings {
                directory: self.directory(),
                hold: HOLD,
            }),
            ..ControlOptions::default()
        }
    }

    fn set(&self, hosts: &[u8]) {
        let list = hosts
            .iter()
            .map(|host| format!("\n  - {{ address: {}:80 }}", address(*host)));
        let list: String = list.collect();
        self.write("web.yaml", &format!("service: web\nendpoints:{list}\n"));
    }

    fn lose_all(&self) {
        std::fs::remove_file(self.place().join("web.yaml")).unwrap();
    }

    fn lose_but(&self, host: u8) {
        self.set(&[host]);
    }

    fn down(&self) {
        std::fs::rename(self.directory(), self.aside()).unwrap();
    }

    fn up(&self) {
        std::fs::rename(self.aside(), self.directory()).unwrap();
    }

    fn spoil(&self) -> &'static str {
        self.write(
            "spoiled.yaml",
            "service: web\nendpoints: [{ address: nowhere }]\n",
        );
        "spoiled.yaml:2"
    }
}

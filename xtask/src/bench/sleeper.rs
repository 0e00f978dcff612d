//! The smallest app, pushed: what its instances need is the platform's own.

use std::{fs, process::Command};

use super::{
    child::{finish, wait_for},
    platform::{PATIENCE, Platform},
};

const SOURCE: &str = include_str!("sleeper.c");
const MANIFEST: &str = "applications:\n- name: sleeper\n  memory: 32M\n  no-route: true\n  \
                        health-check-type: process\n  buildpacks:\n  - binary_buildpack\n";

pub(super) struct Sleeper {
    pub(super) app: String,
    pub(super) process: String,
}

impl Sleeper {
    /// Compiles and pushes it with one instance, which is waited for.
    pub(super) fn push(platform: &mut Platform) -> anyhow::Result<Self> {
        let folder = platform.folder.join("sleeper");
        fs::create_dir_all(&folder)?;
        let source = platform.folder.join("sleeper.c");
        fs::write(&source, SOURCE)?;
        let mut compile = Command::new("cc");
        compile.args(["-Os", "-static", "-s", "-o"]).arg(folder.join("sleeper")).arg(&source);
        finish(&mut compile, PATIENCE)?;
        fs::write(folder.join("Procfile"), "web: ./sleeper\n")?;
        fs::write(folder.join("manifest.yml"), MANIFEST)?;
        finish(platform.cupola().args(["push", "sleeper", "--path"]).arg(&folder), PATIENCE)?;
        let app = platform.find("/v3/apps?names=sleeper")?;
        let process = platform.find(&format!("/v3/apps/{app}/processes"))?;
        platform.wait_until_scaled(&process, 1)?;
        Ok(Self { app, process })
    }

    /// Deletes it and waits until its instances are gone.
    pub(super) fn delete(self, platform: &mut Platform) -> anyhow::Result<()> {
        platform.ask("DELETE", &format!("/v3/apps/{}", self.app), "")?;
        wait_for("the end of the sleepers", PATIENCE, || {
            Ok(platform.instance_folders().is_empty().then_some(()))
        })
    }
}

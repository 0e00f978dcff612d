//! Running other programs, with errors that name them.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, bail};

/// The root of the repository. Cargo is asked when this runs, not when it was built: two clones
/// that share a target directory share this program too.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.expect("`cargo xtask` says where the crate is");
    manifest.parent().expect("xtask is a folder of the repository").to_owned()
}

/// Where cargo builds; it outlives the clone if `CARGO_TARGET_DIR` says so.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where programs are kept that only tests need.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The platform's binary of a profile, `debug` or `release`.
pub(crate) fn cupola(profile: &str) -> PathBuf {
    target().join("x86_64-unknown-linux-gnu").join(profile).join("cupola")
}

pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs it with our own output, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}

/// What it prints, or nothing where it cannot be run or fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = command(program, arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the program is in PATH.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

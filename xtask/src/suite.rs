//! Everything that CI runs, part by part, with the minutes of each.

use std::time::Instant;

use anyhow::{Context, bail};

use crate::{
    architecture, demo, prepare,
    run::{command, cupola, root, run},
    tidy,
};

/// A clean tree: format, lints, architecture, habits, licences.
pub(crate) fn check() -> anyhow::Result<()> {
    run(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    architecture::check()?;
    tidy::check()?;
    shellcheck()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--"];
    run(command("cargo", &clippy).args(["-D", "warnings"]))?;
    let deny = prepare::cargo_deny()?;
    run(std::process::Command::new(deny).current_dir(root()).args(DENY))
}

/// Advisories are a list on the network that is not reachable from everywhere that builds.
const DENY: [&str; 5] = ["--offline", "check", "bans", "licenses", "sources"];

/// Everything, as root.
pub(crate) fn test() -> anyhow::Result<()> {
    if crate::run::output("id", &["-u"]).is_none_or(|id| id.trim() != "0") {
        bail!("containers need root: run `make test` as root");
    }
    let mut minutes = Vec::new();
    let mut part = |name: &'static str, part: fn() -> anyhow::Result<()>| -> anyhow::Result<()> {
        println!("\n== {name}");
        let started = Instant::now();
        let outcome = part().with_context(|| format!("the part `{name}` failed"));
        minutes.push((name, started.elapsed().as_secs_f64() / 60.0));
        outcome
    };
    part("prepare", prepare::everything)?;
    part("check", check)?;
    part("unit, ports and containers", workspace)?;
    part("buildpacks", buildpacks)?;
    part("samples", samples)?;
    part("end to end", end_to_end)?;
    part("demo", demo::check)?;
    println!("\nminutes:");
    for (name, minutes) in minutes {
        println!("  {minutes:5.1}  {name}");
    }
    Ok(())
}

fn workspace() -> anyhow::Result<()> {
    run(&mut command("cargo", &["test", "--workspace", "--exclude", "e2e", "--locked"]))
}

/// The real `cf` and `cupola` against the real platform.
pub(crate) fn end_to_end() -> anyhow::Result<()> {
    run(&mut command("cargo", &["build", "--package", "cupola", "--locked"]))?;
    let mut tests = command("cargo", &["test", "--package", "e2e", "--locked"]);
    tests.env("CUPOLA_BIN", cupola("debug")).env("CF_BIN", prepare::cf()?);
    run(&mut tests)
}

fn buildpacks() -> anyhow::Result<()> {
    let tests = root().join("buildpacks/tests/run");
    run(&mut std::process::Command::new(tests))
}

/// The samples' own tests, each in its own language.
fn samples() -> anyhow::Result<()> {
    let tests = root().join("samples/test");
    run(std::process::Command::new(tests).env("PATH", prepare::path_with_go()?))
}

/// Every script of the repository.
fn shellcheck() -> anyhow::Result<()> {
    let listed = crate::run::output("git", &["grep", "-lE", "^#!.*\\b(ba)?sh\\b"]);
    let listed = listed.context("git grep found no script: this check is broken")?;
    let scripts: Vec<&str> = listed.lines().collect();
    run(command("shellcheck", &["--external-sources", "--source-path=SCRIPTDIR"]).args(scripts))
}

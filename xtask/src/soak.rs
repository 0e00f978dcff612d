//! `make soak`: many deployments by API, one after another, under every kind of load.
//!
//! It may be stopped at any time: each deployment is written down when it is done, what came of the
//! requests when the run ends, and the next run goes on with the same installation. At the end all is
//! summed up in docs/benchmarks.md.

mod state;
mod usage;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use e2e::load::{Kind, Load, Report};
use serde_json::{Value, json};

use crate::{
    bench::{
        self, BINARY, PAGE,
        child::{Guarded, finish, finish_spawned, wait_for},
        platform::{PATIENCE, Platform},
        report,
    },
    prepare,
    run::{command, root, run},
};
use state::State;
use usage::Usage;

const DEPLOYMENTS: usize = 1_000;
const INSTANCES: u32 = 2;
/// Every so many deployments one is a canary, continued; and one is cancelled.
const CANARY_EVERY: usize = 10;
const CANCEL_EVERY: usize = 25;
const TOKEN_EVERY: usize = 20;
const RUN_DIR: &str = "/run/cupola-soak";
const HOST: &str = "soak.apps.localhost";
const SERVER: &str = include_str!("../../e2e/apps/steady.py");
const MANIFEST: &str =
    "applications:\n- name: soak\n  memory: 64M\n  buildpacks:\n  - binary_buildpack\n";

pub(crate) fn soak() -> anyhow::Result<()> {
    prepare::platform()?;
    prepare::soak()?;
    if std::env::var_os(BINARY).is_none() {
        run(&mut command("cargo", &["build", "--release", "--package", "cupola", "--locked"]))?;
    }
    let wanted = match std::env::var_os("SOAK_DEPLOYMENTS") {
        Some(text) => {
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.context("SOAK_DEPLOYMENTS is not a number")?
        }
        None => DEPLOYMENTS,
    };
    let folder =
        std::env::var_os("SOAK_DIR").map_or_else(|| "/var/tmp/cupola-soak".into(), PathBuf::from);
    fs::create_dir_all(&folder)?;
    // Containers reach their files through it.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    let mut state = State::read(&folder)?;
    println!(
        "{} of {wanted} deployments are done; kept in {}",
        state.deployments,
        folder.display()
    );
    state.sessions += 1;
    let mut platform = Platform::start_in(folder.join("platform"), PathBuf::from(RUN_DIR))?;
    let worked = work(&mut platform, &mut state, wanted);
    let was_stopped = platform.was_stopped();
    state.write()?;
    if let Err(error) = &worked
        && !was_stopped
    {
        eprintln!("soak: {error:#}\nthe platform said:\n{}", platform.log());
    }
    platform.remove()?;
    println!("\n{}", state.text());
    if was_stopped {
        println!("stopped; `make soak` goes on");
        return Ok(());
    }
    worked?;
    write_page(&state)?;
    fs::remove_dir_all(&folder)?;
    match state.requests.failed + state.other_load.failed {
        0 => Ok(()),
        failed => bail!("{failed} requests failed"),
    }
}

fn write_page(state: &State) -> anyhow::Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).unwrap_or_default();
    let section = report::soak_section(&state.section());
    fs::write(&path, report::with_soak(&page, &section))
        .context("cannot write docs/benchmarks.md")?;
    println!("written to {PAGE}");
    Ok(())
}

/// Deploys until enough is done or something fails, and adds up what came of the requests.
fn work(platform: &mut Platform, state: &mut State, wanted: usize) -> anyhow::Result<()> {
    let app = App::push(platform)?;
    let started = Instant::now();
    let load = Load::start(platform.router, HOST, &Kind::ALL);
    if !load.wait_for_more(1, PATIENCE) {
        bail!("the app does not answer: {:?}", load.report());
    }
    let other = OtherLoad::start(platform)?;
    if state.begin.is_none() {
        state.begin = Some(Usage::read(platform, &app.guid)?);
    }
    let outcome = deploy_until(platform, state, &app, &load, wanted);
    state.minutes += started.elapsed().as_secs_f64() / 60.0;
    state.add(&load.finish());
    state.other_load.add(&other.finish()?);
    outcome
}

fn deploy_until(
    platform: &mut Platform,
    state: &mut State,
    app: &App,
    load: &Load,
    wanted: usize,
) -> anyhow::Result<()> {
    while state.deployments < wanted {
        let number = state.deployments + 1;
        if number.is_multiple_of(TOKEN_EVERY) {
            platform.renew_token()?;
        }
        let begun = Instant::now();
        app.deploy(platform, number)?;
        state.seconds.push(begun.elapsed().as_secs_f64());
        state.deployments = number;
        state.write()?;
        if number.is_multiple_of((wanted / 20).max(1)) || number == wanted {
            let usage = Usage::read(platform, &app.guid)?;
            println!("{number:5}  {}  {}", usage.text(), told(&load.report()));
            state.end = Some(usage);
        }
    }
    Ok(())
}

fn told(report: &Report) -> String {
    format!(
        "{} served, {} failed, {} asked again, {} tunnels told to go",
        report.total(),
        report.failed,
        report.retried,
        report.gone_away
    )
}

struct App {
    guid: String,
}

impl App {
    /// Of this installation, pushed if it is new.
    fn push(platform: &mut Platform) -> anyhow::Result<Self> {
        let folder = platform.folder.join("soak");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("steady.py"), SERVER)?;
        fs::write(folder.join("Procfile"), "web: python3 steady.py\n")?;
        fs::write(folder.join("manifest.yml"), MANIFEST)?;
        if platform.find("/v3/apps?names=soak").is_err() {
            push(platform, &folder)?;
        }
        let guid = platform.find("/v3/apps?names=soak")?;
        let app = Self { guid };
        let path = format!("/v3/apps/{}/processes/web/actions/scale", app.guid);
        platform.post(&path, &json!({ "instances": INSTANCES }))?;
        app.wait_until_running(platform)?;
        Ok(app)
    }

    fn wait_until_running(&self, platform: &mut Platform) -> anyhow::Result<()> {
        let path = format!("/v3/apps/{}/processes/web/stats", self.guid);
        wait_for("both instances", PATIENCE, || {
            let stats = platform.get(&path)?;
            let instances = stats["resources"].as_array().cloned().unwrap_or_default();
            let is_up = instances.iter().all(|one| one["state"] == "RUNNING");
            Ok((is_up && instances.len() == INSTANCES as usize).then_some(()))
        })
    }

    /// Rolling, or a canary that is continued or cancelled. What answers afterwards is looked at.
    fn deploy(&self, platform: &mut Platform, number: usize) -> anyhow::Result<()> {
        let word = format!("deployment-{number}");
        let variables = format!("/v3/apps/{}/environment_variables", self.guid);
        let body = json!({ "var": { "WORD": word } }).to_string();
        let before = answer(platform)?;
        platform.ask("PATCH", &variables, &body)?;
        let is_cancelled = number.is_multiple_of(CANCEL_EVERY);
        let is_canary = is_cancelled || number.is_multiple_of(CANARY_EVERY);
        let deployment = platform.post(
            "/v3/deployments",
            &json!({
                "strategy": if is_canary { "canary" } else { "rolling" },
                "relationships": { "app": { "data": { "guid": self.guid } } },
            }),
        )?;
        let guid = deployment["guid"].as_str().context("a deployment has a guid")?;
        let path = format!("/v3/deployments/{guid}");
        if is_canary {
            reaches(platform, &path, "PAUSED")?;
            let action = if is_cancelled { "cancel" } else { "continue" };
            platform.post(&format!("{path}/actions/{action}"), &json!({}))?;
        }
        reaches(platform, &path, if is_cancelled { "CANCELED" } else { "DEPLOYED" })?;
        let expected = if is_cancelled { before } else { format!("word {word}\n") };
        wait_for("the version that was deployed", PATIENCE, || {
            let answers = (0..4).map(|_| answer(platform)).collect::<anyhow::Result<Vec<_>>>()?;
            Ok(answers.iter().all(|answer| *answer == expected).then_some(()))
        })
    }
}

fn push(platform: &Platform, folder: &Path) -> anyhow::Result<()> {
    let mut push = platform.cf();
    push.args(["push", "soak", "-p"]).arg(folder).arg("-f").arg(folder.join("manifest.yml"));
    finish(&mut push, PATIENCE).map(drop)
}

fn answer(platform: &Platform) -> anyhow::Result<String> {
    Ok(bench::http::Client::new(platform.router).get(HOST, "/")?.body)
}

fn reaches(platform: &mut Platform, path: &str, wanted: &str) -> anyhow::Result<()> {
    wait_for(wanted, PATIENCE, || {
        let deployment: Value = platform.get(path)?;
        let status = &deployment["status"];
        let is_over = status["value"] == "FINALIZED" && status["reason"] != wanted;
        if is_over {
            bail!("{path} is {}: {}", status["reason"], status["details"]["error"]);
        }
        Ok((status["reason"] == wanted).then_some(()))
    })
}

/// A generator that others wrote, beside ours: Debian's `hey`.
struct OtherLoad(Guarded);

/// What it says at its end.
#[derive(Debug, Default)]
pub(crate) struct OtherCounts {
    pub(crate) served: u64,
    pub(crate) failed: u64,
    pub(crate) words: String,
}

impl OtherCounts {
    fn add(&mut self, other: &Self) {
        self.served += other.served;
        self.failed += other.failed;
        if other.failed > 0 {
            self.words.clone_from(&other.words);
        }
    }
}

impl OtherLoad {
    /// Two connections with 20 requests a second each.
    fn start(platform: &Platform) -> anyhow::Result<Self> {
        let mut hey = Command::new("hey");
        hey.args(["-z", "240h", "-c", "2", "-q", "20", "-t", "30", "-host", HOST]);
        hey.arg(format!("http://{}/", platform.router)).stdout(Stdio::piped());
        Ok(Self(Guarded::spawn(hey.stderr(Stdio::piped()))?))
    }

    /// It counts until it is interrupted, and then says what it counted.
    fn finish(self) -> anyhow::Result<OtherCounts> {
        run(&mut command("kill", &["-INT", &self.0.pid().to_string()]))?;
        let output = finish_spawned(self.0, "hey", PATIENCE)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(counts_of(&text))
    }
}

/// `  [200] 81 responses` below one heading, `  [2] Get "http://...": EOF` below the other.
fn counts_of(text: &str) -> OtherCounts {
    let (statuses, errors) = text.split_once("Error distribution:").unwrap_or((text, ""));
    let bracketed = |line: &str| {
        let (number, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
        Some((number.parse::<u64>().ok()?, rest.trim().to_owned()))
    };
    let mut counts = OtherCounts { words: errors.trim().to_owned(), ..OtherCounts::default() };
    let statuses = statuses.split("Status code distribution:").nth(1).unwrap_or_default();
    for (status, rest) in statuses.lines().filter_map(bracketed) {
        let count = rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        if status == 200 { counts.served += count } else { counts.failed += count }
    }
    counts.failed += errors.lines().filter_map(bracketed).map(|(count, _)| count).sum::<u64>();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_generator_says_is_read() {
        let text = "Summary:\n  Total: 1 s\n\nStatus code distribution:\n  [200]\t81 responses\n  [502] 2 responses\n\n\
                    Error distribution:\n  [3]\tGet \"http://a/\": EOF\n";

        let counts = counts_of(&text.replace('\t', " "));

        assert_eq!((counts.served, counts.failed), (81, 5));
        assert!(counts.words.contains("EOF"));
    }
}

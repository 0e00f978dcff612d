//! First and repeat push of the Express sample, from the start of the CLI to the first answer, and
//! rolling it back.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{
    child::{Guarded, finish, finish_spawned},
    http::Client,
    platform::{Platform, free_address},
    report::{Row, Verdict},
    stats::Samples,
};
use crate::run::root;

const FIRST_PUSHES: usize = 3;
/// After each first push.
const REPEAT_PUSHES: usize = 2;
const BOOTS: usize = 5;
const BEYOND_NPM_S: f64 = 2.0;
const BEYOND_BOOT_S: f64 = 1.5;
const ROLLBACK_S: f64 = 10.0;
/// How long a push may take, npm included.
const PUSH_WITHIN: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(2);

/// A command line that can push.
#[derive(Clone, Copy, PartialEq)]
enum Cli {
    Cf,
    Cupola,
}

/// The name of an app of this measurement that answers and goes on running.
pub(super) const RUNNING_APP: &str = "first-cf-0";

pub(super) fn measure(platform: &mut Platform) -> anyhow::Result<Vec<Row>> {
    let mut npm = Vec::new();
    let mut of_cf = Pushes::default();
    let mut of_cupola = Pushes::default();
    for number in 0..FIRST_PUSHES {
        npm.push(npm_ci_s(&platform.folder.join(format!("npm-{number}")))?);
        of_cf.round(platform, Cli::Cf, number)?;
        of_cupola.round(platform, Cli::Cupola, number)?;
    }
    let boot = boot_s(&platform.folder.join("npm-0/app"))?;
    let bare = Bare { npm: Samples::new(npm), boot };
    Ok(vec![
        first_row("first push by `cf`, Express sample", &of_cf, &bare),
        first_row("first push by `cupola`, Express sample", &of_cupola, &bare),
        repeat_row("repeat push by `cf`, code change only", &of_cf, &bare),
        repeat_row("repeat push by `cupola`, code change only", &of_cupola, &bare),
        rollback_row(&of_cupola),
    ])
}

/// What the app's own tools take without a platform.
struct Bare {
    npm: Samples,
    boot: Samples,
}

#[derive(Default)]
struct Pushes {
    first_s: Vec<f64>,
    repeat_s: Vec<f64>,
    /// Until the CLI ended, of repeat pushes.
    repeat_done_s: Vec<f64>,
    /// Until the CLI ended: then every instance is of the old revision.
    rollback_s: Vec<f64>,
}

impl Pushes {
    /// A new app, and then changes of its code.
    fn round(&mut self, platform: &Platform, cli: Cli, number: usize) -> anyhow::Result<()> {
        let by = if cli == Cli::Cf { "cf" } else { "cupola" };
        let name = format!("first-{by}-{number}");
        let app = platform.folder.join(&name);
        copy_sample(&app)?;
        mark(&app, "version 0")?;
        self.first_s.push(push_s(platform, cli, &name, &app, "version 0")?.answer_s);
        for change in 1..=REPEAT_PUSHES {
            let marker = format!("version {change}");
            mark(&app, &marker)?;
            let push = push_s(platform, cli, &name, &app, &marker)?;
            self.repeat_s.push(push.answer_s);
            self.repeat_done_s.push(push.done_s);
        }
        if cli == Cli::Cupola {
            let mut rollback = platform.cupola();
            rollback.args(["rollback", &name, "--yes"]);
            let before = format!("version {}", REPEAT_PUSHES - 1);
            self.rollback_s.push(timed(platform, rollback, &name, &before)?.done_s);
        }
        Ok(())
    }
}

fn first_row(what: &'static str, pushes: &Pushes, bare: &Bare) -> Row {
    let first = Samples::new(pushes.first_s.clone());
    let beyond = first.median() - bare.npm.median() - bare.boot.median();
    Row {
        what,
        budget: format!("npm + boot + {BEYOND_NPM_S:.1} s"),
        measured: format!(
            "{} = npm {:.2} s + boot {:.2} s + **{beyond:.2} s**",
            told(&first),
            bare.npm.median(),
            bare.boot.median()
        ),
        n: first.n(),
        verdict: Verdict::at_most(beyond, BEYOND_NPM_S, "s"),
        method: method(what, bare),
    }
}

fn repeat_row(what: &'static str, pushes: &Pushes, bare: &Bare) -> Row {
    let repeat = Samples::new(pushes.repeat_s.clone());
    let done = Samples::new(pushes.repeat_done_s.clone());
    let beyond = repeat.median() - bare.boot.median();
    Row {
        what,
        budget: format!("boot + {BEYOND_BOOT_S:.1} s"),
        measured: format!(
            "{} = boot {:.2} s + **{beyond:.2} s**; the CLI ends after {:.2} s",
            told(&repeat),
            bare.boot.median(),
            done.median()
        ),
        n: repeat.n(),
        verdict: Verdict::at_most(beyond, BEYOND_BOOT_S, "s"),
        method: String::new(),
    }
}

fn rollback_row(pushes: &Pushes) -> Row {
    let rollback = Samples::new(pushes.rollback_s.clone());
    Row {
        what: "`cupola rollback` to the revision before",
        budget: format!("{ROLLBACK_S:.0} s"),
        measured: told(&rollback),
        n: rollback.n(),
        verdict: Verdict::at_most(rollback.median(), ROLLBACK_S, "s"),
        method:
            "After the repeat pushes: from the start of the CLI to its end, when the instance is \
                 of the old revision, with the app's boot in it."
                .to_owned(),
    }
}

/// Once for all of the rows.
fn method(what: &str, bare: &Bare) -> String {
    if !what.contains("`cf`") {
        return String::new();
    }
    format!(
        "Each first push is a new app with a cache of its own that is empty; each repeat push changes one line of \
         `app.js`. From the start of the CLI (logged in) to the first 200 through the router that has the new text, \
         asked for every 2 ms. npm: `npm ci --omit=dev` of the sample with an empty cache, in turns with the pushes, on \
         the host, from the same registry: {} (n={}). Boot: from the start of `node server.js` on the host to its first \
         200: {} (n={}). After it has sent a file, `cf` sleeps for 1 s to let its progress bar be seen \
         (upstream: cli, util/progressbar); that second is in its rows, and most of what they are longer by than those of `cupola`. \
         A repeat push sends the changed file only; one without any change sends nothing and sleeps not.",
        told(&bare.npm),
        bare.npm.n(),
        told(&bare.boot),
        bare.boot.n()
    )
}

fn told(samples: &Samples) -> String {
    format!("{:.2} s [{:.2}, {:.2}]", samples.median(), samples.min(), samples.max())
}

struct Push {
    /// To the first answer of the new code.
    answer_s: f64,
    /// To the end of the CLI.
    done_s: f64,
}

fn push_s(
    platform: &Platform,
    cli: Cli,
    name: &str,
    app: &Path,
    marker: &str,
) -> anyhow::Result<Push> {
    let mut push = match cli {
        Cli::Cf => platform.cf(),
        Cli::Cupola => platform.cupola(),
    };
    push.args(["push", name]).current_dir(app);
    timed(platform, push, name, marker)
}

fn timed(
    platform: &Platform,
    mut command: Command,
    name: &str,
    marker: &str,
) -> anyhow::Result<Push> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let child = Guarded::spawn(&mut command)?;
    let cli = std::thread::spawn(move || {
        let output = finish_spawned(child, "the command line", PUSH_WITHIN);
        output.map(|_| started.elapsed().as_secs_f64())
    });
    let host = format!("{name}.apps.localhost");
    let answer_s = loop {
        if answers(platform.router, &host, marker) {
            break Some(started.elapsed().as_secs_f64());
        }
        if cli.is_finished() && started.elapsed() > PUSH_WITHIN {
            break None;
        }
        std::thread::sleep(POLL);
    };
    let done_s = cli.join().unwrap_or_else(|_| bail!("the thread of the push panicked"))?;
    match answer_s {
        Some(answer_s) => Ok(Push { answer_s, done_s }),
        None => bail!("{name} does not answer with {marker:?} after that"),
    }
}

fn answers(address: SocketAddr, host: &str, marker: &str) -> bool {
    let answer = Client::new(address).get(host, "/");
    answer.is_ok_and(|answer| answer.status == 200 && answer.body.contains(marker))
}

fn sample() -> PathBuf {
    root().join("samples/express")
}

/// Without what may lie beside it on a developer's machine.
fn copy_sample(to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for name in ["app.js", "server.js", "package.json", "package-lock.json"] {
        fs::copy(sample().join(name), to.join(name))?;
    }
    Ok(())
}

/// Makes the sample's answer contain the text.
fn mark(app: &Path, text: &str) -> anyhow::Result<()> {
    const ANSWER: &str = "express sample, ";
    let source = fs::read_to_string(sample().join("app.js"))?;
    if !source.contains(ANSWER) {
        bail!("the Express sample no longer answers `{ANSWER}`: this measurement is broken");
    }
    fs::write(app.join("app.js"), source.replace(ANSWER, &format!("{ANSWER}{text}, ")))?;
    Ok(())
}

/// What the package manager takes alone, with nothing in its cache.
fn npm_ci_s(folder: &Path) -> anyhow::Result<f64> {
    let app = folder.join("app");
    copy_sample(&app)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=dev"]).current_dir(&app).env("NODE_ENV", "production");
    npm.env("npm_config_cache", folder.join("cache")).env("npm_config_progress", "false");
    for quiet in ["audit", "fund", "update_notifier"] {
        npm.env(format!("npm_config_{quiet}"), "false");
    }
    let started = Instant::now();
    finish(&mut npm, PUSH_WITHIN)?;
    Ok(started.elapsed().as_secs_f64())
}

/// From the start of the app, without a platform, to its first answer.
fn boot_s(app: &Path) -> anyhow::Result<Samples> {
    let mut boots = Vec::new();
    for _ in 0..BOOTS {
        let address = free_address()?;
        let mut node = Command::new("node");
        node.arg("server.js").current_dir(app).env("PORT", address.port().to_string());
        node.stdout(Stdio::null());
        let started = Instant::now();
        let _node = Guarded::spawn(&mut node)?;
        while !answers(address, "localhost", "express sample") {
            if started.elapsed() > PUSH_WITHIN {
                bail!("the Express sample does not answer");
            }
            std::thread::sleep(POLL);
        }
        boots.push(started.elapsed().as_secs_f64());
    }
    Ok(Samples::new(boots))
}

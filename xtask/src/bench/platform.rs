//! The installation that is measured: the release binary, folders and ports of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    child::{Guarded, finish, wait_for},
    http::{Answer, Client, Request},
    procfs,
};
use crate::prepare;

/// How long one step of the platform may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Of nobody else on a machine that is measured; a network that is taken is refused by `up`.
const SUBNET: &str = "10.231.0.0/20";

pub(crate) struct Platform {
    up: Guarded,
    pub(super) binary: PathBuf,
    cf: PathBuf,
    pub(crate) folder: PathBuf,
    run_dir: PathBuf,
    pub(super) api: SocketAddr,
    pub(crate) router: SocketAddr,
    client: Client,
    authorization: String,
}

impl Platform {
    /// Starts it in a folder of its own below `scratch`, with `cf` logged in.
    pub(super) fn start(scratch: &Path) -> anyhow::Result<Self> {
        let run_dir = PathBuf::from(format!("/run/cupola-bench-{}", std::process::id()));
        Self::start_in(scratch.join("platform"), run_dir)
    }

    /// In these folders, where it may have been before.
    pub(crate) fn start_in(folder: PathBuf, run_dir: PathBuf) -> anyhow::Result<Self> {
        let cf = prepare::cf()?;
        fs::create_dir_all(&folder)?;
        let (api, router) = (free_address()?, free_address()?);
        let binary = super::binary();
        let log = fs::File::create(folder.join("up.log"))?;
        let mut up = Command::new(&binary);
        up.arg("up").arg("--data-dir").arg(folder.join("data")).arg("--run-dir").arg(&run_dir);
        up.arg("--api-addr").arg(api.to_string()).arg("--router-addr").arg(router.to_string());
        up.arg("--admin-password-file").arg(folder.join("password"));
        up.args(["--instance-subnet", SUBNET]).stdout(log.try_clone()?).stderr(log);
        let up = Guarded::spawn(&mut up)?;
        let client = Client::new(api);
        let authorization = String::new();
        let mut platform =
            Self { up, binary, cf, folder, run_dir, api, router, client, authorization };
        match platform.wait_until_ready().and_then(|()| platform.log_in()) {
            Ok(()) => Ok(platform),
            Err(error) => {
                platform.remove()?;
                Err(error)
            }
        }
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        wait_for("the platform", PATIENCE, || {
            if let Some(status) = self.up.0.try_wait()? {
                bail!("the platform ended: {status}\n{}", self.log());
            }
            Ok(self.client.get("127.0.0.1", "/").ok().filter(|answer| answer.status == 200))
        })?;
        Ok(())
    }

    fn log_in(&mut self) -> anyhow::Result<()> {
        let password = fs::read_to_string(self.folder.join("password"))?;
        let api = format!("http://{}", self.api);
        finish(self.cf().args(["api", &api]), PATIENCE)?;
        finish(self.cf().args(["auth", "admin", password.trim()]), PATIENCE)?;
        finish(self.cf().args(["target", "-o", "default", "-s", "dev"]), PATIENCE)?;
        self.renew_token()
    }

    /// Tokens expire; each part of the measurement begins with a new one.
    pub(crate) fn renew_token(&mut self) -> anyhow::Result<()> {
        let token = finish(self.cf().arg("oauth-token"), PATIENCE)?;
        self.authorization = String::from_utf8(token.stdout)?.trim().to_owned();
        Ok(())
    }

    /// What the platform printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("up.log")).unwrap_or_default()
    }

    pub(crate) fn cf(&self) -> Command {
        let mut cf = Command::new(&self.cf);
        cf.env("CF_HOME", &self.folder).env("CF_COLOR", "false").current_dir(&self.folder);
        cf
    }

    pub(crate) fn cupola(&self) -> Command {
        let mut cupola = Command::new(&self.binary);
        cupola.env("CUPOLA_RUN_DIR", &self.run_dir).current_dir(&self.folder);
        cupola
    }

    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        json(&self.ask("GET", path, "")?)
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        json(&self.ask("POST", path, &body.to_string())?)
    }

    /// The answer to a request of the administrator, if it is a good one.
    pub(crate) fn ask(&mut self, method: &str, path: &str, json: &str) -> anyhow::Result<Answer> {
        let host = self.api.to_string();
        let request =
            Request { method, host: &host, path, authorization: &self.authorization, json };
        let answer = self.client.send(request).with_context(|| format!("{method} {path}"))?;
        if answer.status >= 400 {
            bail!("{method} {path}: {} {}", answer.status, answer.body);
        }
        Ok(answer)
    }

    /// The id of the only resource that a list has.
    pub(crate) fn find(&mut self, list: &str) -> anyhow::Result<String> {
        let list_ = self.get(list)?;
        let guid = list_["resources"][0]["guid"].as_str();
        Ok(guid.with_context(|| format!("{list} is empty"))?.to_owned())
    }

    /// Whether `cupola up` has ended as Ctrl-C makes it, and not by a defect.
    pub(crate) fn was_stopped(&mut self) -> bool {
        matches!(self.up.0.try_wait(), Ok(Some(status)) if status.success())
    }

    pub(crate) fn control_pid(&self) -> u32 {
        self.up.pid()
    }

    pub(crate) fn router_pid(&self) -> anyhow::Result<u32> {
        let processes = procfs::naming(&self.run_dir);
        let router = processes
            .iter()
            .find(|process| process.arguments.get(1).is_some_and(|role| role == "router"));
        Ok(router.context("there is no router process")?.pid)
    }

    /// The folders of instances that are there.
    pub(super) fn instance_folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.run_dir.join("instances")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Sets the number of instances of a process and waits until all of them run.
    pub(super) fn scale(&mut self, process: &str, instances: usize) -> anyhow::Result<()> {
        self.ask_to_scale(process, instances)?;
        self.wait_until_scaled(process, instances)
    }

    pub(super) fn ask_to_scale(&mut self, process: &str, instances: usize) -> anyhow::Result<()> {
        let path = format!("/v3/processes/{process}/actions/scale");
        self.post(&path, &serde_json::json!({ "instances": instances }))?;
        Ok(())
    }

    pub(super) fn wait_until_scaled(
        &mut self,
        process: &str,
        instances: usize,
    ) -> anyhow::Result<()> {
        let path = format!("/v3/processes/{process}/stats");
        wait_for("instances to run", PATIENCE, || {
            let stats = self.get(&path)?;
            let running = stats["resources"].as_array().into_iter().flatten();
            let running = running.filter(|instance| instance["state"] == "RUNNING").count();
            let are_there = self.instance_folders().len() == instances;
            Ok((running == instances && are_there).then_some(()))
        })
    }

    /// Ends everything, and fails if something is left.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        let place = [self.folder.join("data"), self.run_dir.clone()];
        let mut down = Command::new(&self.binary);
        down.arg("down").arg("--data-dir").arg(&place[0]).arg("--run-dir").arg(&place[1]);
        finish(&mut down, PATIENCE)?;
        let run_dir = self.run_dir.clone();
        // Collects the status of control, which has ended by now.
        drop(self);
        let left = procfs::naming(&run_dir);
        if !left.is_empty() {
            bail!("processes are left: {left:?}");
        }
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        if run_dir.exists() || mounts.contains(&*run_dir.to_string_lossy()) {
            bail!("mounts or files are left below {}", run_dir.display());
        }
        Ok(())
    }
}

fn json(answer: &Answer) -> anyhow::Result<Value> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&answer.body).with_context(|| format!("not JSON: {}", answer.body))
}

/// An address on loopback that nobody listened on a moment ago.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

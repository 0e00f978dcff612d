//! Apps that scenarios push, and what they ask of an app that was pushed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    cli::{Cli, Ran},
    platform::{Platform, sample},
};

/// A folder with the statically linked sample and its Procfile.
pub fn binary_app(platform: &Platform, name: &str) -> PathBuf {
    let folder = platform.app_folder(name);
    compile(&sample("binary").join("main.c"), &folder.join("binary"));
    fs::copy(sample("binary").join("Procfile"), folder.join("Procfile")).unwrap();
    folder
}

/// A folder with an app that behaves as it is told: `./misfit WAY`, see `apps/misfit.c`.
pub fn misfit(platform: &Platform, name: &str) -> PathBuf {
    let folder = platform.app_folder(name);
    compile_misfit(&folder.join("misfit"));
    fs::write(folder.join("Procfile"), "web: ./misfit serve\n").unwrap();
    folder
}

pub fn compile_misfit(program: &Path) {
    let source = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("apps/misfit.c");
    compile(&source, program);
}

/// A folder with these files.
pub fn files(platform: &Platform, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = platform.app_folder(name);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A copy of a sample without what its own tests left there.
pub fn sample_copy(platform: &Platform, name: &str) -> PathBuf {
    let folder = platform.app_folder(name);
    copy_tree(&sample(name), &folder);
    folder
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_name().to_str() {
            Some("node_modules" | "__pycache__" | ".venv") => {}
            _ if path.is_dir() => copy_tree(&path, &target),
            _ => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

fn compile(source: &Path, program: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-Os", "-Wall", "-Wextra", "-static", "-s", "-o"]).arg(program).arg(source);
    let built = compiler.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// `cf push` of a folder that needs no build.
pub fn push(cf: &Cli, name: &str, folder: &Path, more: &[&str]) -> Ran {
    let folder = folder.to_str().unwrap();
    let always = ["push", name, "-p", folder, "-b", "binary_buildpack", "-m", "32M", "-k", "64M"];
    cf.run(&[&always, more].concat())
}

/// Pushes the well-behaved misfit and waits until it serves.
pub fn push_misfit(platform: &Platform, cf: &Cli, name: &str, more: &[&str]) {
    let pushed = push(cf, name, &misfit(platform, name), more);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    assert_eq!(platform.get(name, "/").status, 200);
}

pub fn guid(cf: &Cli, app: &str) -> String {
    cf.ok(&["app", app, "--guid"]).stdout.trim().to_owned()
}

/// What `GET /v3/processes/GUID/stats` tells of the instances of an app's web process.
pub fn stats(cf: &Cli, app: &str) -> Vec<Value> {
    let path = format!("/v3/apps/{}/processes/web/stats", guid(cf, app));
    let mut answer = cf.json(&path);
    serde_json::from_value(answer["resources"].take()).unwrap()
}

/// The ids of an app's web instances, in the order of their index.
pub fn instance_ids(cf: &Cli, app: &str) -> Vec<String> {
    let stats = stats(cf, app);
    stats.iter().map(|one| one["instance_guid"].as_str().unwrap_or_default().to_owned()).collect()
}

pub fn are_all_running(cf: &Cli, app: &str) -> bool {
    stats(cf, app).iter().all(|one| one["state"] == "RUNNING")
}

/// The app's newest log lines, as `cf` shows them.
pub fn recent_logs(cf: &Cli, app: &str) -> Ran {
    cf.ok(&["logs", app, "--recent"])
}

/// Every line of an app's log, however many there are.
pub fn whole_log(cf: &Cli, app: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let app = guid(cf, app);
    let (mut log, mut next) = (String::new(), 0_i64);
    loop {
        let path = format!("/api/v1/read/{app}?limit=1000&start_time={next}");
        let page = cf.ok(&["curl", &path]).stdout;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let batch = page["envelopes"]["batch"].as_array().cloned().unwrap_or_default();
        for envelope in &batch {
            let payload = envelope["log"]["payload"].as_str().unwrap_or_default();
            log.push_str(&String::from_utf8_lossy(&BASE64_STANDARD.decode(payload).unwrap()));
            log.push('\n');
        }
        match batch.last() {
            Some(last) if batch.len() == 1000 => {
                next = last["timestamp"].as_str().unwrap().parse::<i64>().unwrap() + 1;
            }
            _ => return log,
        }
    }
}

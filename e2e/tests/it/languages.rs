//! Versions, lockfiles and vendored packages: what the buildpacks of the languages honour, and what
//! they say when they cannot.

use std::path::Path;

use crate::{
    apps::{files, recent_logs},
    cli::{Cli, Ran},
    platform::{Platform, wait_for},
};

/// One that changes nothing about how the registries of this machine are reached.
const NO_PROXY: &str = "registry.example.org";

/// Newer than the Go of the stacks that this runs on; raise it when they catch up.
const NEWER_GO: &str = "1.27.2";

const NODE_SERVER: &str = "
const { createServer } = require('http')
const answer = [process.version, require('ms/package.json').version, process.env.NO_PROXY]
createServer((_, response) => response.end(answer.join(' '))).listen(process.env.PORT)
";
const NODE_PACKAGE: &str = r#"{
  "name": "locked", "version": "1.0.0", "private": true,
  "engines": { "npm": "12.x" },
  "scripts": { "heroku-prebuild": "echo the build has $NO_PROXY", "start": "node server.js" },
  "dependencies": { "ms": "^2.1.0" }
}"#;
/// Older than the newest that the package asks for.
const NODE_LOCKFILE: &str = r#"{
  "name": "locked", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": { "name": "locked", "version": "1.0.0", "dependencies": { "ms": "^2.1.0" } },
    "node_modules/ms": { "version": "2.1.1" }
  }
}"#;
const PYTHON_SERVER: &str = "
import http.server, importlib.metadata, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        packages = importlib.metadata.version('itsdangerous')
        self.wfile.write(f'{sys.version.split()[0]} {packages}'.encode())

http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
";
const PYTHON_PROJECT: &str = r#"
[project]
name = "sample"
version = "1.0.0"
requires-python = ">=3.8"
dependencies = ["itsdangerous==2.2.0"]
"#;
const GO_PROGRAM: &str = r#"package main

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"example.invalid/greeting"
)

func main() {
	println(greeting.Text, "from", runtime.Version())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}
"#;

#[test]
fn versions_lockfiles_and_vendored_packages_are_honoured_or_refused() {
    let platform = Platform::start_in(&[], &[("NO_PROXY", NO_PROXY)]);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            node_and_lockfile(&platform);
            node_that_is_nowhere(&platform);
            go_newer_than_the_stack(&platform);
        });
        scope.spawn(|| {
            go_with_vendored_packages(&platform);
            python_project(&platform);
            python_lockfile(&platform);
            python_that_is_nowhere(&platform);
            go_that_is_nowhere(&platform);
        });
    });
}

fn push(cf: &Cli, name: &str, folder: &Path, more: &[&str]) -> Ran {
    let always = ["push", name, "-p", folder.to_str().unwrap(), "-m", "96M", "-k", "512M"];
    cf.run(&[&always, more].concat())
}

fn node_and_lockfile(platform: &Platform) {
    let folder = files(
        platform,
        "locked",
        &[
            (".nvmrc", "v22\n"),
            ("package.json", NODE_PACKAGE),
            ("package-lock.json", NODE_LOCKFILE),
            ("server.js", NODE_SERVER),
        ],
    );
    let cf = platform.cf_admin_beside("locked");

    let pushed = push(&cf, "locked", &folder, &[]);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    let answer = platform.get("locked", "/").body;
    let (version, rest) = answer.split_once(' ').unwrap();
    assert!(version.starts_with("v22."), ".nvmrc asks for 22: {answer}");
    assert_eq!(rest, format!("2.1.1 {NO_PROXY}"), "the lockfile and the host's proxies count");
    let log = recent_logs(&cf, "locked");
    log.says(".nvmrc asks for 22").says(&format!("the build has {NO_PROXY}"));
    log.says("runs install scripts only of packages named in allowScripts").says("added 1 package");

    let again = push(&cf, "locked", &folder, &["--no-start"]);
    assert_eq!(again.code, Some(0), "{again}");
    cf.ok(&["start", "locked"]).says("running");
    let log = recent_logs(&cf, "locked").stdout;
    let (_, second) = log.split_at(log.rfind("Installing node").unwrap());
    assert!(second.contains("Lockfile unchanged: node_modules of the last push"), "{second}");
    assert!(!second.contains("added 1 package"), "{second}");
    assert_eq!(platform.get("locked", "/").body, answer);
}

fn node_that_is_nowhere(platform: &Platform) {
    let package = r#"{ "name": "future", "engines": { "node": "99.x" } }"#;
    let folder = files(platform, "future", &[("package.json", package), ("server.js", "")]);
    let cf = platform.cf_admin_beside("future");

    let pushed = push(&cf, "future", &folder, &[]);

    assert_eq!(pushed.code, Some(1), "{pushed}");
    let log = recent_logs(&cf, "future");
    log.says("package.json (engines.node) asks for node 99.x; there is ");
    log.says("the npm registry offers no such version").says("hint: change package.json");
}

fn python_project(platform: &Platform) {
    let folder = files(
        platform,
        "project",
        &[
            (".python-version", "3\n"),
            ("pyproject.toml", PYTHON_PROJECT),
            ("main.py", PYTHON_SERVER),
        ],
    );
    let cf = platform.cf_admin_beside("project");

    let pushed = push(&cf, "project", &folder, &[]);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    let answer = platform.get("project", "/").body;
    assert!(answer.starts_with("3.") && answer.ends_with(" 2.2.0"), "{answer}");
    recent_logs(&cf, "project").says(".python-version asks for 3)");
}

fn python_lockfile(platform: &Platform) {
    let sources = [
        ("runtime.txt", "python-3.x\n"),
        ("requirements.txt", "itsdangerous==2.2.0\n"),
        ("main.py", PYTHON_SERVER),
    ];
    let folder = files(platform, "frozen", &sources);
    let cf = platform.cf_admin_beside("frozen");

    let pushed = push(&cf, "frozen", &folder, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let log = recent_logs(&cf, "frozen");
    log.says("runtime.txt asks for 3)").says("Successfully installed itsdangerous-2.2.0");

    let again = push(&cf, "frozen", &folder, &[]);
    assert_eq!(again.code, Some(0), "{again}");
    let log = recent_logs(&cf, "frozen").stdout;
    let (_, second) = log.split_at(log.rfind("Installing packages").unwrap());
    assert!(second.contains("requirements.txt unchanged"), "{second}");
    assert!(!second.contains("Successfully installed"), "{second}");
    assert!(platform.get("frozen", "/").body.ends_with(" 2.2.0"));
}

fn python_that_is_nowhere(platform: &Platform) {
    let project = "[project]\nname = \"future\"\nversion = \"1\"\nrequires-python = \">=4\"\n";
    let folder = files(platform, "python4", &[("pyproject.toml", project), ("main.py", "")]);
    let cf = platform.cf_admin_beside("python4");

    let pushed = push(&cf, "python4", &folder, &[]);

    assert_eq!(pushed.code, Some(1), "{pushed}");
    let log = recent_logs(&cf, "python4");
    log.says("pyproject.toml (requires-python) asks for Python >=4; the stack has 3.");
    log.says("hint: ask for a version that is there");
}

/// The compiler comes from the module proxy; the package, which nobody has, from the app itself.
fn go_with_vendored_packages(platform: &Platform) {
    let module = "module sample\n\ngo 1.21\n\nrequire example.invalid/greeting v1.0.0\n";
    let modules =
        "# example.invalid/greeting v1.0.0\n## explicit; go 1.21\nexample.invalid/greeting\n";
    let greeting = "package greeting\n\nconst Text = \"vendored\"\n";
    let manifest = "applications:\n- name: vendored\n  env: {GOVERSION: go1.25}\n";
    let folder = files(
        platform,
        "vendored",
        &[
            ("go.mod", module),
            ("main.go", GO_PROGRAM),
            ("vendor/modules.txt", modules),
            ("vendor/example.invalid/greeting/greeting.go", greeting),
            ("manifest.yml", manifest),
        ],
    );
    let cf = platform.cf_admin_beside("vendored");
    let manifest = folder.join("manifest.yml");
    let more = ["-f", manifest.to_str().unwrap(), "-u", "process", "--no-route"];

    let pushed = push(&cf, "vendored", &folder, &more);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    wait_for("the program's line", || {
        recent_logs(&cf, "vendored").contains("vendored from go1.25.").then_some(())
    });
    let log = recent_logs(&cf, "vendored");
    log.says("GOVERSION asks for 1.25)");
    log.says("Packages come from vendor/ alone").does_not_say("go: downloading");
}

/// A toolchain that go.mod names and that the stack does not have comes from the module proxy.
fn go_newer_than_the_stack(platform: &Platform) {
    let module = format!("module sample\n\ngo 1.21\n\ntoolchain go{}\n", NEWER_GO);
    let program = GO_PROGRAM
        .replace("\t\"example.invalid/greeting\"\n", "")
        .replace("greeting.Text", "\"compiled\"");
    let folder = files(platform, "modern", &[("go.mod", &module), ("main.go", &program)]);
    let cf = platform.cf_admin_beside("modern");

    let pushed = push(&cf, "modern", &folder, &["-u", "process", "--no-route"]);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    let line = format!("compiled from go{}", NEWER_GO);
    wait_for("the program's line", || recent_logs(&cf, "modern").contains(&line).then_some(()));
    recent_logs(&cf, "modern").says("from the Go module proxy; go.mod (toolchain) asks for");
}

fn go_that_is_nowhere(platform: &Platform) {
    let manifest = "applications:\n- name: unborn\n  env: {GOVERSION: go1.99}\n";
    let sources = [
        ("go.mod", "module sample\n\ngo 1.21\n"),
        ("main.go", "package main\n\nfunc main() {}\n"),
        ("manifest.yml", manifest),
    ];
    let folder = files(platform, "unborn", &sources);
    let cf = platform.cf_admin_beside("unborn");
    let manifest = folder.join("manifest.yml");

    let pushed = push(&cf, "unborn", &folder, &["-f", manifest.to_str().unwrap()]);

    assert_eq!(pushed.code, Some(1), "{pushed}");
    let log = recent_logs(&cf, "unborn");
    log.says("GOVERSION asks for Go 1.99; the stack has 1.").says("hint: change GOVERSION");
}

//! What changed in an app: who did what, with which commit, and what came of it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{
    apps::{are_all_running, files, push},
    cli::{Cli, Ran},
    platform::{Platform, wait_for},
};

const SERVER: &str = r#"
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"VERSION-1\n")
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const SECRET: &str = "hush-4711";

fn git(folder: &Path, arguments: &[&str]) -> Output {
    let done = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "git {arguments:?}: {done:?}");
    done
}

/// A git tree whose subfolder is an app; returns the commit.
fn tree(folder: &Path) -> String {
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    git(folder, &["remote", "add", "origin", "https://ada:hush-4711@example.com/shop.git"]);
    git(folder, &["add", "."]);
    git(folder, &["commit", "--quiet", "--message=first"]);
    let head = git(folder, &["rev-parse", "HEAD"]);
    String::from_utf8(head.stdout).unwrap().trim().to_owned()
}

/// The lines of the kinds, oldest first.
fn told(changes: &Value, kinds: &[&str]) -> Vec<String> {
    let line = |change: &Value| {
        let text = |key: &str| change[key].as_str().unwrap().to_owned();
        // It comes a minute after a deployment, or when the next one begins.
        let is_cost = text("event") == "audit.app.deployment.cost";
        (kinds.contains(&&*text("kind")) && !is_cost)
            .then(|| format!("{}: {}", text("who"), text("summary")))
    };
    changes.as_array().unwrap().iter().rev().filter_map(line).collect()
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

#[test]
fn what_changed_is_told_with_who_and_which_commit_and_without_secrets() {
    let platform = Platform::start();
    let (cf, cupola) = (platform.cf_admin(), platform.cupola());
    let code = [("shop/server.py", SERVER), ("shop/Procfile", "web: python3 server.py\n")];
    let folder = files(&platform, "tree", &code);
    let commit = tree(&folder);
    let path = folder.join("shop");
    let path = path.to_str().unwrap();

    let first = cupola.ok(&["push", "shop", "--path", path]);
    first.says(&format!("pushing commit {}", &commit[..12])).does_not_say("differ");
    cf.ok(&["set-env", "shop", "TOKEN", SECRET]).does_not_say(SECRET);
    cf.types("scale shop -i 2");
    cf.types("map-route shop apps.localhost --hostname window");
    wait_for("both instances", || are_all_running(&cf, "shop").then_some(()));
    // The answer to it never comes.
    platform.try_get("shop", "/exit");
    wait_for("the crash", || cf.types("events shop").contains("app.crash").then_some(()));
    std::fs::write(folder.join("shop/server.py"), SERVER.replace("VERSION-1", "VERSION-2"))
        .unwrap();
    let second = cupola.ok(&["push", "shop", "--path", path, "--rolling"]);
    second.says(&format!("pushing commit {}, with files that differ from it", &commit[..12]));
    cf.types("rollback shop --version 1 -f");
    cf.types("unmap-route shop apps.localhost --hostname window");

    let changes = cupola.ok(&["changes", "shop", "--json", "--since", "1h"]);
    let all = json(&changes);
    let short = &commit[..12];
    assert_eq!(
        told(&all, &["build", "deployment", "restart", "environment", "scale", "route"]),
        [
            "admin: mapped shop.apps.localhost".to_owned(),
            format!("admin: built, commit {short}"),
            format!("admin: restarted as revision 1, commit {short}"),
            "admin: variables added TOKEN".to_owned(),
            "admin: web: instances 1 to 2".to_owned(),
            "admin: mapped window.apps.localhost".to_owned(),
            format!("admin: built, commit {short} (dirty)"),
            format!("admin: rolling deployment of revision 2, commit {short} (dirty)"),
            format!("admin: rolling rollback of revision 3, commit {short}"),
            "admin: unmapped window.apps.localhost".to_owned(),
        ]
    );
    let crashes = told(&all, &["crash"]);
    assert_eq!(crashes.len(), 1, "{crashes:?}");
    assert!(crashes[0].ends_with(" crashed: Exited with status 3"), "{crashes:?}");
    let text = cupola.ok(&["changes", "shop"]);
    text.says("time").says("web: instances 1 to 2").says("; deployed at ");
    cupola.ok(&["changes", "shop", "--limit", "1"]).says("more before");
    cupola.run(&["changes", "shop", "--since", "yesterday"]).says("expected a time");

    let revisions = cupola.ok(&["revisions", "shop"]);
    revisions.says(short).says(&format!("{short} dirty"));
    let app = cupola.ok(&["app", "shop"]);
    app.says(&commit).says("branch main").says("https://example.com/shop.git");
    let events = cf.types("events shop");
    for kind in [
        "update",
        "map-route",
        "unmap-route",
        "process.scale",
        "process.ready",
        "build.staged",
        "droplet.create",
        "deployment.create",
        "revision.create",
    ] {
        events.says(&format!("audit.app.{kind}"));
    }
    let dora = cupola.ok(&["dora", "shop"]);
    dora.says("change fail rate: 50 %, of 2 deployments");
    dora.says("unknown: 1 of 2 deployments have changes that are in no commit");
    let printed = [first, second, changes, text, revisions, app, events, dora];
    for ran in &printed {
        ran.does_not_say(SECRET);
    }
    let kept = audit_events(&platform);
    assert!(kept.contains("TOKEN") && !kept.contains(SECRET), "{kept}");
    with_cf(&platform, &cf, &folder);
}

/// A pipeline says it for one push; the one after it is of nobody knows what.
fn with_cf(platform: &Platform, cf: &Cli, folder: &Path) {
    cf.types("set-label app shop cupola.dev/commit=0123abc");
    let pushed = push(cf, "shop", &folder.join("shop"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    platform.cupola().ok(&["app", "shop"]).says("commit    0123abc");
    std::fs::write(folder.join("shop/new.txt"), "new").unwrap();
    let pushed = push(cf, "shop", &folder.join("shop"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    platform.cupola().ok(&["app", "shop"]).does_not_say("commit");
}

fn audit_events(platform: &Platform) -> String {
    let script = "import sqlite3, sys\n\
        for row in sqlite3.connect(sys.argv[1]).execute('SELECT body FROM audit_events'):\n\
        \x20   print(row[0])\n";
    let database = platform.data_dir().join("cupola.db");
    let ran = Command::new("python3").arg("-c").arg(script).arg(database).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

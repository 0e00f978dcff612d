//! `cupola`, for those without `cf`: as the administrator of the machine, and logged in.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    apps::{binary_app, misfit},
    cli::Cli,
    platform::{Platform, wait_for},
};

#[test]
fn an_app_lives_its_life_by_cupola_alone() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    let folder = binary_app(&platform, "hello");
    let path = folder.to_str().unwrap();

    cupola.ok(&["push", "hello", "--path", path]).says("hello.apps.localhost");
    assert_eq!(platform.get("hello", "/").status, 200);
    cupola.ok(&["push", "hello", "--path", path]).says("known already");
    cupola.ok(&["apps"]).says("hello").says("started");
    cupola.ok(&["app", "hello"]).says("running");
    cupola.ok(&["logs", "hello", "--recent"]).says("[APP/PROC/WEB/0]").says("[STG/0]");
    cupola.ok(&["env", "hello", "--set", "COLOUR=blue"]).says("COLOUR=blue");
    cupola.ok(&["restart", "hello"]);
    let environment = platform.get("hello", "/env");
    assert!(environment.body.contains("COLOUR=blue"), "{environment:?}");
    cupola.ok(&["env", "hello", "--unset", "COLOUR"]).does_not_say("COLOUR");
    cupola.ok(&["push", "hello", "--path", path, "--rolling"]).says("one by one");
    cupola.ok(&["restart", "hello", "--rolling"]).says("hello is running");
    cupola.ok(&["revisions", "hello"]).says("Initial revision.").says("yes");
    let rolled = cupola.ok(&["rollback", "hello"]);
    rolled.says("hello runs revision");
    cupola.ok(&["rollback", "hello", "--to", "1"]).says("hello runs revision 1 again");
    cupola.fails(&["rollback", "hello", "--to", "77"]).says("there is no revision 77");
    promote(&platform, &cupola);
    cupola.ok(&["scale", "hello", "--instances", "2"]).says("2 instances");
    cupola.ok(&["map-route", "hello", "other.apps.localhost"]);
    cupola.ok(&["map-route", "hello", "third.apps.localhost/deep"]);
    cupola.ok(&["routes"]).says("other.apps.localhost").says("third.apps.localhost/deep");
    assert_eq!(platform.get("other", "/").status, 200);
    cupola.ok(&["stop", "hello"]);
    wait_for("the route to answer no more", || {
        (platform.get("hello", "/").status == 503).then_some(())
    });
    cupola.ok(&["start", "hello"]);
    assert_eq!(platform.get("hello", "/").status, 200);
    cupola.ok(&["why", "hello"]).says(" running since ");
    cupola.ok(&["status"]).says("serving").says("1 started");
    cupola.fails(&["delete", "hello"]).says("--yes");
    cupola.ok(&["delete", "hello", "--yes"]);
    platform.wait_for_status("hello", 404);
}

/// The same droplet in another space, with that one's own variables.
fn promote(platform: &Platform, cupola: &crate::cli::Cli) {
    let cf = platform.cf_admin();
    cf.ok(&["create-space", "production"]);
    let ran = cupola.fails(&["promote", "hello", "--from", "dev", "--to", "production"]);
    ran.says("there is no app `hello` in `production`");
    cf.ok(&["target", "-s", "production"]);
    cf.ok(&["create-app", "hello"]);
    cf.ok(&["set-env", "hello", "COLOUR", "green"]);
    cf.ok(&["map-route", "hello", "apps.localhost", "--hostname", "live"]);
    let promoted = cupola.ok(&["promote", "hello", "--from", "dev", "--to", "production"]);
    promoted.says("sha256:").says("hello runs in production what runs in dev");
    assert!(platform.get("live", "/env").body.contains("COLOUR=green"));
    cupola.ok(&["promote", "hello", "--from", "dev", "--to", "production"]);
    cf.ok(&["delete", "hello", "-f", "-r"]);
    cf.ok(&["target", "-s", "dev"]);
}

#[test]
fn output_for_programs_and_exit_codes_can_be_relied_on() {
    let platform = Platform::start();
    let cupola = platform.cupola();

    let apps = cupola.ok(&["apps", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&apps).unwrap().is_array());
    let status = cupola.ok(&["status", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&status).unwrap().is_object());
    cupola.ok(&["doctor"]).says("OCI runtime");
    assert_eq!(cupola.run(&["app", "none"]).code, Some(1));
    assert_eq!(cupola.run(&["app"]).code, Some(2));
    assert_eq!(cupola.run(&["no-such-verb"]).code, Some(2));
}

#[test]
fn every_verb_prints_json_for_programs() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    let folder = misfit(&platform, "hello");
    let json = |arguments: &[&str]| {
        let ran = cupola.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"))
    };

    let pushed = json(&["push", "hello", "--path", folder.to_str().unwrap()]);
    assert_eq!(pushed["routes"], serde_json::json!(["hello.apps.localhost"]));
    let app = json(&["app", "hello"]);
    assert_eq!(app["app"]["guid"], pushed["guid"]);
    assert_eq!(app["stats"][0][0]["state"], "RUNNING", "{app}");
    assert_eq!(json(&["apps"])[0]["name"], "hello");
    assert_eq!(
        json(&["map-route", "hello", "b.apps.localhost"])["destinations"][0]["weight"],
        Value::Null
    );
    let routes = json(&["routes"]);
    let urls: Vec<_> = routes.as_array().unwrap().iter().map(|route| &route["url"]).collect();
    assert!(urls.iter().any(|url| *url == "b.apps.localhost"), "{routes}");
    assert_eq!(json(&["env", "hello", "--set", "A=b=c"])["A"], "b=c");
    assert_eq!(json(&["stop", "hello"])["state"], "STOPPED");
    assert_eq!(json(&["start", "hello"])["state"], "STARTED");
    assert_eq!(json(&["restart", "hello"])["guid"], pushed["guid"]);
    let scaled = json(&["scale", "hello", "--memory", "96", "--disk", "300"]);
    assert_eq!((&scaled["memory_in_mb"], &scaled["disk_in_mb"]), (&96.into(), &300.into()));
    assert_eq!(json(&["scale", "hello", "--instances", "2"])["instances"], 2);
    let quotas = json(&["app", "hello"])["stats"][0][0].clone();
    assert_eq!(quotas["mem_quota"], 96 << 20, "{quotas}");
    assert_eq!(json(&["why", "hello"])["app"], "hello");
    let logs = cupola.ok(&["logs", "hello", "--recent", "--json"]).stdout;
    let lines: Vec<Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["tags"]["source_type"] == "STG"), "{logs}");
}

#[test]
fn push_does_what_its_options_say_and_tells_its_steps() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    let folder = misfit(&platform, "hello");
    let path = folder.to_str().unwrap();
    let app = |name: &str| -> Value {
        serde_json::from_str(&cupola.ok(&["app", name, "--json"]).stdout).unwrap()
    };

    let options = ["--buildpack", "binary_buildpack", "--command", "WORD=mine exec ./misfit serve"];
    let sizes = ["--instances", "2", "--memory", "80", "--disk", "200"];
    let push = ["push", "hello", "--path", path];
    let pushed = cupola.ok(&[&push[..], &options, &sizes].concat());
    let web = app("hello")["processes"][0].clone();
    assert!(platform.get("hello", "/").body.contains("word mine"));
    assert_eq!(web["instances"], 2);
    assert_eq!((&web["memory_in_mb"], &web["disk_in_mb"]), (&80.into(), &200.into()));
    assert_eq!(app("hello")["app"]["lifecycle"]["data"]["buildpacks"][0], "binary_buildpack");

    // What is for people is on standard error, in the order of the steps.
    assert_eq!(pushed.stdout, "hello.apps.localhost\n", "{pushed}");
    let steps = ["known already", "building", "[STG/0]", "starting", "hello is running"];
    let at: Vec<_> = steps.iter().map(|step| pushed.stderr.find(step).expect(step)).collect();
    assert!(at.is_sorted(), "{pushed}");

    cupola.ok(&["push", "quiet", "--path", path, "--no-start"]).says("cupola start quiet");
    assert_eq!(app("quiet")["app"]["state"], "STOPPED");
    cupola.ok(&["start", "quiet"]);
    platform.wait_for_status("quiet", 200);

    cupola.ok(&["push", "hidden", "--path", path, "--no-route"]);
    assert_eq!(app("hidden")["routes"], serde_json::json!([]));

    let archive = platform.folder().join("app.zip");
    zip_folder(&folder, &archive);
    cupola.ok(&["push", "zipped", "--path", archive.to_str().unwrap()]);
    platform.wait_for_status("zipped", 200);

    cupola.fails(&["push", "x", "--path", "/nonexistent"]).says("neither a folder nor a zip");
    let unknown = cupola.fails(&["push", "y", "--path", path, "--buildpack", "cobol"]);
    unknown.says("cobol");
}

fn zip_folder(folder: &Path, archive: &Path) {
    let mut zip = zip::ZipWriter::new(fs::File::create(archive).unwrap());
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        zip.start_file(entry.file_name().into_string().unwrap(), options).unwrap();
        zip.write_all(&fs::read(entry.path()).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn logs_follow_until_they_are_ended_and_why_tells_of_signals() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    let folder = misfit(&platform, "hello");
    cupola.ok(&["push", "hello", "--path", folder.to_str().unwrap()]);

    let mut following = cupola.command(&["logs", "hello"]);
    let mut following = following.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.contains("[STG/0]")).expect("it begins with what there is");
    assert_eq!(platform.get("hello", "/while-following").status, 200);
    let line = lines.find(|line| line.contains("asked for /while-following")).unwrap();
    assert!(line.contains("[APP/PROC/WEB/0] OUT"), "{line}");
    following.kill().unwrap();
    following.wait().unwrap();

    let before = now();
    let _ = platform.try_get("hello", "/abort");
    let why = wait_for("the exit to be known", || {
        let why = cupola.ok(&["why", "hello", "--json"]);
        let why: Value = serde_json::from_str(&why.stdout).unwrap();
        why["exits"].as_array().is_some_and(|exits| !exits.is_empty()).then_some(why)
    });
    let exit = &why["exits"][0];
    assert_eq!(exit["cause"], "Ended by signal 6", "{why}");
    let at = exit["at"].as_str().unwrap();
    assert!(before.as_str() <= at && at <= now().as_str(), "{before} <= {at}");
    cupola.ok(&["why", "hello"]).says(at).says("Ended by signal 6").says("started again at once");
}

/// The time in UTC, to the second, as the API writes it.
fn now() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn completions_are_those_of_the_shell_and_know_every_verb() {
    let cupola = Cli {
        program: std::env::var_os("CUPOLA_BIN").expect("run `cargo xtask e2e`").into(),
        environment: Vec::new(),
        directory: std::env::temp_dir(),
    };

    let script = cupola.ok(&["completions", "bash"]).stdout;
    let asked = format!(
        "{script}\nCOMP_WORDS=(cupola ma); COMP_CWORD=1; _cupola cupola ma; echo \"${{COMPREPLY[@]}}\""
    );
    let bash = Command::new("bash").args(["--norc", "-c", &asked]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "map-route");
    cupola.ok(&["completions", "zsh"]).says("#compdef cupola").says("'map-route:").says("--json");
    cupola.ok(&["completions", "fish"]).says("complete -c cupola").says("-a \"map-route\"");
    assert_eq!(cupola.run(&["completions", "cobol"]).code, Some(2));
}

#[test]
fn login_with_a_password_file_works_from_elsewhere() {
    let platform = Platform::start();
    let mut elsewhere = platform.cupola();
    let home = platform.app_folder("home");
    elsewhere.environment = vec![("HOME".to_owned(), home.to_str().unwrap().to_owned())];
    let password = home.join("password");
    std::fs::write(&password, platform.admin_password()).unwrap();
    let url = format!("http://{}", platform.api);

    elsewhere.fails(&["apps"]).says("not logged in");
    elsewhere.ok(&["login", &url, "--password-file", password.to_str().unwrap()]);
    elsewhere.ok(&["apps"]);
    elsewhere.fails(&["apps", "--run-dir", "/nonexistent"]).says("no platform runs in");
    elsewhere.ok(&["logout"]).says("logged out");
    elsewhere.fails(&["apps"]).says("not logged in");

    std::fs::write(&password, "wrong").unwrap();
    elsewhere.fails(&["login", &url, "--password-file", password.to_str().unwrap()]);
}

/// Runs a command line in a terminal, types a line when it asks, and prints what is seen.
const TYPIST: &str = r"
import os, pty, sys
line, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen = b''
while True:
    try:
        piece = os.read(terminal, 1024)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if line and b'password:' in seen:
        os.write(terminal, line.encode() + b'\n')
        line = ''
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn login_takes_a_typed_line_without_showing_it_and_a_piped_one() {
    let platform = Platform::start();
    let mut elsewhere = platform.cupola();
    let home = platform.app_folder("home");
    elsewhere.environment = vec![("HOME".to_owned(), home.to_str().unwrap().to_owned())];
    let (url, password) = (format!("http://{}", platform.api), platform.admin_password());

    let program = elsewhere.program.to_str().unwrap().to_owned();
    let terminal = Cli { program: "python3".into(), ..elsewhere.in_directory(&home) };
    let typed = terminal.ok(&["-c", TYPIST, &password, &program, "login", &url]);
    assert!(typed.stdout.contains("logged in to"), "{typed}");
    assert!(!typed.stdout.contains(&password), "the password is shown: {typed}");
    elsewhere.ok(&["apps"]);

    elsewhere.ok(&["logout"]);
    assert_eq!(elsewhere.answers(&format!("login {url}"), &[&password, "more"]).code, Some(0));
    elsewhere.ok(&["apps"]);
    assert_ne!(elsewhere.answers(&format!("login {url}"), &["wrong"]).code, Some(0));
}

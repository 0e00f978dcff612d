//! `cupola`, for those without `cf`: as the administrator of the machine, and logged in.

use crate::{
    apps::binary_app,
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

#[test]
fn output_for_programs_and_exit_codes_can_be_relied_on() {
    let platform = Platform::start();
    let cupola = platform.cupola();

    let apps = cupola.ok(&["apps", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&apps).unwrap().is_array());
    let status = cupola.ok(&["status", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&status).unwrap().is_object());
    cupola.ok(&["completions", "bash"]).says("cupola");
    cupola.ok(&["doctor"]).says("OCI runtime");
    assert_eq!(cupola.run(&["app", "none"]).code, Some(1));
    assert_eq!(cupola.run(&["app"]).code, Some(2));
    assert_eq!(cupola.run(&["no-such-verb"]).code, Some(2));
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

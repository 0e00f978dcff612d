//! The launch script, run by the real shell.

use std::{fs, process::Command};

use cupola_domain::launch::launch_argv;

fn launched(files: &[(&str, &str)], command: &str) -> (String, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("vcap/app");
    fs::create_dir_all(&app).unwrap();
    for (path, text) in files {
        let path = dir.path().join("vcap").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let argv = launch_argv(command);
    let output = Command::new(&argv[0])
        .args(&argv[1..])
        .env_clear()
        .env("HOME", &app)
        .env("TMPDIR", dir.path().join("vcap/tmp"))
        .env("PATH", cupola_domain::launch::PATH)
        .output()
        .unwrap();
    assert!(dir.path().join("vcap/tmp").is_dir());
    let text = String::from_utf8(output.stdout).unwrap();
    (text.replace(dir.path().to_str().unwrap(), ""), output.status.code())
}

#[test]
fn profile_scripts_of_buildpacks_come_before_those_of_the_app() {
    let files = [
        ("profile.d/b.sh", "export ORDER=$ORDER,b"),
        ("profile.d/a.sh", "export ORDER=$ORDER,a"),
        ("app/.profile.d/c.sh", "export ORDER=$ORDER,c"),
        ("app/.profile", "export ORDER=$ORDER,own"),
    ];

    let (output, code) = launched(&files, "echo \"$ORDER in $PWD\"; exit 7");

    assert_eq!((output.as_str(), code), (",a,b,c,own in /vcap/app\n", Some(7)));
}

#[test]
fn a_script_that_changes_arguments_does_not_change_the_command() {
    let files = [("app/.profile", "set -- evil")];

    let (output, code) = launched(&files, "echo fine");

    assert_eq!((output.as_str(), code), ("fine\n", Some(0)));
}

#[test]
fn without_any_script_the_command_just_runs() {
    let (output, code) = launched(&[], "echo \"${1-none}\"");

    assert_eq!((output.as_str(), code), ("none\n", Some(0)));
}

#[test]
fn the_shell_of_the_scripts_becomes_the_command() {
    let (output, _) = launched(&[("app/.profile", "echo $$")], "echo $$");

    let ids: Vec<_> = output.lines().collect();
    assert_eq!(ids[0], ids[1]);
}

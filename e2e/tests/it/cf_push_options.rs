//! `cf push` with the options that it has for one app.

use std::{fs, io::Write};

use crate::{
    apps::{are_all_running, binary_app},
    cf_story::words,
    cli::{Cli, Ran},
    platform::{Platform, wait_for},
};

/// Pushes `folder` with these options, and a size that fits many on one machine.
fn push(cf: &Cli, name: &str, folder: &str, options: &str) -> Ran {
    let always = ["push", name, "-p", folder, "-b", "binary_buildpack", "-m", "32M"];
    cf.run(&[&always[..], &words(options)].concat())
}

#[track_caller]
fn pushed(cf: &Cli, name: &str, folder: &str, options: &str) -> Ran {
    let ran = push(cf, name, folder, options);
    assert_eq!(ran.code, Some(0), "{ran}");
    ran
}

#[test]
fn cf_push_takes_folders_archives_commands_and_sizes() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    let folder = folder.to_str().unwrap();

    // Without -p it is the folder that one is in.
    let here = cf.in_directory(folder);
    here.types("push here -b binary_buildpack -m 32M").says("#0   running");
    assert_eq!(platform.get("here", "/").status, 200);

    let sized = pushed(&cf, "sized", folder, "-i 2 -k 64M");
    sized.says("memory usage:    32M").says("of 64M");
    sized.says("start command:   ./binary");
    // `cf push` waits for the first instance only.
    wait_for("both instances", || are_all_running(&cf, "sized").then_some(()));
    let app = cf.types("app sized");
    app.says("2/2");
    app.says("name:              sized").says("requested state:   started").says("#1   running");
    app.says("buildpacks:").says("binary_buildpack").says("sized.apps.localhost");

    let archive = platform.folder().join("app.zip");
    zip_of(folder, &archive);
    pushed(&cf, "zipped", archive.to_str().unwrap(), "").says("#0   running");
    assert_eq!(platform.get("zipped", "/").status, 200);

    // The command line wins over the Procfile, and `null` goes back to it.
    let command = "MARK=set exec ./binary";
    let told = [&words("push told -b binary_buildpack -m 32M -p")[..], &[folder, "-c", command]];
    cf.ok(&told.concat()).says("start command:   MARK=set exec ./binary");
    assert!(platform.get("told", "/env").body.contains("MARK=set"));
    pushed(&cf, "told", folder, "-c null").says("start command:   ./binary");
    wait_for("the instance with the old command to be gone", || {
        (!platform.get("told", "/env").body.contains("MARK=set")).then_some(())
    });
    cf.types("apps").says("here").says("sized").says("zipped").says("told").says("web:2/2");
}

#[test]
fn cf_push_checks_health_and_makes_routes_as_told() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    let folder = folder.to_str().unwrap();

    pushed(&cf, "http", folder, "-u http --endpoint /env").says("#0   running");
    cf.types("get-health-check http").says("/env").says("http");
    pushed(&cf, "port", folder, "-u port");
    cf.types("get-health-check port").says("web       port");
    pushed(&cf, "process", folder, "-u process --no-route").says("routes:            \n");
    cf.types("get-health-check process").says("web       process");
    platform.wait_for_status("process", 404);

    let stopped = pushed(&cf, "later", folder, "--no-start");
    stopped.says("requested state:   stopped").does_not_say("Staging app");
    assert_ne!(platform.get("later", "/").status, 200);
    cf.types("start later").says("Staging app").says("#0   running");
    assert_eq!(platform.get("later", "/").status, 200);

    pushed(&cf, "dice", folder, "--random-route");
    let routes = cf.types("routes");
    let line = routes.stdout.lines().find(|line| line.contains("dice-")).unwrap().to_owned();
    let host = line.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(platform.get(&host, "/").status, 200, "{line}");
    // A second push keeps the words.
    pushed(&cf, "dice", folder, "--random-route").says(&host);
    let again = cf.types("routes").stdout.matches("dice-").count();
    assert_eq!(again, 1);

    let task = pushed(&cf, "job", folder, "--task");
    task.says("requested state:   stopped").does_not_say("job.apps.localhost");
    cf.types("app job").says("instances:      0/1");
}

#[test]
fn cf_push_refuses_what_cannot_work() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    let unknown = ["push", "x", "-p", folder.to_str().unwrap(), "-b", "no_such_buildpack"];
    cf.fails(&unknown).says("unknown buildpack").says("no_such_buildpack");
    cf.is_refused("push x -p nowhere").says("does not exist");
    let empty = platform.app_folder("empty");
    push(&cf, "x", empty.to_str().unwrap(), "").says("FAILED");
    let folder = folder.to_str().unwrap();
    let absurd = push(&cf, "x", folder, "-k 900T");
    assert_eq!(absurd.code, Some(1), "{absurd}");
    absurd.says("FAILED");
    let ran = push(&cf, "x", folder, "-u http --endpoint nonsense");
    assert_eq!(ran.code, Some(1), "{ran}");
    let ran = push(&cf, "x", folder, "-s no-such-stack");
    assert_eq!(ran.code, Some(1), "{ran}");
    ran.says("Stack must be an existing stack");

    fs::remove_file(format!("{folder}/Procfile")).unwrap();
    let silent = push(&cf, "silent", folder, "");
    assert_eq!(silent.code, Some(1), "{silent}");
    silent.says("no start command").says("FAILED");
    let unchecked = push(&cf, "unwell", folder, "-c ./binary -u http --endpoint /nothing -t 2");
    assert_eq!(unchecked.code, Some(1), "{unchecked}");
    unchecked.says("Start unsuccessful").says("cf logs unwell --recent");
}

fn zip_of(folder: &str, archive: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut zip = zip::ZipWriter::new(fs::File::create(archive).unwrap());
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let mode = entry.metadata().unwrap().permissions().mode();
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        zip.start_file(entry.file_name().to_str().unwrap(), options).unwrap();
        zip.write_all(&fs::read(entry.path()).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

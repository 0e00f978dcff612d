//! Droplets that leave the platform and come back: `cf download-droplet`, `cf push --droplet`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    apps::{files, guid, push},
    cli::Cli,
    platform::Platform,
};

const START: &str = "web: ./prepared/start\n";

/// An app with one of everything that an archive can lose.
fn odd_app(platform: &Platform) -> PathBuf {
    let start = "#!/bin/sh\nexec python3 -m http.server \"$PORT\" --bind 0.0.0.0\n";
    let folder = files(
        platform,
        "odd",
        &[
            ("Procfile", START),
            ("prepared/start", start),
            ("page.html", "first version\n"),
            ("locked/secret.txt", "mode 600\n"),
            (&format!("deep/{}/end.txt", "long-name-".repeat(15)), "far\n"),
        ],
    );
    shell(
        &folder,
        "chmod 755 prepared/start; chmod 600 locked/secret.txt; mkdir empty; \
         ln -s ../page.html prepared/page",
    );
    folder
}

fn shell(folder: &Path, script: &str) -> String {
    let ran = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn download(cf: &Cli, app: &str, into: &Path) -> Vec<u8> {
    let path = into.to_str().unwrap();
    cf.ok(&["download-droplet", app, "--path", path]).says("Droplet downloaded successfully at");
    fs::read(into).unwrap()
}

fn push_droplet(cf: &Cli, app: &str, archive: &Path, more: &[&str]) -> crate::cli::Ran {
    let always = ["push", app, "--droplet", archive.to_str().unwrap(), "-m", "64M", "-k", "64M"];
    cf.run(&[&always, more].concat())
}

#[test]
fn droplet_comes_back_with_the_same_digests_here_and_elsewhere() {
    let (platform, elsewhere) = (Platform::start(), Platform::start());
    let (cf, cf_elsewhere) = (platform.cf_admin(), elsewhere.cf_admin());
    let pushed = push(&cf, "odd", &odd_app(&platform), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let path = format!("/v3/apps/{}/droplets/current", guid(&cf, "odd"));
    let droplet = cf.json(&path);

    let archive = platform.folder().join("droplet.tgz");
    let first = download(&cf, "odd", &archive);
    let list = shell(platform.folder(), "tar tvzf droplet.tgz --numeric-owner");
    for kept in [
        "drwxr-xr-x 2000/2000 ",
        " app/empty/",
        " app/prepared/page -> ../page.html",
        " staging_info.yml",
        " app/Procfile",
        " tmp/",
    ] {
        assert!(list.contains(kept), "`{kept}` is not in:\n{list}");
    }
    let secret = list.lines().find(|line| line.ends_with("app/locked/secret.txt")).unwrap();
    assert!(secret.starts_with("-rw------- 2000/2000 "), "{secret}");

    cf.ok(&["delete", "odd", "-r", "-f"]);
    for (cf, platform) in [(&cf, &platform), (&cf_elsewhere, &elsewhere)] {
        let pushed = push_droplet(cf, "back", &archive, &[]);
        assert_eq!(pushed.code, Some(0), "{pushed}");
        pushed.says("Uploading droplet bits...").says("running");
        assert_eq!(platform.get("back", "/page.html").body, "first version\n");
        let back = cf.json(&format!("/v3/apps/{}/droplets/current", guid(cf, "back")));
        assert_eq!(back["checksum"], droplet["checksum"]);
        assert_eq!(back["buildpacks"], droplet["buildpacks"]);
        assert_eq!(back["process_types"], droplet["process_types"]);
        let again = download(cf, "back", &platform.folder().join("again.tgz"));
        assert!(first == again, "the archive has other bytes");
        let recent = cf.ok(&["logs", "back", "--recent"]);
        recent.says("its layers have the same digests");
        let events = cf.ok(&["events", "back"]);
        events.says("audit.app.droplet.upload").says("audit.app.droplet.download");
    }
}

#[test]
fn droplets_of_elsewhere_run_and_bad_ones_leave_nothing() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = platform.app_folder("foreign");
    let server = "exec python3 -m http.server $PORT --bind 0.0.0.0";
    let info = serde_json::json!({ "detected_buildpack": "Ruby", "start_command": server });
    fs::write(folder.join("staging_info.yml"), info.to_string()).unwrap();
    shell(
        &folder,
        "mkdir -p app deps/0/bin logs tmp; echo from elsewhere > app/page.html; \
         ln -s /home/vcap/app/page.html deps/0/bin/page; tar czf ../foreign.tgz .; \
         echo changed > app/page.html; tar czf ../changed.tgz .; \
         head -c 100 ../foreign.tgz > ../cut.tgz; echo 'no archive' > ../text.tgz; \
         tar czf ../empty.tgz -T /dev/null; tar czf ../no-app.tgz logs; \
         tar czPf ../outside.tgz --transform 's,app/page.html,app/../../evil,' .; \
         mkdir evil; ln -s /etc evil/app; tar czf ../link.tgz -C evil .; rm -r evil",
    );
    let archive = |name: &str| folder.parent().unwrap().join(name);

    let pushed = push_droplet(&cf, "foreign", &archive("foreign.tgz"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    assert_eq!(platform.get("foreign", "/page.html").body, "from elsewhere\n");
    cf.ok(&["logs", "foreign", "--recent"]).says("of its build nothing is known");
    let changed = push_droplet(&cf, "foreign", &archive("changed.tgz"), &["--strategy", "rolling"]);
    assert_eq!(changed.code, Some(0), "{changed}");
    assert_eq!(platform.get("foreign", "/page.html").body, "changed\n");

    for (name, why) in [
        ("cut.tgz", "it is not a whole tar file, compressed with gzip"),
        ("text.tgz", "it is not a whole tar file, compressed with gzip"),
        ("empty.tgz", "it has no folder `app`"),
        ("no-app.tgz", "it has no folder `app`"),
        ("outside.tgz", "leads out of the app's folder"),
        ("link.tgz", "`app` is not what it is in a droplet"),
    ] {
        let refused = push_droplet(&cf, "foreign", &archive(name), &[]);
        assert_eq!(refused.code, Some(1), "{refused}");
        refused.says("Uploaded droplet file is invalid").says(why);
        assert_eq!(platform.get("foreign", "/page.html").body, "changed\n");
    }
    let uploads = fs::read_dir(platform.data_dir().join("uploads")).unwrap().count();
    assert_eq!(uploads, 0, "uploads are left");
    let missing = cf.fails(&["download-droplet", "foreign", "--droplet", "none"]);
    missing.says("not found");
}

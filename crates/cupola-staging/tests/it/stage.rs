//! Builds with small buildpacks: the order of their scripts, what becomes of their output, and how
//! each way to fail is told.

use std::{fs, time::Duration};

use cupola_domain::{builds::StagingErrorKind, services::ServiceFile};
use cupola_ports::{
    logs::LogStream,
    sandbox::{FrozenLayer, SandboxError, SandboxExit, SandboxOutcome},
    stager::{Stager, StagingFailure},
};
use tokio::sync::watch;

use crate::platform::{TestPlatform, write_scripts};

const RECORD: &str = "echo \"$(basename \"$0\") $#\" >>\"$1/order\"";

async fn failure(platform: &TestPlatform, buildpacks: &[&str]) -> StagingFailure {
    let package = platform.package(&[("a", "hello")]).await;
    platform.stage(platform.request(package, buildpacks)).await.unwrap_err()
}

#[tokio::test]
async fn first_buildpack_that_detects_makes_the_droplet() {
    let platform = TestPlatform::new();
    platform.buildpack("never", &[("detect", "exit 1"), ("finalize", "exit 9")]);
    platform.buildpack(
        "fits",
        &[
            ("detect", "test -f \"$1/a\"; echo fits 1.0"),
            ("supply", "mkdir -p \"$3/$4/bin\"; echo tool >\"$3/$4/bin/tool\"; printf 'name: fits\\nversion: 1.2\\n' >\"$3/$4/config.yml\""),
            ("finalize", "echo \"-----> Building\"; echo careful >&2; echo built >\"$1/built\"; echo 'export A=1' >\"$5/a.sh\""),
            ("release", "echo 'default_process_types: {web: run it}'"),
        ],
    );
    platform.buildpack("later", &[("detect", "exit 0")]);
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &[]);
    request.detect_order = ["never", "fits", "later"].map(str::to_owned).to_vec();

    let droplet = platform.stage(request).await.unwrap();

    assert_eq!(droplet.layers.len(), 2);
    assert_eq!(droplet.process_types["web"], "run it");
    assert_eq!(droplet.stack_digest, "digest of teststack");
    let used = &droplet.buildpacks[..];
    assert_eq!(used.len(), 1);
    assert_eq!((used[0].name.as_str(), used[0].version.as_deref()), ("fits", Some("1.2")));
    assert_eq!(used[0].detect_output.as_deref(), Some("fits 1.0"));
    assert_eq!(platform.read(&droplet, "home/vcap/app/a").as_deref(), Some("hello"));
    assert_eq!(platform.read(&droplet, "home/vcap/app/built").as_deref(), Some("built\n"));
    assert_eq!(platform.read(&droplet, "home/vcap/deps/0/bin/tool").as_deref(), Some("tool\n"));
    assert_eq!(
        platform.read(&droplet, "home/vcap/profile.d/a.sh").as_deref(),
        Some("export A=1\n")
    );
    assert_eq!(
        platform.read(&droplet, "home/vcap/staging_info.yml").as_deref(),
        Some(r#"{"detected_buildpack":"fits 1.0","start_command":"run it"}"#)
    );
    assert_eq!(platform.read(&droplet, "home/vcap/.cupola/result.json"), None);

    let lines = platform.log.lines();
    assert!(lines.iter().all(|line| line.source_type == "STG" && line.instance == "0"));
    assert!(lines.iter().all(|line| line.source_id == platform.app_id.to_string()));
    let of_stderr: Vec<_> = lines.iter().filter(|l| l.stream == LogStream::Err).collect();
    assert_eq!(of_stderr.len(), 1);
    assert_eq!(of_stderr[0].message, b"careful");
    let texts = platform.log.texts();
    assert_eq!(texts[0], "Staging on the stack teststack...");
    assert!(texts.contains(&"-----> Detected fits 1.0".to_owned()));
    assert!(texts.contains(&"-----> Building".to_owned()));
    assert_eq!(texts.last().unwrap(), "Staging complete");
}

#[tokio::test]
async fn several_buildpacks_supply_in_order_and_the_last_finalizes() {
    let platform = TestPlatform::new();
    let all = [("detect", "exit 1"), ("supply", RECORD), ("finalize", RECORD), ("compile", RECORD)];
    platform.buildpack("one", &all);
    platform.buildpack("two", &all);
    let package = platform.package(&[("a", "hello")]).await;

    let droplet = platform.stage(platform.request(package, &["one", "two"])).await.unwrap();

    let order = platform.read(&droplet, "home/vcap/app/order");
    assert_eq!(order.as_deref(), Some("supply 4\nsupply 4\nfinalize 5\n"));
    assert_eq!(droplet.buildpacks.len(), 2);
    // Nobody left anything in the dependencies, so there is no layer of them.
    assert_eq!(droplet.layers.len(), 1);
}

#[tokio::test]
async fn a_legacy_buildpack_compiles_with_the_environment_as_files() {
    let platform = TestPlatform::new();
    let compile =
        "cat \"$3/GREETING\" >\"$1/seen\"; test \"$(cat \"$3/GREETING\")\" = \"$GREETING\"";
    platform.buildpack("old", &[("detect", "exit 0"), ("compile", compile)]);
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &["old"]);
    request.environment = [("GREETING".to_owned(), "good day".to_owned())].into();

    let droplet = platform.stage(request).await.unwrap();

    assert_eq!(platform.read(&droplet, "home/vcap/app/seen").as_deref(), Some("good day"));
}

#[tokio::test]
async fn procfile_wins_over_launch_file_and_launch_file_over_release() {
    let platform = TestPlatform::new();
    platform.buildpack(
        "all",
        &[
            ("detect", "exit 0"),
            ("finalize", "printf 'processes:\\n- {type: worker, command: launched}\\n- {type: clock, command: launched}\\n' >\"$3/$4/launch.yml\""),
            ("release", "printf 'default_process_types:\\n  web: released\\n  worker: released\\n  clock: released\\n'"),
        ],
    );
    let package = platform.package(&[("Procfile", "clock: own\n")]).await;

    let droplet = platform.stage(platform.request(package, &["all"])).await.unwrap();

    let types: Vec<_> =
        droplet.process_types.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
    assert_eq!(types, [("clock", "own"), ("web", "released"), ("worker", "launched")]);
}

#[tokio::test]
async fn the_platforms_variables_win_over_the_apps_and_the_apps_over_the_hosts() {
    let platform = TestPlatform::with(|config| {
        let host = [("PIP_INDEX_URL", "host"), ("GOPROXY", "host")];
        config.host_environment = cupola_staging::host_registry_environment(
            host.map(|(name, value)| (name.to_owned(), value.to_owned())),
            &cupola_staging::HostFiles::default(),
        );
    });
    let print =
        "echo \"$PIP_INDEX_URL $GOPROXY $CF_STACK $MEMORY_LIMIT ${HOME##*/} $USER $SECRET\"";
    platform.buildpack("print", &[("detect", "exit 0"), ("finalize", print)]);
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &["print"]);
    let own = [("PIP_INDEX_URL", "app"), ("CF_STACK", "app"), ("HOME", "/app"), ("SECRET", "s")];
    request.environment = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();

    platform.stage(request).await.unwrap();

    assert!(platform.log.texts().contains(&"app host teststack 512m vcap vcap s".to_owned()));
}

#[tokio::test]
async fn the_cache_is_kept_per_app_and_buildpack() {
    let platform = TestPlatform::new();
    let finalize = "if [ -f \"$2/kept\" ]; then echo warm; else echo cold; touch \"$2/kept\"; fi";
    platform.buildpack("one", &[("detect", "exit 0"), ("finalize", finalize)]);
    platform.buildpack("two", &[("detect", "exit 0"), ("finalize", finalize)]);
    let package = platform.package(&[("a", "hello")]).await;
    let stage = |name: &'static str| platform.stage(platform.request(package.clone(), &[name]));

    stage("one").await.unwrap();
    stage("one").await.unwrap();
    stage("two").await.unwrap();
    platform.stager.forget(platform.app_id).await;
    stage("two").await.unwrap();

    let seen: Vec<_> =
        platform.log.texts().into_iter().filter(|t| t == "cold" || t == "warm").collect();
    assert_eq!(seen, ["cold", "warm", "cold", "cold"]);
}

#[tokio::test]
async fn a_cache_that_outgrew_its_bound_is_dropped_and_told() {
    let platform = TestPlatform::with(|config| config.cache_bytes_max = 64 << 10);
    let finalize = "head -c 200000 /dev/zero >\"$2/large\"";
    platform.buildpack("large", &[("detect", "exit 0"), ("finalize", finalize)]);
    let package = platform.package(&[("a", "hello")]).await;

    platform.stage(platform.request(package, &["large"])).await.unwrap();

    assert!(
        platform.log.texts().iter().any(|text| text.starts_with("The build cache was dropped"))
    );
    assert!(!platform.data_dir().join("caches").join(platform.app_id.to_string()).exists());
}

#[tokio::test]
async fn an_app_that_no_buildpack_knows_is_told_so() {
    let platform = TestPlatform::new();
    platform.buildpack("never", &[("detect", "exit 1")]);
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &[]);
    request.detect_order = vec!["never".to_owned()];

    let failure = platform.stage(request).await.unwrap_err();

    assert_eq!(failure.kind, StagingErrorKind::NoAppDetectedError);
    assert!(failure.message.starts_with(
        "An app was not successfully detected by any available buildpack: none of never matches."
    ));
    assert_eq!(platform.log.texts().last(), Some(&failure.message));
}

#[tokio::test]
async fn each_phase_that_fails_has_its_kind_and_its_cause() {
    let platform = TestPlatform::new();
    let good = ("detect", "exit 0");
    platform.buildpack("supply-fails", &[good, ("supply", "exit 3"), ("finalize", "")]);
    platform.buildpack("finalize-fails", &[good, ("finalize", "exit 4")]);
    platform.buildpack("compile-fails", &[good, ("compile", "kill -9 $$")]);
    platform.buildpack("release-fails", &[good, ("finalize", ""), ("release", "exit 5")]);
    platform.buildpack("release-babbles", &[good, ("finalize", ""), ("release", "echo '['")]);
    platform.buildpack("does-nothing", &[good]);

    let supply = failure(&platform, &["supply-fails"]).await;
    let finalize = failure(&platform, &["finalize-fails"]).await;
    let compile = failure(&platform, &["compile-fails"]).await;
    let release = failure(&platform, &["release-fails"]).await;
    let babble = failure(&platform, &["release-babbles"]).await;
    let nothing = failure(&platform, &["does-nothing"]).await;
    let first = failure(&platform, &["finalize-fails", "does-nothing"]).await;

    assert_eq!(supply.kind, StagingErrorKind::BuildpackCompileFailed);
    assert!(supply.message.contains("compile phase: supply-fails: `bin/supply` exited with 3."));
    assert_eq!(finalize.kind, StagingErrorKind::BuildpackCompileFailed);
    assert!(finalize.message.contains("`bin/finalize` exited with 4"));
    assert_eq!(compile.kind, StagingErrorKind::BuildpackCompileFailed);
    assert!(compile.message.contains("`bin/compile` was killed by signal 9"));
    assert_eq!(release.kind, StagingErrorKind::BuildpackReleaseFailed);
    assert!(release.message.contains("release phase: release-fails: `bin/release` exited with 5"));
    assert_eq!(babble.kind, StagingErrorKind::BuildpackReleaseFailed);
    assert_eq!(nothing.kind, StagingErrorKind::BuildpackCompileFailed);
    assert!(nothing.message.contains("neither `bin/finalize` nor `bin/compile`"));
    assert!(first.message.contains("finalize-fails: has no `bin/supply`"));
}

#[tokio::test]
async fn a_procfile_that_is_none_is_told() {
    let platform = TestPlatform::new();
    platform.buildpack("fine", &[("detect", "exit 0"), ("finalize", "")]);
    let package = platform.package(&[("Procfile", "start the app\n")]).await;

    let failure = platform.stage(platform.request(package, &["fine"])).await.unwrap_err();

    assert_eq!(failure.kind, StagingErrorKind::StagingError);
    assert!(failure.message.contains("the Procfile has a line without a type: `start the app`"));
}

#[tokio::test]
async fn a_git_repository_that_cannot_be_reached_is_told() {
    let platform = TestPlatform::new();

    let failure = failure(&platform, &["http://127.0.0.1:9/none#main"]).await;

    assert_eq!(failure.kind, StagingErrorKind::StagingError);
    assert!(failure.message.contains("could not be cloned with git"), "{}", failure.message);
}

#[tokio::test]
async fn unknown_buildpacks_and_archives_are_refused_before_anything_runs() {
    let platform = TestPlatform::new();

    let unknown = failure(&platform, &["cobol"]).await;
    let archive = failure(&platform, &["https://a.example/pack.zip"]).await;

    assert!(unknown.message.contains("there is no buildpack `cobol`; `cf buildpacks` lists"));
    assert!(archive.message.contains("only from git"));
    // Only the two uploads ran.
    assert_eq!(platform.sandbox.specs.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_build_that_hangs_is_ended_and_told() {
    let platform = TestPlatform::new();
    platform.buildpack("hangs", &[("detect", "exit 0"), ("finalize", "sleep 1000")]);
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &["hangs"]);
    request.time_max = Duration::from_millis(500);

    let failure = platform.stage(request).await.unwrap_err();

    assert_eq!(failure.kind, StagingErrorKind::StagingTimeExpired);
}

#[tokio::test]
async fn a_build_can_be_cancelled() {
    let platform = TestPlatform::new();
    platform.buildpack("hangs", &[("detect", "exit 0"), ("finalize", "echo begun; sleep 1000")]);
    let package = platform.package(&[("a", "hello")]).await;
    let (cancel, cancelled) = watch::channel(false);
    let log = platform.log.clone();
    let begun = async {
        log.wait_for("begun").await;
        cancel.send_replace(true);
    };

    let staged = platform.stager.stage(platform.request(package, &["hangs"]), cancelled);
    let (outcome, ()) = tokio::join!(staged, begun);

    let failure = outcome.unwrap_err();
    assert_eq!(failure.kind, StagingErrorKind::StagingError);
    assert_eq!(failure.message, "Staging was cancelled");
}

#[tokio::test]
async fn what_the_sandbox_ran_out_of_is_told() {
    let platform = TestPlatform::new();
    platform.buildpack("fine", &[("detect", "exit 0")]);
    let package = platform.package(&[("a", "hello")]).await;
    let ended =
        |exit| SandboxOutcome { exit, lines_lost: 7, frozen: Vec::new(), handed_back: Vec::new() };
    platform.sandbox.script(Ok(ended(SandboxExit::OutOfMemory)));
    platform.sandbox.script(Err(SandboxError::DiskFull { limit_mib: 1024 }));

    let memory = platform.stage(platform.request(package.clone(), &["fine"])).await.unwrap_err();
    let disk = platform.stage(platform.request(package, &["fine"])).await.unwrap_err();

    assert_eq!(memory.kind, StagingErrorKind::InsufficientResources);
    assert!(memory.message.contains("512 MiB of memory"));
    assert_eq!(disk.kind, StagingErrorKind::InsufficientResources);
    assert!(disk.message.contains("1024 MiB of disk"));
    assert_eq!(*platform.log.lost.lock().unwrap(), 7);
    // Both count: the next build starts without the cache.
    let cache = platform.data_dir().join("caches").join(platform.app_id.to_string());
    assert_eq!(fs::read_to_string(cache.join("failures")).unwrap(), "2");
}

#[tokio::test]
async fn a_forged_result_makes_no_droplet() {
    let platform = TestPlatform::new();
    platform.buildpack("fine", &[("detect", "exit 0")]);
    let package = platform.package(&[("a", "hello")]).await;
    let result = |types: &str, buildpacks: &str| {
        SandboxOutcome {
        exit: SandboxExit::Exited { code: 0 },
        lines_lost: 0,
        frozen: vec![FrozenLayer { name: "app".into(), digest: package.clone(), bytes: 1 }],
        handed_back: vec![(
            "/home/vcap/.cupola/result.json".to_owned(),
            format!(
                r#"{{"version":1,"outcome":"staged","process_types":{{{types}}},"buildpacks":[{buildpacks}],"has_deps":false}}"#
            )
            .into_bytes(),
        )],
    }
    };
    let many: Vec<String> = (0..101).map(|n| format!(r#""t{n}":"x""#)).collect();
    let same = vec![r#"{"name":"fine"}"#; 500].join(",");
    platform.sandbox.script(Ok(result(&many.join(","), "")));
    platform.sandbox.script(Ok(result(r#""web":" run ","none":" ""#, &same)));

    let refused = platform.stage(platform.request(package.clone(), &["fine"])).await.unwrap_err();
    let droplet = platform.stage(platform.request(package.clone(), &["fine"])).await.unwrap();

    assert!(refused.message.contains("more than 100 process types"), "{}", refused.message);
    assert_eq!(droplet.process_types, [("web".to_owned(), "run".to_owned())].into());
    assert_eq!(droplet.buildpacks.len(), 1);
}

#[tokio::test]
async fn a_script_that_cannot_be_started_says_why() {
    let platform = TestPlatform::new();
    platform.buildpack("fine", &[("detect", "exit 0")]);
    let embedded = fs::read_dir(platform.data_dir().join("buildpacks")).unwrap().last().unwrap();
    let bin = embedded.unwrap().path().join("fine/bin");
    fs::write(bin.join("finalize"), "#!/no/such/interpreter\n").unwrap();
    let unstartable = failure(&platform, &["fine"]).await;
    write_scripts(&bin, &[("finalize", "")]);
    fs::write(bin.join("finalize"), "#!/no/such/interpreter\n").unwrap();
    let uninterpretable = failure(&platform, &["fine"]).await;

    assert!(unstartable.message.contains("it is not executable"));
    assert!(
        uninterpretable.message.contains("the interpreter in its first line is not in the stack")
    );
}

#[tokio::test]
async fn the_embedded_binary_buildpack_stages_what_a_procfile_runs() {
    let platform = TestPlatform::new();
    let package = platform.package(&[("Procfile", "web: ./run\nworker: ./work\n")]).await;

    let request = platform.request(package, &["binary_buildpack"]);
    let droplet = platform.stage(request).await.unwrap();

    let types: Vec<_> = droplet.process_types.into_iter().collect();
    let expected = [("web", "./run"), ("worker", "./work")];
    assert_eq!(types, expected.map(|(name, command)| (name.to_owned(), command.to_owned())));
    assert_eq!(droplet.buildpacks[0].name, "binary_buildpack");
}

#[tokio::test]
async fn build_finds_the_files_of_its_services_for_reading_only() {
    let platform = TestPlatform::new();
    let found = "$1/../../..";
    platform.buildpack(
        "reads",
        &[
            ("detect", "exit 0"),
            ("finalize", &format!("cp \"{found}{}/db/password\" \"$1/found\"", ServiceFile::ROOT)),
            ("release", "echo 'default_process_types: {web: run}'"),
        ],
    );
    let package = platform.package(&[("a", "hello")]).await;
    let mut request = platform.request(package, &["reads"]);
    let (path, content) = ("db/password".to_owned(), "s3cret".to_owned());
    request.files = vec![ServiceFile { path, content }];

    let droplet = platform.stage(request).await.unwrap();

    assert_eq!(platform.read(&droplet, "home/vcap/app/found").as_deref(), Some("s3cret"));
    let specs = platform.sandbox.specs.lock().unwrap();
    let bind = specs.last().unwrap().binds.iter().find(|bind| bind.target == ServiceFile::ROOT);
    assert!(!bind.unwrap().writable);
}

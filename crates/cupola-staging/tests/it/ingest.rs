//! Uploads: what becomes a package, and what is refused.

use std::{fs, os::unix::fs::PermissionsExt, sync::atomic::Ordering, time::Duration};

use cupola_domain::ids::PackageId;
use cupola_ports::{
    sandbox::{SandboxError, SandboxExit, SandboxOutcome},
    stager::{Resource, Stager, Upload, UploadError},
};

use tokio::time::timeout;

use crate::{
    fake::walk,
    platform::TestPlatform,
    zips::{Zip, bomb},
};

/// Nothing that is waited for takes longer than this, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
const HELLO_SHA1: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";

fn hello(path: &str, mode: u32) -> Resource {
    Resource { sha1: HELLO_SHA1.into(), bytes: 5, path: path.into(), mode }
}

async fn refusal(zip: Zip) -> String {
    let platform = TestPlatform::new();
    let error = platform.upload(Some(&zip), Vec::new()).await.unwrap_err();
    assert!(matches!(error, UploadError::Invalid(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn upload_becomes_a_layer_with_permissions_links_and_empty_folders() {
    let platform = TestPlatform::new();
    let zip = Zip::new()
        .folder("empty/", 0o755)
        .file_with_mode("bin/run", "#!/bin/sh", 0o4755)
        .file("top/nested/page.html", "hello")
        .link("current", "top/./nested");

    let digest = platform.upload(Some(&zip), Vec::new()).await.unwrap();

    let app = platform.sandbox.layer(&digest).join("home/vcap/app");
    let files: Vec<_> = walk(&app, &app).into_iter().map(|f| (f.path, f.mode)).collect();
    assert_eq!(files, [("bin/run".to_owned(), 0o755), ("top/nested/page.html".to_owned(), 0o644)]);
    assert_eq!(fs::read_link(app.join("current")).unwrap().to_str(), Some("top/./nested"));
    assert!(app.join("empty").is_dir());
}

#[tokio::test]
async fn unpacking_has_no_network_and_sees_only_its_upload() {
    let platform = TestPlatform::new();

    platform.package(&[("a", "hello")]).await;

    let specs = platform.sandbox.specs.lock().unwrap();
    assert!(!specs[0].network);
    assert!(specs[0].binds.iter().all(|bind| !bind.writable));
    assert!(specs[0].environment.is_empty());
    let targets: Vec<_> = specs[0].binds.iter().map(|bind| bind.target.as_str()).collect();
    assert_eq!(targets, ["/in/order.json", "/in/known", "/in/upload.zip"]);
}

#[tokio::test]
async fn two_uploads_are_unpacked_at_once_and_more_wait() {
    let platform = TestPlatform::new();
    let zip = Zip::new().file("a", "hello");
    let upload = || platform.upload(Some(&zip), Vec::new());

    let outcomes = tokio::join!(upload(), upload(), upload(), upload());

    assert!(outcomes.0.is_ok() && outcomes.1.is_ok() && outcomes.2.is_ok() && outcomes.3.is_ok());
    assert_eq!(platform.sandbox.running_max.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn files_of_an_upload_are_known_to_the_next_one() {
    let platform = TestPlatform::new();
    platform.package(&[("a", "hello"), ("empty", "")]).await;

    let unknown = Resource { sha1: HELLO_SHA1.replace('a', "b"), ..hello("b", 0) };
    let wrong_size = Resource { bytes: 6, ..hello("c", 0) };
    let wanted = vec![hello("a", 0o644), unknown, wrong_size];
    let among = platform.packages.lock().unwrap().clone();
    let known = platform.stager.known(wanted, among).await.unwrap();

    assert_eq!(known, [hello("a", 0o644)]);
}

#[tokio::test]
async fn what_is_kept_for_all_uploads_is_trimmed_after_each() {
    let platform = TestPlatform::with(|config| config.lists_bytes_max = 1000);
    let mut trimmed = platform.trimmed.subscribe();
    let is_of_lists = |trimmed: &Option<(String, u64)>| {
        trimmed.as_ref().is_some_and(|(folder, _)| folder == "package-files")
    };

    platform.package(&[("a", "hello")]).await;

    let seen = timeout(PATIENCE, trimmed.wait_for(is_of_lists)).await.unwrap().unwrap();
    assert_eq!(*seen, Some(("package-files".to_owned(), 1000)));
}

#[tokio::test]
async fn known_files_are_put_beside_those_of_the_zip_with_their_modes() {
    let platform = TestPlatform::new();
    platform.package(&[("a", "hello")]).await;

    let zip = Zip::new().file("new", "new");
    let known = vec![hello("copies/one", 0o755), hello("copies/two", 0)];
    let digest = platform.upload(Some(&zip), known).await.unwrap();

    let app = platform.sandbox.layer(&digest).join("home/vcap/app");
    let mode = |path: &str| fs::metadata(app.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(fs::read_to_string(app.join("copies/one")).unwrap(), "hello");
    assert_eq!((mode("copies/one"), mode("copies/two"), mode("new")), (0o755, 0o644, 0o644));
}

#[tokio::test]
async fn upload_may_consist_of_known_files_only() {
    let platform = TestPlatform::new();
    let first = platform.package(&[("a", "hello")]).await;

    let second = platform.upload(None, vec![hello("a", 0o644)]).await.unwrap();

    assert_eq!(first, second);
}

#[tokio::test]
async fn known_files_that_are_too_much_together_are_refused_before_they_are_put_anywhere() {
    let platform = TestPlatform::with(|config| config.upload_limits.unpacked_mib_max = 2);
    platform.package(&[("a", &"x".repeat(1 << 20))]).await;
    let sha1 = "e37f4d5be56713044d62525e406d250a722647d6";
    let file = |path: &str| Resource { sha1: sha1.into(), bytes: 1 << 20, ..hello(path, 0) };

    let two = platform.upload(None, vec![file("a"), file("b")]).await;
    let unpacked = platform.sandbox.specs.lock().unwrap().len();
    let three = platform.upload(None, vec![file("a"), file("b"), file("c")]).await;

    assert!(two.is_ok(), "{two:?}");
    assert_eq!(three.unwrap_err(), UploadError::TooLarge { limit_mib: 2 });
    assert_eq!(platform.sandbox.specs.lock().unwrap().len(), unpacked);
}

#[tokio::test]
async fn a_known_file_that_is_gone_is_told() {
    let platform = TestPlatform::new();

    let error = platform.upload(None, vec![hello("a", 0)]).await.unwrap_err();

    assert_eq!(error, UploadError::UnknownResource { sha1: HELLO_SHA1.into() });
}

#[tokio::test]
async fn a_known_file_is_not_given_to_those_who_have_only_its_hash() {
    let platform = TestPlatform::new();
    platform.package(&[("a", "hello")]).await;
    let guessed = Resource { bytes: 6, ..hello("a", 0) };

    let error = platform.upload(None, vec![guessed]).await.unwrap_err();

    assert_eq!(error, UploadError::UnknownResource { sha1: HELLO_SHA1.into() });
}

#[tokio::test]
async fn files_are_known_of_the_named_packages_only() {
    let platform = TestPlatform::new();
    let mine = platform.package(&[("a", "mine")]).await;
    let others = platform.package(&[("a", "hello")]).await;

    let unknown = platform.stager.known(vec![hello("a", 0)], vec![mine.clone()]).await.unwrap();
    let known = platform.stager.known(vec![hello("a", 0)], vec![mine.clone(), others]).await;
    let mut upload = platform.to_upload(None, vec![hello("a", 0)]);
    upload.among = vec![mine];
    let refused = platform.stager.ingest(upload).await;

    assert_eq!(unknown, []);
    assert_eq!(known.unwrap(), [hello("a", 0)]);
    assert_eq!(refused, Err(UploadError::UnknownResource { sha1: HELLO_SHA1.into() }));
}

#[tokio::test]
async fn file_that_not_everybody_may_read_is_copied_and_keeps_its_permissions() {
    let platform = TestPlatform::new();
    let zip = Zip::new().file_with_mode("secret", "hello", 0o600);
    let package = platform.upload(Some(&zip), Vec::new()).await.unwrap();

    let again = platform.upload(None, vec![hello("secret", 0o600)]).await.unwrap();

    assert_eq!(again, package);
    let file = platform.sandbox.layer(&package).join("home/vcap/app/secret");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn files_of_a_package_that_was_removed_are_not_given() {
    let platform = TestPlatform::new();
    let package = platform.package(&[("a", "hello")]).await;
    fs::remove_dir_all(platform.sandbox.layer(&package)).unwrap();

    let error = platform.upload(None, vec![hello("a", 0)]).await.unwrap_err();

    assert_eq!(error, UploadError::UnknownResource { sha1: HELLO_SHA1.into() });
}

#[tokio::test]
async fn a_hash_that_is_a_path_is_never_looked_up() {
    let platform = TestPlatform::new();
    let known = vec![Resource { sha1: "../../etc/passwd".into(), ..hello("a", 0) }];

    let error = platform.upload(None, known).await.unwrap_err();

    assert_eq!(error, UploadError::UnknownResource { sha1: "../../etc/passwd".into() });
}

#[tokio::test]
async fn an_upload_without_files_is_empty() {
    let platform = TestPlatform::new();

    let nothing = platform.upload(None, Vec::new()).await.unwrap_err();
    let only_folders = platform.upload(Some(&Zip::new().folder("a/", 0o755)), Vec::new()).await;

    assert_eq!(nothing, UploadError::Empty);
    assert_eq!(only_folders.unwrap_err(), UploadError::Empty);
}

#[tokio::test]
async fn paths_out_of_the_app_are_refused() {
    let said = "the upload is invalid: `../x` leads out of the app's folder";
    assert_eq!(refusal(Zip::new().file("../x", "")).await, said);
    assert!(refusal(Zip::new().file("/etc/x", "")).await.contains("`/etc/x` leads out"));
    assert!(refusal(Zip::new().file("a/b/../../../x", "")).await.contains("leads out"));
    assert!(refusal(Zip::new().file("a", "").folder("..//", 0o755)).await.contains("leads out"));
}

#[tokio::test]
async fn links_out_of_the_app_are_refused() {
    let absolute = Zip::new().file("a", "").link("l", "/etc/passwd");
    assert!(refusal(absolute).await.contains("`l` leads out"));
    let upwards = Zip::new().file("a", "").link("d/l", "../../secret");
    assert!(refusal(upwards).await.contains("`d/l` leads out"));
    let through = Zip::new().link("d", "elsewhere").file("d/x", "");
    assert!(refusal(through).await.contains("names `d` twice"));
}

#[tokio::test]
async fn paths_that_are_named_twice_are_refused() {
    assert!(refusal(Zip::new().file("a", "1").file("a", "2")).await.contains("twice"));
    assert!(refusal(Zip::new().file("a", "1").file("./a", "2")).await.contains("`a` twice"));
    assert!(refusal(Zip::new().file("a", "1").file("a/b", "2")).await.contains("`a` twice"));
}

#[tokio::test]
async fn devices_and_pipes_are_refused() {
    let device = Zip::new().entry("dev", 0o060_644, "");
    assert!(refusal(device).await.contains("`dev` is neither file, folder nor symbolic link"));
    let pipe = Zip::new().entry("pipe", 0o010_644, "");
    assert!(refusal(pipe).await.contains("neither file"));
}

#[tokio::test]
async fn too_many_entries_are_refused() {
    let platform = TestPlatform::with(|config| config.upload_limits.entries_max = 3);
    let zip = Zip::new().file("a/b/c/d", "");

    let error = platform.upload(Some(&zip), Vec::new()).await.unwrap_err();

    assert!(error.to_string().contains("more than 3 files and folders"));
}

#[tokio::test]
async fn an_upload_that_unpacks_to_too_much_is_refused() {
    let platform = TestPlatform::with(|config| config.upload_limits.unpacked_mib_max = 2);
    let zip = Zip::new().file("large", &"x".repeat(3 << 20));

    let error = platform.upload(Some(&zip), Vec::new()).await.unwrap_err();

    assert_eq!(error, UploadError::TooLarge { limit_mib: 2 });
}

async fn upload_bytes(platform: &TestPlatform, bytes: &[u8]) -> UploadError {
    let path = platform.data_dir().join("raw.zip");
    fs::write(&path, bytes).unwrap();
    let upload = Upload {
        package_id: PackageId::random(),
        zip: Some(path),
        known: Vec::new(),
        among: Vec::new(),
    };
    platform.stager.ingest(upload).await.unwrap_err()
}

#[tokio::test]
async fn a_zip_bomb_is_refused_by_ratio_and_leaves_no_package() {
    let platform = TestPlatform::new();

    let error = upload_bytes(&platform, &bomb(100)).await;

    assert_eq!(
        error.to_string(),
        "the upload is invalid: it unpacks to more than 200 times its size"
    );
}

#[tokio::test]
async fn a_zip_that_lies_about_its_size_is_stopped_while_it_is_written() {
    let platform = TestPlatform::with(|config| {
        config.upload_limits.unpacked_mib_max = 8;
        config.upload_limits.ratio_max = 1_000_000;
    });
    let mut lie = bomb(20);
    // The size without compression stands at offset 24 of the entry in the directory at the end.
    let entry = lie.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    lie[entry + 24..entry + 28].copy_from_slice(&1000u32.to_le_bytes());

    let error = upload_bytes(&platform, &lie).await;

    assert!(matches!(error, UploadError::TooLarge { limit_mib: 8 } | UploadError::Invalid(_)));
}

#[tokio::test]
async fn an_upload_that_was_cut_is_told_so() {
    let platform = TestPlatform::new();
    let whole = Zip::new().file("a", &"x".repeat(1000)).bytes();

    let error = upload_bytes(&platform, &whole[..600]).await;

    let message = error.to_string();
    assert!(message.starts_with("the upload is invalid: it is not a whole zip file"), "{message}");
    assert!(message.ends_with("push again"), "{message}");
}

#[tokio::test]
async fn a_file_whose_content_is_damaged_is_named() {
    let platform = TestPlatform::new();
    let mut bytes = Zip::new().file("a", "hello").bytes();
    let position = bytes.windows(5).position(|window| window == b"hello").unwrap();
    bytes[position] = b'j';

    let error = upload_bytes(&platform, &bytes).await;

    assert!(error.to_string().contains("`a` is damaged"), "{error}");
}

#[tokio::test]
async fn nothing_is_left_in_the_scratch_folder() {
    let platform = TestPlatform::new();

    platform.package(&[("a", "hello")]).await;

    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let scratch = platform.data_dir().join("staging");
    while fs::read_dir(&scratch).unwrap().count() > 1 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    assert!(scratch.join("host").is_dir());
}

fn outcome(exit: SandboxExit, handed_back: &str) -> SandboxOutcome {
    let result = ("/home/vcap/.cupola/result.json".to_owned(), handed_back.as_bytes().to_vec());
    SandboxOutcome { exit, lines_lost: 0, frozen: Vec::new(), handed_back: vec![result] }
}

#[tokio::test]
async fn ends_of_the_sandbox_are_told_apart() {
    let platform = TestPlatform::new();
    let zip = Zip::new().file("a", "hello");
    platform.sandbox.script(Ok(outcome(SandboxExit::TimeUp, "")));
    platform.sandbox.script(Ok(outcome(SandboxExit::OutOfMemory, "")));
    platform.sandbox.script(Err(SandboxError::DiskFull { limit_mib: 1 }));
    platform.sandbox.script(Ok(outcome(SandboxExit::Signaled { signal: 31 }, "")));

    let mut messages = Vec::new();
    for _ in 0..4 {
        messages.push(platform.upload(Some(&zip), Vec::new()).await.unwrap_err().to_string());
    }

    assert_eq!(
        messages,
        [
            "the upload is invalid: it cannot be unpacked within 180 seconds",
            "the upload is invalid: it cannot be unpacked within 256 MiB of memory",
            "the upload is larger than the 1024 MiB that are allowed when unpacked",
            "the platform could not unpack the upload: the unpacking ended with Signaled { signal: 31 }",
        ]
    );
}

#[tokio::test]
async fn a_result_of_another_version_or_a_lie_makes_no_package() {
    let platform = TestPlatform::new();
    let zip = Zip::new().file("a", "hello");
    let future = r#"{"version":2,"outcome":"unpacked","files":1,"bytes":1}"#;
    let lie = r#"{"version":1,"outcome":"unpacked","files":1,"bytes":1}"#;
    platform.sandbox.script(Ok(outcome(SandboxExit::Exited { code: 0 }, future)));
    platform.sandbox.script(Ok(outcome(SandboxExit::Exited { code: 0 }, lie)));

    let of_future = platform.upload(Some(&zip), Vec::new()).await.unwrap_err();
    let of_lie = platform.upload(Some(&zip), Vec::new()).await.unwrap_err();

    assert!(matches!(of_future, UploadError::Platform(_)));
    assert_eq!(of_lie, UploadError::Platform("its files were not kept".into()));
}

//! Archives of droplets: what goes out comes back as the same layers, and what is refused.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use cupola_domain::{
    droplets::{DropletContents, DropletVersion},
    ids::DropletId,
};
use cupola_ports::stager::{DropletUpload, ExportError, ImportedDroplet, Stager, UploadError};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::platform::{STACK, TestPlatform};

/// A tar made by hand, so that it can be as wrong as an attacker makes it.
struct Tar(Builder<GzEncoder<Vec<u8>>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    fn entry(mut self, kind: EntryType, path: &str, mode: u32, target: &str, text: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(text.len() as u64);
        header.set_mtime(1_000_000_000);
        // Unlike `set_path`, this takes every path.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        self.0.append(&header, text).unwrap();
        self
    }

    fn folder(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, mode, "", b"")
    }

    fn file(self, path: &str, mode: u32, text: &str) -> Self {
        self.entry(EntryType::Regular, path, mode, "", text.as_bytes())
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, 0o777, target, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, 0o644, target, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }
}

async fn import(platform: &TestPlatform, archive: &[u8]) -> Result<ImportedDroplet, UploadError> {
    let path: PathBuf = platform.data_dir().join("upload.tgz");
    fs::write(&path, archive).unwrap();
    let droplet_id = DropletId::random();
    let upload = DropletUpload { droplet_id, archive: path, stack: STACK.to_owned() };
    platform.stager.import(upload).await
}

async fn export(platform: &TestPlatform, contents: &DropletContents) -> Vec<u8> {
    let mut pieces = platform.stager.export(contents.clone()).await.unwrap();
    let mut archive = Vec::new();
    while let Some(piece) = pieces.recv().await {
        archive.write_all(&piece.unwrap()).unwrap();
    }
    archive
}

async fn refusal(archive: Tar) -> String {
    let platform = TestPlatform::new();
    let error = import(&platform, &archive.bytes()).await.unwrap_err();
    assert!(matches!(error, UploadError::Invalid(_)), "{error:?}");
    error.to_string()
}

/// An app of files that buildpacks write and packages cannot hold.
fn foreign() -> Tar {
    Tar::new()
        .folder("./", 0o755)
        .folder("./app/", 0o755)
        .folder("./app/locked/", 0o555)
        .file("./app/locked/tool", 0o555, "tool")
        .hard_link("./app/tool", "./app/locked/tool")
        .link("./app/python", "/usr/bin/python3")
        .file("./app/Procfile", 0o644, "worker: ./work\n")
        .file("./deps/0/bin/run", 0o755, "#!/bin/sh")
        .file("./staging_info.yml", 0o644, r#"{"detected_buildpack":"Go","start_command":"./go"}"#)
        .folder("./tmp/", 0o755)
        .file("./elsewhere", 0o644, "ignored")
}

#[tokio::test]
async fn droplet_of_elsewhere_keeps_modes_links_and_times_and_names_its_commands() {
    let platform = TestPlatform::new();

    let imported = import(&platform, &foreign().bytes()).await.unwrap();

    assert!(!imported.is_unchanged);
    let contents = imported.contents;
    assert_eq!(contents.process_types["web"], "./go");
    assert_eq!(contents.process_types["worker"], "./work");
    assert_eq!(contents.buildpacks[0].name, "Go");
    assert_eq!((contents.stack.as_str(), contents.layers.len()), (STACK, 2));
    let app = platform.sandbox.layer(&contents.layers[1]).join("home/vcap/app");
    let locked = fs::metadata(app.join("locked")).unwrap();
    let tool = fs::metadata(app.join("locked/tool")).unwrap();
    assert_eq!(locked.permissions().mode() & 0o777, 0o555);
    assert_eq!((tool.permissions().mode() & 0o777, tool.nlink()), (0o555, 2));
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    assert_eq!((tool.modified().unwrap(), locked.modified().unwrap()), (time, time));
    assert_eq!(fs::read_link(app.join("python")).unwrap().to_str(), Some("/usr/bin/python3"));
    assert_eq!(platform.read(&contents, "home/vcap/deps/0/bin/run").unwrap(), "#!/bin/sh");
    assert_eq!(platform.read(&contents, "home/vcap/elsewhere"), None);
}

#[tokio::test]
async fn what_was_packed_comes_back_as_the_same_layers_and_the_same_bytes() {
    let platform = TestPlatform::new();
    let mut contents = import(&platform, &foreign().bytes()).await.unwrap().contents;
    contents.process_types.insert("web".to_owned(), "./other".to_owned());
    contents.buildpacks[0].name = "https://me:secret@git.example/buildpack".to_owned();
    contents.stack_digest = "of another host".to_owned();

    let archive = export(&platform, &contents).await;
    let imported = import(&platform, &archive).await.unwrap();
    let again = export(&platform, &imported.contents).await;

    assert!(imported.is_unchanged);
    // Who has the archive must not have the password.
    contents.buildpacks[0].name = "https://git.example/buildpack".to_owned();
    assert_eq!(imported.contents, contents);
    assert!(archive == again, "the archive has other bytes");
}

#[tokio::test]
async fn changed_archive_is_one_of_elsewhere_whatever_it_says_of_itself() {
    let platform = TestPlatform::new();
    let mut contents = import(&platform, &foreign().bytes()).await.unwrap().contents;
    contents.process_types.insert("web".to_owned(), "./forged".to_owned());
    let record = serde_json::to_string(&contents).unwrap();

    let forged = foreign().file("./.cupola-droplet.json", 0o644, &record);
    let forged = forged.file("./app/more", 0o644, "changed").bytes();
    let imported = import(&platform, &forged).await.unwrap();

    assert!(!imported.is_unchanged);
    assert_eq!(imported.contents.process_types["web"], "./go");
    assert_ne!(imported.contents.layers, contents.layers);
}

#[tokio::test]
async fn record_of_version_1_is_known_again() {
    let platform = TestPlatform::new();
    let contents = import(&platform, &foreign().bytes()).await.unwrap().contents;
    assert_eq!(contents.version, DropletVersion::CURRENT);
    let layers: Vec<_> = contents.layers.iter().map(ToString::to_string).collect();
    let record = format!(
        r#"{{"version":1,"layers":["{}","{}"],"process_types":{{"web":"./run"}},"buildpacks":[{{"name":"binary_buildpack","detect_output":null,"buildpack_name":"binary","version":null}}],"stack":"gone","stack_digest":"sha256:00"}}"#,
        layers[0], layers[1]
    );

    let archive = foreign().file("./.cupola-droplet.json", 0o644, &record).bytes();
    let imported = import(&platform, &archive).await.unwrap();

    assert!(imported.is_unchanged);
    assert_eq!(imported.contents.process_types["web"], "./run");
    assert_eq!(imported.contents.buildpacks[0].buildpack_name.as_deref(), Some("binary"));
}

#[tokio::test]
async fn unpacking_a_droplet_has_no_network_and_sees_only_its_upload() {
    let platform = TestPlatform::new();

    import(&platform, &foreign().bytes()).await.unwrap();

    let specs = platform.sandbox.specs.lock().unwrap();
    assert!(!specs[0].network);
    assert!(specs[0].binds.iter().all(|bind| !bind.writable));
    let targets: Vec<_> = specs[0].binds.iter().map(|bind| bind.target.as_str()).collect();
    assert_eq!(targets, ["/in/order.json", "/in/droplet.tgz"]);
}

#[tokio::test]
async fn archives_that_are_no_droplets_are_refused_with_the_reason() {
    let app = || Tar::new().folder("app/", 0o755);

    assert!(refusal(Tar::new().file("x", 0o644, "")).await.contains("no folder `app`"));
    assert!(refusal(Tar::new().link("app", "/etc")).await.contains("`app` is not what it is"));
    assert!(refusal(app().link("deps", "/etc")).await.contains("`deps` is not what it is"));
    assert!(refusal(app().file("/app/x", 0o644, "")).await.contains("leads out"));
    assert!(refusal(app().file("app/../../x", 0o644, "")).await.contains("leads out"));
    assert!(
        refusal(app().link("app/l", "/etc").file("app/l/x", 0o644, "")).await.contains("twice")
    );
    assert!(refusal(app().hard_link("app/h", "/etc/shadow")).await.contains("leads out"));
    assert!(refusal(app().hard_link("app/h", "app/none")).await.contains("of no file"));
    let device = app().entry(EntryType::Char, "app/null", 0o666, "", b"");
    assert!(refusal(device).await.contains("neither file, folder nor link"));
    let wrong = app().file("staging_info.yml", 0o644, "[");
    assert!(refusal(wrong).await.contains("staging_info.yml is not valid"));
}

#[tokio::test]
async fn cut_archives_are_refused() {
    let platform = TestPlatform::new();
    let whole = foreign().bytes();

    let cut = import(&platform, &whole[..whole.len() / 2]).await.unwrap_err();
    let text = import(&platform, b"no archive").await.unwrap_err();

    assert!(cut.to_string().contains("not a whole tar file"), "{cut}");
    assert!(text.to_string().contains("not a whole tar file"), "{text}");
}

#[tokio::test]
async fn bombs_are_refused_before_anything_of_them_is_written() {
    let platform = TestPlatform::with(|config| {
        config.droplet_limits.unpacked_mib_max = 1;
        config.droplet_limits.entries_max = 20;
    });
    let large = foreign().file("app/zeros", 0o644, &"\0".repeat(2 << 20)).bytes();
    // What is not kept has to be read all the same.
    let outside = foreign().file("zeros", 0o644, &"\0".repeat(2 << 20)).bytes();
    let many = (0..30).fold(foreign(), |tar, n| tar.file(&format!("app/{n}"), 0o644, "")).bytes();

    let too_large = UploadError::TooLarge { limit_mib: 1 };
    assert_eq!(import(&platform, &large).await.unwrap_err(), too_large);
    assert_eq!(import(&platform, &outside).await.unwrap_err(), too_large);
    let many = import(&platform, &many).await.unwrap_err();
    assert!(many.to_string().contains("more than 20 files and folders"), "{many}");
}

#[tokio::test]
async fn few_droplets_are_packed_at_once_and_a_reader_that_goes_away_makes_room() {
    let platform = TestPlatform::new();
    // More than waits between packer and reader, also when it is compressed.
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from((state % 94) as u8 + 32)
    };
    let noise: String = (0..4_000_000).map(|_| next()).collect();
    let large = foreign().file("app/large", 0o644, &noise).bytes();
    let contents = import(&platform, &large).await.unwrap().contents;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(platform.stager.export(contents.clone()).await.unwrap());
    }

    let fifth = platform.stager.export(contents.clone()).await.unwrap_err();
    readers.clear();

    assert_eq!(fifth, ExportError::Busy);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while platform.stager.export(contents.clone()).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "no room was made");
        tokio::task::yield_now().await;
    }
}

//! A sandbox that confines nothing: it lays a container's paths out below a temporary folder, and
//! runs the role in a child process there.

use std::{
    collections::VecDeque,
    fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use cupola_domain::droplets::LayerDigest;
use cupola_ports::sandbox::{
    FrozenLayer, LayerFile, Layers, OutputLine, ROLE_BINARY, Sandbox, SandboxError, SandboxExit,
    SandboxOutcome, SandboxSpec,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    sync::{mpsc, watch},
};

const ROLE: &str = "CUPOLA_TEST_ROLE";
const ORDER: &str = "CUPOLA_TEST_ORDER";

/// The child half: the test binary runs this one test of itself with the role in its environment.
#[test]
fn role_entry() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    let arguments = std::env::var_os(ORDER);
    let code = match role.to_str() {
        Some(cupola_staging::UNPACK_ROLE) => cupola_staging::unpack_main(arguments),
        Some(cupola_staging::BUILDER_ROLE) => cupola_staging::builder_main(arguments),
        _ => ExitCode::from(2),
    };
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap();
    std::process::exit(i32::from(number));
}

pub(crate) struct FakeSandbox {
    dir: TempDir,
    /// What was asked for, in order.
    pub(crate) specs: Mutex<Vec<SandboxSpec>>,
    /// Answers instead of a run, first come first served.
    pub(crate) scripted: Mutex<VecDeque<Result<SandboxOutcome, SandboxError>>>,
    running: AtomicUsize,
    /// How many ran at once.
    pub(crate) running_max: AtomicUsize,
}

impl FakeSandbox {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layers")).unwrap();
        Self {
            dir,
            specs: Mutex::default(),
            scripted: Mutex::default(),
            running: AtomicUsize::new(0),
            running_max: AtomicUsize::new(0),
        }
    }

    pub(crate) fn script(&self, outcome: Result<SandboxOutcome, SandboxError>) {
        self.scripted.lock().unwrap().push_back(outcome);
    }

    pub(crate) fn layer(&self, digest: &LayerDigest) -> PathBuf {
        self.dir.path().join("layers").join(digest.hex())
    }

    /// Keeps a copy of the paths of `root` as a layer.
    fn freeze(&self, root: &Path, name: &str, paths: &[String]) -> FrozenLayer {
        let new = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        for path in paths.iter().map(|path| path.trim_start_matches('/')) {
            if root.join(path).exists() {
                copy_with_parents(root, path, &new);
            }
        }
        let mut hash = Sha256::new();
        for file in walk(&new, &new) {
            hash.update(format!("{} {:o}\0", file.path, file.mode));
            hash.update(fs::read(&file.host_path).unwrap());
        }
        let digest = LayerDigest::from_sha256(hash.finalize().into());
        let _ = fs::rename(&new, self.layer(&digest));
        FrozenLayer { name: name.to_owned(), digest, bytes: 1 }
    }

    fn lay_out(&self, spec: &SandboxSpec, root: &Path) {
        fs::create_dir_all(root.join("home/vcap/app")).unwrap();
        fs::create_dir(root.join("in")).unwrap();
        for layer in &spec.layers {
            let source = self.layer(layer).join(".");
            assert!(run("cp", &["-a", path(&source), path(root)]));
        }
        for bind in &spec.binds {
            let target = inside(root, &bind.target);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            if bind.target.ends_with("order.json") {
                let text = fs::read_to_string(&bind.source).unwrap();
                fs::write(target, moved(root, &text)).unwrap();
            } else {
                std::os::unix::fs::symlink(&bind.source, target).unwrap();
            }
        }
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    async fn run(
        &self,
        spec: SandboxSpec,
        output: mpsc::Sender<OutputLine>,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<SandboxOutcome, SandboxError> {
        self.specs.lock().unwrap().push(spec.clone());
        if let Some(scripted) = self.scripted.lock().unwrap().pop_front() {
            return scripted;
        }
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.running_max.fetch_max(running, Ordering::SeqCst);
        let root = tempfile::tempdir_in(self.dir.path()).unwrap();
        self.lay_out(&spec, root.path());
        assert_eq!(spec.argv[0], ROLE_BINARY);
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["fake::role_entry", "--exact", "--nocapture"])
            .env_clear()
            .envs(spec.environment.iter().map(|(n, v)| (n, moved_value(root.path(), v))))
            .env(ROLE, &spec.argv[1])
            .env(ORDER, inside(root.path(), &spec.argv[2]))
            .current_dir(inside(root.path(), &spec.working_directory))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = tokio::spawn(send(child.stdout.take().unwrap(), false, output.clone()));
        let err = tokio::spawn(send(child.stderr.take().unwrap(), true, output));
        let group = child.id().unwrap();
        let exit = tokio::select! {
            status = child.wait() => exit_of(status.unwrap()),
            () = tokio::time::sleep(spec.limits.time_max) => SandboxExit::TimeUp,
            _ = cancel.wait_for(|cancel| *cancel) => SandboxExit::Cancelled,
        };
        run("kill", &["-KILL", "--", &format!("-{group}")]);
        let _ = (out.await, err.await);
        self.running.fetch_sub(1, Ordering::SeqCst);

        let is_good = exit == SandboxExit::Exited { code: 0 };
        let frozen = spec.freeze.iter().filter(|_| is_good);
        let handed_back = spec.hand_back.iter().filter_map(|file| {
            let content = fs::read(inside(root.path(), &file.path)).ok()?;
            (content.len() as u64 <= file.bytes_max).then(|| (file.path.clone(), content))
        });
        Ok(SandboxOutcome {
            exit,
            lines_lost: 0,
            frozen: frozen.map(|f| self.freeze(root.path(), &f.name, &f.paths)).collect(),
            handed_back: handed_back.collect(),
        })
    }
}

#[async_trait]
impl Layers for FakeSandbox {
    async fn exists(&self, digest: &LayerDigest) -> bool {
        self.layer(digest).exists()
    }

    async fn files(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Vec<LayerFile>, SandboxError> {
        let root = inside(&self.layer(digest), prefix);
        Ok(walk(&root, &root))
    }

    async fn folder(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Option<PathBuf>, SandboxError> {
        let folder = inside(&self.layer(digest), prefix);
        Ok(folder.is_dir().then_some(folder))
    }

    async fn retain(&self, _used: &[LayerDigest]) -> Result<u64, SandboxError> {
        Ok(0)
    }

    async fn stack_digest(&self, stack: &str) -> Result<String, SandboxError> {
        Ok(format!("digest of {stack}"))
    }
}

async fn send(from: impl AsyncRead + Unpin, is_stderr: bool, to: mpsc::Sender<OutputLine>) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(message)) = lines.next_segment().await {
        let is_of_the_harness = message.is_empty() || message == b"running 1 test";
        if !is_of_the_harness {
            let _ = to.send(OutputLine { is_stderr, message }).await;
        }
    }
}

fn exit_of(status: std::process::ExitStatus) -> SandboxExit {
    match status.code() {
        Some(code) => SandboxExit::Exited { code },
        None => SandboxExit::Signaled { signal: status.signal().unwrap() },
    }
}

/// The text with the container's paths moved below `root`.
fn moved(root: &Path, text: &str) -> String {
    let root = path(root);
    text.replace("\"/home/vcap", &format!("\"{root}/home/vcap"))
        .replace("\"/in/", &format!("\"{root}/in/"))
}

fn moved_value(root: &Path, value: &str) -> String {
    if value.starts_with("/home/vcap") || value.starts_with("/in/") {
        format!("{}{value}", path(root))
    } else {
        value.to_owned()
    }
}

fn inside(root: &Path, container_path: &str) -> PathBuf {
    root.join(container_path.trim_start_matches('/'))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn copy_with_parents(root: &Path, relative: &str, into: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--parents", relative, path(into)])
        .current_dir(root)
        .status();
    assert!(status.unwrap().success());
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    status.unwrap().success()
}

/// The regular files below `folder`, sorted.
pub(crate) fn walk(root: &Path, folder: &Path) -> Vec<LayerFile> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let metadata = fs::symlink_metadata(&entry).unwrap();
        if metadata.is_dir() {
            files.extend(walk(root, &entry));
        } else if metadata.is_file() {
            files.push(LayerFile {
                path: path(entry.strip_prefix(root).unwrap()).to_owned(),
                bytes: metadata.len(),
                mode: metadata.permissions().mode() & 0o777,
                host_path: entry,
            });
        }
    }
    files
}

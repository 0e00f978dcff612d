//! One installation per scenario: its own folders, ports and range of addresses, gone at the end.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use crate::{
    cli::{Cli, Ran},
    http,
    http::Answer,
};

/// How long anything may take that a test waits for, unless it says so.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something; fails the test when patience is at its end.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running platform.
pub struct Platform {
    up: Option<Child>,
    binary: PathBuf,
    number: u16,
    folder: tempfile::TempDir,
    run_dir: PathBuf,
    /// The command line of `cupola up`, or its file.
    flags: Vec<(String, String)>,
    is_by_file: bool,
    /// What runs `cupola up`: nothing, or a shell that changes something before.
    launcher: Vec<String>,
    environment: Vec<(String, String)>,
    pub url: String,
    pub api: SocketAddr,
    pub router: SocketAddr,
}

static STARTED: AtomicU16 = AtomicU16::new(0);

impl Platform {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more flags for `cupola up`.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_in(flags, &[])
    }

    /// With these variables beside those of the test, too.
    pub fn start_in(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut platform = Self::prepare();
        let variables = environment.iter();
        platform.environment =
            variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for flag in flags.chunks_exact(2) {
            platform.add(flag[0], flag[1]);
        }
        platform.up();
        platform
    }

    /// Everything but the start.
    pub fn prepare() -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let (api, router) = (free_address(), free_address());
        let mut platform = Self {
            up: None,
            binary: tool("CUPOLA_BIN"),
            number,
            folder: tempfile::tempdir().unwrap(),
            // Short, because the name of a Unix socket may have 107 bytes only.
            run_dir: PathBuf::from(format!("/run/cupola-e2e-{}-{number:02}", std::process::id())),
            flags: Vec::new(),
            is_by_file: false,
            launcher: Vec::new(),
            environment: Vec::new(),
            url: format!("http://{api}"),
            api,
            router,
        };
        // A container's files are reached through all of its parents.
        let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o711);
        fs::set_permissions(platform.folder.path(), open).unwrap();
        for (flag, value) in platform.usual_flags() {
            platform.add(flag, &value);
        }
        platform
    }

    fn usual_flags(&self) -> [(&'static str, String); 6] {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        [
            ("--data-dir", path(&self.data_dir())),
            ("--run-dir", path(&self.run_dir)),
            ("--api-addr", self.api.to_string()),
            ("--router-addr", self.router.to_string()),
            ("--admin-password-file", path(&self.password_file())),
            ("--instance-subnet", self.subnet()),
        ]
    }

    /// One more flag, or one more of its values.
    pub fn add(&mut self, flag: &str, value: &str) {
        self.flags.push((flag.to_owned(), value.to_owned()));
    }

    pub fn remove(&mut self, flag: &str) {
        self.flags.retain(|(known, _)| known != flag);
    }

    /// Instead of the value that it has.
    pub fn replace(&mut self, flag: &str, value: &str) {
        self.remove(flag);
        self.add(flag, value);
    }

    /// Writes the flags to a file, which is all that `up` and `down` are told.
    pub fn use_file(&mut self) {
        let mut keys = BTreeMap::<&str, Vec<String>>::new();
        for (flag, value) in &self.flags {
            let number = value.parse::<u32>().map(|number| number.to_string());
            let value = number.unwrap_or_else(|_| format!("{value:?}"));
            keys.entry(flag.trim_start_matches('-')).or_default().push(value);
        }
        let line = |(key, values): (&str, Vec<String>)| match (key, values.join(", ")) {
            ("router-addr" | "egress-allow" | "staging-egress-allow", list) => {
                format!("{key} = [{list}]\n")
            }
            (_, value) => format!("{key} = {value}\n"),
        };
        fs::write(self.file(), keys.into_iter().map(line).collect::<String>()).unwrap();
        self.is_by_file = true;
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("cupola.toml")
    }

    /// Runs `cupola up` as the last words of this command line.
    pub fn launch_by(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
    }

    /// The command line of `cupola up`.
    fn words(&self) -> Vec<String> {
        let mut words = self.launcher.clone();
        words.extend([self.binary.to_str().unwrap().to_owned(), "up".to_owned()]);
        if self.is_by_file {
            words.extend(self.place());
        } else {
            words.extend(self.flags.iter().flat_map(|(flag, value)| [flag.clone(), value.clone()]));
        }
        words
    }

    /// Starts control; the first time the whole platform.
    pub fn up(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let words = self.words();
        let mut up = Command::new(&words[0]);
        up.args(&words[1..]);
        up.envs(self.environment.iter().map(|(name, value)| (name, value)));
        up.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let said_before = self.output().len();
        self.up = Some(up.spawn().expect("the platform can be started"));
        self.wait_until_ready(said_before);
    }

    /// Starts it in vain, and returns what it said.
    #[track_caller]
    pub fn is_refused(&self) -> Ran {
        self.refused(&self.words())
    }

    /// Until it answers and has said so.
    fn wait_until_ready(&mut self, said_before: usize) {
        let started = Instant::now();
        let last_words = "`cupola down` stops everything";
        while !self.is_ready() || !self.output()[said_before..].contains(last_words) {
            let ended = self.up.as_mut().and_then(|up| up.try_wait().unwrap());
            assert!(ended.is_none(), "the platform ended: {ended:?}\n{}", self.output());
            assert!(
                started.elapsed() < PATIENCE,
                "the platform does not answer\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        if self.url.starts_with("https") {
            return http::get_on_socket(&self.run_dir.join("api.sock"), "/").is_ok();
        }
        http::get(self.api, &self.api.to_string(), "/").is_ok()
    }

    /// The process id of control.
    pub fn control(&self) -> u32 {
        self.up.as_ref().expect("control runs").id()
    }

    /// Kills control with SIGKILL.
    pub fn kill_control(&mut self) {
        let mut up = self.up.take().expect("control runs");
        up.kill().unwrap();
        up.wait().unwrap();
    }

    /// Ends control as Ctrl-C does, and returns what it said meanwhile.
    pub fn interrupt_control(&mut self) -> String {
        self.end_control("INT")
    }

    /// Ends control with a signal, and returns what it said meanwhile.
    pub fn end_control(&mut self, signal: &str) -> String {
        let said_before = self.output().len();
        let mut up = self.up.take().expect("control runs");
        send_signal(signal, up.id());
        let ended = up.wait().unwrap();
        assert!(ended.success(), "{ended:?}\n{}", self.output());
        self.output().split_off(said_before)
    }

    /// The processes of this installation in a role: `router`, `shim`.
    pub fn pids(&self, role: &str) -> Vec<u32> {
        let run_dir = self.run_dir.to_str().unwrap();
        let is_in_role =
            |line: &str| line.split('\0').nth(1) == Some(role) && line.contains(run_dir);
        let processes = command_lines().into_iter().filter(|(_, line)| is_in_role(line));
        processes.map(|(pid, _)| pid).collect()
    }

    /// Runs `cupola up` with these arguments, which must end it with a failure.
    #[track_caller]
    pub fn refused_up(&self, arguments: &[&str]) -> Ran {
        let up = [self.binary.to_str().unwrap(), "up"];
        let words = up.iter().chain(arguments).map(|word| (*word).to_owned());
        self.refused(&words.collect::<Vec<_>>())
    }

    #[track_caller]
    fn refused(&self, words: &[String]) -> Ran {
        let mut up = Command::new(&words[0]);
        up.args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = up.spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let ran = Ran::new(&words, &child.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(1), "{ran}");
        ran
    }

    /// `cupola down`, which must succeed; `up` can start it again.
    pub fn down(&mut self) -> Ran {
        let mut down = Command::new(&self.binary);
        let ended = down.arg("down").args(self.place()).output().unwrap();
        let ran = Ran::new(&["down"], &ended);
        if let Some(up) = &mut self.up {
            up.wait().unwrap();
            self.up = None;
        }
        assert_eq!(ran.code, Some(0), "{ran}");
        ran
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder of the scenario's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A range that no other installation of this run uses, and none of another run that is near.
    pub fn subnet(&self) -> String {
        let number = (std::process::id() * 67 + u32::from(self.number)) % 2048;
        format!("10.{}.{}.0/20", 128 + number / 16, number % 16 * 16)
    }

    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// What says where the installation is.
    pub fn place(&self) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        if self.is_by_file {
            return vec!["--config".to_owned(), path(self.file())];
        }
        let (data_dir, run_dir) = (path(self.data_dir()), path(self.run_dir.clone()));
        vec!["--data-dir".to_owned(), data_dir, "--run-dir".to_owned(), run_dir]
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("up.log")
    }

    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    pub fn admin_password(&self) -> String {
        fs::read_to_string(self.password_file()).unwrap().trim().to_owned()
    }

    /// What the platform printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The `cf` CLI, logged in as this user and targeted at the first space if there is one.
    pub fn cf(&self, user: &str, password: &str) -> Cli {
        self.cf_at_home(user, user, password)
    }

    /// One `cf` may not run twice at the same time with the same home.
    fn cf_at_home(&self, home: &str, user: &str, password: &str) -> Cli {
        let cf = self.cf_without_api(home);
        cf.ok(&["api", &self.url]);
        cf.ok(&["auth", user, password]);
        cf
    }

    /// The `cf` CLI that was told nothing yet.
    pub fn cf_without_api(&self, home: &str) -> Cli {
        let home = self.folder.path().join("cf-home").join(home);
        fs::create_dir_all(&home).unwrap();
        let environment =
            [("CF_HOME", home.to_str().unwrap()), ("CF_COLOR", "false"), ("LANG", "en_US.UTF-8")];
        let environment =
            environment.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let directory = self.folder.path().to_owned();
        Cli { program: tool("CF_BIN"), environment, directory }
    }

    /// The administrator's `cf`, in the organisation and space of the first start.
    pub fn cf_admin(&self) -> Cli {
        let cf = self.cf("admin", &self.admin_password());
        cf.ok(&["target", "-o", "default", "-s", "dev"]);
        cf
    }

    /// Another `cf` of the administrator, to be used at the same time.
    pub fn cf_admin_beside(&self, home: &str) -> Cli {
        let cf = self.cf_at_home(home, "admin", &self.admin_password());
        cf.ok(&["target", "-o", "default", "-s", "dev"]);
        cf
    }

    /// The `cupola` command line of the administrator of this machine.
    pub fn cupola(&self) -> Cli {
        let run_dir = self.run_dir.to_str().unwrap().to_owned();
        Cli {
            program: self.binary.clone(),
            environment: vec![("CUPOLA_RUN_DIR".to_owned(), run_dir)],
            directory: self.folder.path().to_owned(),
        }
    }

    /// A GET of an app's default route.
    pub fn get(&self, app: &str, path: &str) -> Answer {
        http::get(self.router, &format!("{app}.apps.localhost"), path).expect("the router answers")
    }

    /// The same, where the router may not answer yet.
    pub fn try_get(&self, app: &str, path: &str) -> Option<Answer> {
        http::get(self.router, &format!("{app}.apps.localhost"), path).ok()
    }

    /// Waits until an app's default route answers with this status: the route table follows a
    /// change of routes or instances within a moment, not at once.
    #[track_caller]
    pub fn wait_for_status(&self, app: &str, status: u16) {
        wait_for(&format!("{app} to answer {status}"), || {
            (self.get(app, "/").status == status).then_some(())
        });
    }

    /// A folder for the sources of an app.
    pub fn app_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join("apps").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("== the platform said\n{}", self.output());
        }
        let mut down = Command::new(&self.binary);
        let ended =
            down.arg("down").args(self.place()).output().expect("the platform can be stopped");
        if let Some(up) = &mut self.up {
            let _ = up.kill();
            let _ = up.wait();
        }
        if !std::thread::panicking() {
            assert!(
                ended.status.success(),
                "down failed: {}",
                String::from_utf8_lossy(&ended.stderr)
            );
            assert_nothing_is_left(&self.run_dir);
        }
    }
}

/// Fails the test if mounts or processes of a platform are still there.
fn assert_nothing_is_left(run_dir: &Path) {
    let run_dir = run_dir.to_str().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(run_dir), "mounts are left:\n{mounts}");
    let left: Vec<_> =
        command_lines().into_iter().filter(|(_, line)| line.contains(run_dir)).collect();
    assert!(left.is_empty(), "processes are left: {left:?}");
}

/// Every process of this machine with its arguments, which end with a zero byte each.
pub fn command_lines() -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).into_owned()))
    });
    lines.collect()
}

/// Process 1 of an instance's container as the host sees it: the child of its shim.
pub fn init_pid(instance: &str) -> u32 {
    let is_shim = |line: &str| line.split('\0').nth(1) == Some("shim") && line.contains(instance);
    let lines = command_lines();
    let shims: Vec<u32> =
        lines.iter().filter(|(_, line)| is_shim(line)).map(|(pid, _)| *pid).collect();
    let is_child = |pid: &u32| parent_of(*pid).is_some_and(|parent| shims.contains(&parent));
    let children: Vec<u32> = lines.iter().map(|(pid, _)| *pid).filter(is_child).collect();
    assert_eq!(children.len(), 1, "children of {shims:?}: {children:?}");
    children[0]
}

/// The other processes in there. Some write over their environment, so it cannot tell them.
pub fn app_pids(instance: &str) -> Vec<u32> {
    let init = init_pid(instance);
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let container = namespace(init);
    let pids = command_lines().into_iter().map(|(pid, _)| pid);
    pids.filter(|pid| *pid != init && namespace(*pid) == container).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Sends a signal, by its name, to a process that this installation started.
pub fn send_signal(name: &str, pid: u32) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success(), "process {pid} takes no signal");
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let e2e = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    e2e.parent().unwrap().to_owned()
}

/// The folder of a sample.
pub fn sample(name: &str) -> PathBuf {
    repository().join("samples").join(name)
}

fn tool(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask e2e`")).into()
}

/// An address on loopback that nobody listened on a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

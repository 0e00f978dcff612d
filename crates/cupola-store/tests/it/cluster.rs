//! A PostgreSQL server for the tests: Debian's binaries, a cluster in a temporary directory, and
//! a Unix socket in it.
//!
//! All tests of a process share one server. A shell that waits for the end of its standard input
//! stops the server and removes the directory when the process has ended, however it ended.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection as _, PgConnection};

/// PostgreSQL refuses to run as root: `nobody` of Debian.
const UNPRIVILEGED: u32 = 65534;

/// Says `ready` when the server takes connections. The locale of the cluster orders text otherwise
/// than the store must.
const KEEP: &str = r#"
start() {
    "$0"/initdb --pgdata="$1"/data --auth=trust --username=cupola --encoding=UTF8 \
        --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US --no-sync >"$1"/initdb.log 2>&1 &&
    "$0"/pg_ctl start --pgdata="$1"/data --log="$1"/postgres.log --wait --timeout=60 \
        --options="-k $1 -h '' -F" >"$1"/pg_ctl.log 2>&1
}
if start "$1"; then
    echo ready
    read -r _
else
    cat "$1"/*.log >&2
fi
"$0"/pg_ctl stop --pgdata="$1"/data --mode=immediate >/dev/null 2>&1
rm -rf "$1"
"#;

struct Cluster {
    dir: PathBuf,
    _keeper: Child,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// The URL of a new, empty database.
pub(crate) async fn new_database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let url = |database: &str| {
        format!("postgres://cupola@localhost/{database}?host={}", CLUSTER.dir.display())
    };
    let mut connection = PgConnection::connect(&url("postgres")).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    url(&name)
}

impl Cluster {
    fn start() -> Self {
        let bin = find_binaries();
        // Kept: the keeper removes it.
        let dir = tempfile::Builder::new().prefix("cupola-pg").tempdir().unwrap().keep();
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(KEEP).arg(&bin).arg(&dir).current_dir(&dir);
        // In a group of its own, so that it outlives a Ctrl-C on the tests.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        if is_root() {
            chown(&dir, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
            keeper.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        let mut keeper = keeper.spawn().unwrap();
        let mut answer = String::new();
        let output = keeper.stdout.take().expect("the output of the keeper is piped");
        BufReader::new(output).read_line(&mut answer).unwrap();
        assert_eq!(answer, "ready\n", "PostgreSQL did not start; its last words are above");
        Self { dir, _keeper: keeper }
    }
}

fn find_binaries() -> PathBuf {
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut packaged: Vec<_> = packaged.map(|entry| entry.unwrap().path().join("bin")).collect();
    packaged.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = packaged.into_iter().rev().chain(std::env::split_paths(&path));
    let is_complete =
        |dir: &PathBuf| ["initdb", "pg_ctl", "postgres"].iter().all(|name| dir.join(name).exists());
    candidates.find(is_complete).expect(
        "PostgreSQL's initdb, pg_ctl and postgres are neither under /usr/lib/postgresql nor in \
         PATH: apt-get install -y --no-install-recommends postgresql",
    )
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

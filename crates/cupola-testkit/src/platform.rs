//! A whole platform in one process: the real API, control and SQLite, with scripted fakes of what
//! needs root, and a clock that stands still.

use std::{sync::Arc, time::Duration};

use cupola_api::Router;
use cupola_control::{
    Control, InstanceSettings, Loops, Ports, Settings, StagingSettings,
    bootstrap::{ADMIN, FIRST_ORG, FIRST_SPACE},
    caller::Caller,
    identity::TokenKeys,
    vault::Vault,
};
use cupola_domain::{
    ids::{OrgId, SpaceId, UserId},
    orgs::{Metadata, Org},
    roles::{Role, RoleKind, RoleScope},
    spaces::Space,
    users::User,
};
use cupola_ports::{
    clock::Clock,
    store::{self, Noun, Query, Store},
};
use cupola_store::SqliteStore;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    fakes::{FakeCells, FakeDataPlane, FakeLayers, FakeLogs, FakeStager, ManualClock},
    http::Client,
};

/// What every href of a test platform begins with.
pub const URL: &str = "https://api.cupola.test";
/// The password that the administrator of a test platform has.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";
/// The domain that its apps are under.
pub const APPS_DOMAIN: &str = "apps.cupola.test";

/// A platform for one test. What it wrote is removed when it is dropped.
pub struct TestPlatform {
    pub control: Control,
    pub clock: Arc<ManualClock>,
    pub store: Arc<SqliteStore>,
    pub cells: Arc<FakeCells>,
    pub stager: Arc<FakeStager>,
    pub layers: Arc<FakeLayers>,
    pub data_plane: Arc<FakeDataPlane>,
    pub logs: Arc<FakeLogs>,
    /// The first organisation and its space.
    pub org: OrgId,
    pub space: SpaceId,
    router: Router,
    loops: Option<(Loops, watch::Sender<bool>)>,
    dir: TempDir,
}

impl TestPlatform {
    /// A platform on which no loop runs: jobs are done by `Client::delete_all_of` and the like, or
    /// by `run_jobs`.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As `start`, with other settings.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let store = SqliteStore::open(&dir.path().join("cupola.db")).await;
        let store = Arc::new(store.expect("a new database can be made"));
        let clock = Arc::new(ManualClock::new());
        let cells = Arc::new(FakeCells::new(Arc::clone(&clock)));
        let (stager, layers) = (Arc::new(FakeStager::new()), Arc::new(FakeLayers::default()));
        let (data_plane, logs) = (Arc::new(FakeDataPlane::new()), Arc::new(FakeLogs::default()));
        let ports = Ports {
            store: store.clone(),
            cells: cells.clone(),
            stager: stager.clone(),
            layers: layers.clone(),
            data_plane: data_plane.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
        };
        let mut settings = settings(&dir);
        change(&mut settings);
        let key = TokenKeys::generate().expect("the machine has random bytes");
        let keys = TokenKeys::from_pkcs8(&key).expect("a key was generated");
        let vault = Vault::new_key_file().expect("the machine has random bytes");
        let vault = Vault::parse(&vault).expect("a key was generated");
        let control = Control::new(ports, settings, keys, vault);
        control.bootstrap(ADMIN_PASSWORD).await.expect("a new platform can be set up");
        let router = cupola_api::router(control.clone());
        let mut tx = store.read().await.expect("the database can be read");
        let org = first::<Org>(&mut *tx, "name", FIRST_ORG).await.id;
        let space = first::<Space>(&mut *tx, "name", FIRST_SPACE).await.id;
        drop(tx);
        Self {
            control,
            clock,
            store,
            cells,
            stager,
            layers,
            data_plane,
            logs,
            org,
            space,
            router,
            loops: None,
            dir,
        }
    }

    /// Starts the loops, so that builds are staged, instances started and jobs run as in earnest.
    pub async fn start_loops(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let loops = Loops::start(&self.control, 0, stopped).await.expect("nobody else leads");
        self.loops = Some((loops, stop));
    }

    /// Ends the loops where they are and starts them anew, as a restart of control does.
    pub async fn restart_loops(&mut self) {
        if let Some((loops, stop)) = self.loops.take() {
            stop.send_replace(true);
            loops.ended().await;
        }
        self.start_loops().await;
    }

    /// Runs every job that is waiting, as the loop does.
    pub async fn run_jobs(&self) {
        while self.control.run_jobs(None).await.expect("jobs can be read") > 0 {}
    }

    /// Nobody: no token is sent.
    pub fn anonymous(&self) -> Client<'_> {
        Client::new(self, None)
    }

    pub async fn as_admin(&self) -> Client<'_> {
        Client::new(self, Some(self.caller(ADMIN).await))
    }

    /// A user who holds these roles, made when it is not there yet. For a role in the first space
    /// the one in its organisation comes by itself.
    pub async fn as_user(&self, name: &str, roles: &[RoleKind]) -> Client<'_> {
        let mut scoped = Vec::new();
        for kind in roles {
            if kind.is_of_org() {
                scoped.push((*kind, RoleScope::Org(self.org)));
            } else {
                scoped.push((RoleKind::OrganizationUser, RoleScope::Org(self.org)));
                scoped.push((*kind, RoleScope::Space(self.space)));
            }
        }
        self.as_user_with(name, &scoped).await
    }

    /// As `as_user`, with roles anywhere.
    pub async fn as_user_with(&self, name: &str, roles: &[(RoleKind, RoleScope)]) -> Client<'_> {
        let user = self.user_named(name).await;
        for (kind, scope) in roles {
            self.give(user, *kind, *scope).await;
        }
        Client::new(self, Some(self.caller(name).await))
    }

    async fn user_named(&self, name: &str) -> UserId {
        let now = self.clock.now();
        let mut tx = self.store.write(None).await.expect("the database can be written");
        let known = Query::by("username", name);
        if let Some(user) = store::first::<User>(&mut *tx, &known).await.expect("users") {
            return user.id;
        }
        let user = User {
            id: UserId::random(),
            username: name.to_owned(),
            origin: "uaa".to_owned(),
            password_hash: None,
            admin: false,
            registered: true,
            tokens_valid_from: now,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &user).await.expect("the name is free");
        tx.commit().await.expect("the database can be written");
        user.id
    }

    async fn give(&self, user: UserId, kind: RoleKind, scope: RoleScope) {
        let mut tx = self.store.write(None).await.expect("the database can be written");
        let role = Role::new(kind, user, scope, self.clock.now());
        match store::insert(&mut *tx, &role).await {
            // Held already.
            Err(store::StoreError::Conflict { .. }) => {}
            other => {
                other.expect("a role can be written");
                tx.commit().await.expect("the database can be written");
            }
        }
    }

    async fn caller(&self, name: &str) -> Caller {
        let mut tx = self.store.read().await.expect("the database can be read");
        let user = first::<User>(&mut *tx, "username", name).await;
        Caller { user_id: user.id, username: user.username, admin: user.admin }
    }

    /// What the database has written, its log of writes too.
    pub fn database_files(&self) -> Vec<Vec<u8>> {
        let files = ["cupola.db", "cupola.db-wal"].map(|name| self.dir.path().join(name));
        files.iter().flat_map(std::fs::read).collect()
    }

    /// The API, to be served.
    pub fn router(&self) -> Router {
        self.router.clone()
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        if let Some((_, stop)) = &self.loops {
            stop.send_replace(true);
        }
    }
}

async fn first<N: Noun>(
    tx: &mut (impl store::ReadTx + ?Sized),
    column: &'static str,
    value: &str,
) -> N {
    let found = store::first::<N>(tx, &Query::by(column, value)).await;
    found.expect("the database can be read").expect("it is there")
}

fn settings(dir: &TempDir) -> Settings {
    let uploads_dir = dir.path().join("uploads");
    std::fs::create_dir(&uploads_dir).expect("the directory is new");
    Settings {
        external_url: URL.to_owned(),
        apps_domain: APPS_DOMAIN.to_owned(),
        stack: "host".to_owned(),
        // Short: without loops nothing that is waited for comes.
        hold: Duration::from_millis(50),
        staging: StagingSettings {
            concurrency: 2,
            queue_max: 8,
            memory_mib: 1024,
            disk_mib: 4096,
            time_max: Duration::from_secs(900),
        },
        instances: InstanceSettings {
            memory_mib_default: 1024,
            memory_mib_max: 8192,
            disk_mib_default: 1024,
            disk_mib_max: 8192,
            log_rate_bytes_per_s_default: 1024 * 1024,
            drain: Duration::from_secs(30),
        },
        host_environment: std::collections::BTreeMap::new(),
        uploads_dir,
        upload_bytes_max: 64 * 1024 * 1024,
        upload_free_bytes_min: 0,
        events_age_max: Duration::from_secs(31 * 24 * 60 * 60),
        access_token_lifetime: Duration::from_secs(1200),
    }
}

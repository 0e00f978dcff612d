//! Connects to a database of PostgreSQL and upgrades it.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection as _, PgConnection,
    migrate::Migrate as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    migrations::{self, OpenError},
    sql_store::{Pools, SqlStore, store_by_sql},
};

const READERS_MAX: u32 = 8;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement, a wait for the writer lock and a pause within a transaction each end after a
/// while, so that no replica that hangs keeps the others from writing.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "60s"),
    ("lock_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "60s"),
];

/// The `Store` in a database of PostgreSQL, for one or more processes.
///
/// Writing transactions take turns, among all processes, by an advisory lock: so each sees what
/// the ones before it wrote, never fails because of another that ran beside it, and rows are
/// numbered in the order of their commits. It costs the parallel writes that a platform of this
/// kind does not need: look again when writers are seen to queue.
pub struct PostgresStore(SqlStore);

store_by_sql!(PostgresStore);

impl PostgresStore {
    /// Connects to the database that a `postgres://` URL names and upgrades its schema. A copy
    /// before the upgrade is the operator's to make.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(|source| OpenError::Unreachable {
            database: "that the URL names".to_owned(),
            source,
        })?;
        let database = describe(&options);
        let unreachable = |source| OpenError::Unreachable { database: database.clone(), source };
        let options = options.application_name("cupola").options(LIMITS);
        // A pool would try again for its whole timeout: the first connection is made without one.
        let mut connection = first_connection(&options).await.map_err(unreachable)?;
        upgrade(&database, &mut connection).await?;
        connection.close().await.map_err(unreachable)?;
        let pool = |size| PgPoolOptions::new().max_connections(size);
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS_MAX).connect_lazy_with(options);
        Ok(Self(SqlStore::new(Pools::Postgres { readers, writer })))
    }

    /// Waits for the open transactions and closes the connections.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

async fn first_connection(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connection = PgConnection::connect_with(options);
    tokio::time::timeout(CONNECT_TIMEOUT, connection)
        .await
        .map_err(|elapsed| std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed))?
}

/// Under the lock of migrations, because replicas that start together would also collide in making
/// the table that keeps the version. The lock ends with the connection.
async fn upgrade(database: &str, connection: &mut PgConnection) -> Result<(), OpenError> {
    let migrator = migrations::postgres();
    let version = async {
        connection.lock().await?;
        migrations::version(connection, &migrator).await
    };
    let version = version.await.map_err(|source| OpenError::Upgrade {
        database: database.to_owned(),
        version: migrations::target(&migrator),
        source,
    })?;
    migrations::refuse_newer(database, version, &migrator)?;
    migrations::upgrade(database, connection, &migrator).await
}

/// Where the database is, without the password.
fn describe(options: &PgConnectOptions) -> String {
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{name} at {}", socket.display()),
        None => format!("{name} at {}:{}", options.get_host(), options.get_port()),
    }
}

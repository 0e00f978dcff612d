//! The schema of both databases, and how a database gets to it.
//!
//! Invariant: a migration that was released is never edited; a change is a new file.

use std::path::PathBuf;

use sqlx::{
    SqlSafeStr,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
};

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot write to the database {}: give this user the right to write there, or choose \
         another data directory with --data-dir",
        path.display()
    )]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "cannot connect to the database {database}: check that it is there and that this user may \
         use it"
    )]
    Unreachable {
        /// Its path, or its host and name: never its password.
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "the database {database} has version {found}, and this cupola knows versions up to {known}: \
         start the newer cupola again, or put back the copy that was made before the upgrade"
    )]
    NewerVersion { database: String, found: i64, known: i64 },
    #[error(
        "cannot copy the database to {} before it is upgraded: make room there, and start again",
        copy.display()
    )]
    Copy {
        copy: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "cannot upgrade the database {database} to version {version}; it still has the version it \
         had: start the older cupola again"
    )]
    Upgrade {
        database: String,
        version: i64,
        #[source]
        source: MigrateError,
    },
}

const SQLITE: &[(i64, &str, &str)] = &[
    (1, "nouns", include_str!("../migrations/sqlite/0001_nouns.sql")),
    (2, "delivery", include_str!("../migrations/sqlite/0002_delivery.sql")),
    (3, "services", include_str!("../migrations/sqlite/0003_services.sql")),
    (4, "routes", include_str!("../migrations/sqlite/0004_routes.sql")),
    (5, "droplet states", include_str!("../migrations/sqlite/0005_droplet_states.sql")),
    (6, "cost", include_str!("../migrations/sqlite/0006_cost.sql")),
    (7, "sidecars", include_str!("../migrations/sqlite/0007_sidecars.sql")),
    (8, "events of apps", include_str!("../migrations/sqlite/0008_events_of_apps.sql")),
];

const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "nouns", include_str!("../migrations/postgres/0001_nouns.sql")),
    (2, "delivery", include_str!("../migrations/postgres/0002_delivery.sql")),
    (3, "services", include_str!("../migrations/postgres/0003_services.sql")),
    (4, "routes", include_str!("../migrations/postgres/0004_routes.sql")),
    (5, "droplet states", include_str!("../migrations/postgres/0005_droplet_states.sql")),
    (6, "cost", include_str!("../migrations/postgres/0006_cost.sql")),
    (7, "sidecars", include_str!("../migrations/postgres/0007_sidecars.sql")),
    (8, "events of apps", include_str!("../migrations/postgres/0008_events_of_apps.sql")),
];

pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

pub(crate) fn migrator(files: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.iter().map(migration).collect())
}

/// The version that a database gets by these migrations.
pub(crate) fn target(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The version of a database; None of an empty one.
pub(crate) async fn version(
    connection: &mut impl Migrate,
    migrator: &Migrator,
) -> Result<Option<i64>, MigrateError> {
    connection.ensure_migrations_table(&migrator.table_name).await?;
    let applied = connection.list_applied_migrations(&migrator.table_name).await?;
    Ok(applied.iter().map(|migration| migration.version).max())
}

/// Refuses a database that a newer build has upgraded.
pub(crate) fn refuse_newer(
    database: &str,
    version: Option<i64>,
    migrator: &Migrator,
) -> Result<(), OpenError> {
    let known = target(migrator);
    match version {
        Some(found) if found > known => {
            Err(OpenError::NewerVersion { database: database.to_owned(), found, known })
        }
        _ => Ok(()),
    }
}

/// Applies what is missing.
pub(crate) async fn upgrade(
    database: &str,
    connection: &mut impl Migrate,
    migrator: &Migrator,
) -> Result<(), OpenError> {
    migrator.run_direct(None, connection, false).await.map_err(|source| OpenError::Upgrade {
        database: database.to_owned(),
        version: target(migrator),
        source,
    })
}

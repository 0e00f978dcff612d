//! The `Store` port on pools of connections: many readers, one writer.

use std::sync::Arc;

use cupola_ports::store::{Lease, ReadTx, StoreError, WriteTx};
use sea_query::{Expr, ExprTrait, OnConflict, Query};
use sqlx::{Pool, Postgres, Sqlite};
use tokio::sync::watch;

use crate::{errors::database, session::Session, transactions::Tx};

/// The number of PostgreSQL's advisory lock that every writing transaction holds.
const WRITER_LOCK: &str = "SELECT pg_advisory_xact_lock(4850283129)";

pub(crate) enum Pools {
    Sqlite { readers: Pool<Sqlite>, writer: Pool<Sqlite> },
    Postgres { readers: Pool<Postgres>, writer: Pool<Postgres> },
}

impl Pools {
    /// A transaction that sees one state: the one at its first read.
    async fn begin_read(&self) -> Result<Session, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Session::Sqlite(readers.begin_with("BEGIN").await?),
            Self::Postgres { readers, .. } => Session::Postgres(
                readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
            ),
        })
    }

    /// A transaction that no other writes beside, in this process or another, so that what it
    /// reads stays true until it commits.
    async fn begin_write(&self) -> Result<Session, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { writer, .. } => {
                Session::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres { writer, .. } => {
                let mut tx = writer.begin().await?;
                sqlx::query(WRITER_LOCK).execute(&mut *tx).await?;
                Session::Postgres(tx)
            }
        })
    }
}

/// What both stores are.
pub(crate) struct SqlStore {
    pools: Pools,
    commits: Arc<watch::Sender<u64>>,
}

impl SqlStore {
    pub(crate) fn new(pools: Pools) -> Self {
        Self { pools, commits: Arc::new(watch::Sender::new(0)) }
    }

    pub(crate) async fn read(&self) -> Result<Box<dyn ReadTx>, StoreError> {
        let session = self.pools.begin_read().await.map_err(database)?;
        Ok(Box::new(self.transaction(session, None)))
    }

    pub(crate) async fn write(
        &self,
        lease: Option<&Lease>,
    ) -> Result<Box<dyn WriteTx>, StoreError> {
        let mut session = self.pools.begin_write().await.map_err(database)?;
        if let Some(lease) = lease {
            check_lease(&mut session, lease).await?;
        }
        Ok(Box::new(self.transaction(session, lease.cloned())))
    }

    pub(crate) async fn take_lease(&self, name: &str, above: u64) -> Result<Lease, StoreError> {
        let next = i64::try_from(above).unwrap_or(i64::MAX).saturating_add(1);
        let last = || Expr::col(("leases", "epoch"));
        let raised = Expr::case(last().gte(next), last().add(1_i64)).finally(next);
        let mut session = self.pools.begin_write().await.map_err(database)?;
        let mut raise = Query::insert();
        raise
            .into_table("leases")
            .columns(["name", "epoch"])
            .values_panic([name.into(), next.into()])
            .on_conflict(
                OnConflict::column("name").value("epoch", Expr::Case(Box::new(raised))).to_owned(),
            )
            .returning_col("epoch");
        let statement = session.dialect().build(&raise);
        let epoch = session.number(statement).await.map_err(database)?.unwrap_or(0);
        Box::new(self.transaction(session, None)).commit().await?;
        Ok(Lease { name: name.to_owned(), epoch: epoch.unsigned_abs() })
    }

    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Waits for the open transactions and closes the connections.
    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    fn transaction(&self, session: Session, lease: Option<Lease>) -> Tx {
        Tx { session, lease, commits: Arc::clone(&self.commits), failed: false }
    }
}

/// Refuses a lease that somebody has taken since.
pub(crate) async fn check_lease(session: &mut Session, lease: &Lease) -> Result<(), StoreError> {
    let mut current = Query::select();
    current.from("leases").column("epoch").and_where(Expr::col("name").eq(&lease.name));
    let statement = session.dialect().build(&current);
    let epoch = session.number(statement).await.map_err(database)?;
    if epoch.map(i64::unsigned_abs) == Some(lease.epoch) {
        return Ok(());
    }
    Err(StoreError::Fenced { name: lease.name.clone(), epoch: lease.epoch })
}

/// Makes a type around a `SqlStore` a `Store`.
macro_rules! store_by_sql {
    ($store:ty) => {
        #[async_trait::async_trait]
        impl cupola_ports::store::Store for $store {
            async fn read(
                &self,
            ) -> Result<Box<dyn cupola_ports::store::ReadTx>, cupola_ports::store::StoreError> {
                self.0.read().await
            }

            async fn write(
                &self,
                lease: Option<&cupola_ports::store::Lease>,
            ) -> Result<Box<dyn cupola_ports::store::WriteTx>, cupola_ports::store::StoreError>
            {
                self.0.write(lease).await
            }

            async fn take_lease(
                &self,
                name: &str,
                above: u64,
            ) -> Result<cupola_ports::store::Lease, cupola_ports::store::StoreError> {
                self.0.take_lease(name, above).await
            }

            fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
                self.0.commits()
            }
        }
    };
}

pub(crate) use store_by_sql;

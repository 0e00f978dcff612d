//! The transactions of the port on an open session.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_ports::store::{
    Condition, Lease, Page, Query, ReadTx, Row, StoreError, Table, Value, WriteTx,
};
use tokio::sync::watch;

use crate::{
    dialect::Statement,
    errors::{AlreadyFailed, database, of_write},
    session::Session,
    sql_store::check_lease,
    statements,
};

pub(crate) struct Tx {
    pub(crate) session: Session,
    pub(crate) lease: Option<Lease>,
    pub(crate) commits: Arc<watch::Sender<u64>>,
    /// PostgreSQL answers the COMMIT of a failed transaction with success and rolls it back.
    pub(crate) failed: bool,
}

impl Tx {
    fn noted<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        self.failed |= outcome.is_err();
        outcome.map_err(database)
    }

    async fn write_row(
        &mut self,
        table: &'static Table,
        statement: Statement,
    ) -> Result<u64, StoreError> {
        let outcome = self.session.execute_undoable(statement).await;
        let outcome = outcome.map_err(|error| of_write(error, table));
        self.failed |= matches!(outcome, Err(StoreError::Database(_)));
        outcome
    }

    async fn total(
        &mut self,
        table: &'static Table,
        query: &Query,
        found: u64,
    ) -> Result<u64, StoreError> {
        let ends_here = query.limit.is_none_or(|limit| found < limit);
        if ends_here && (found > 0 || query.offset == 0) {
            return Ok(query.offset + found);
        }
        let statement = statements::count(self.session.dialect(), table, query)?;
        let counted = self.session.number(statement).await;
        Ok(self.noted(counted)?.unwrap_or(0).unsigned_abs())
    }
}

#[async_trait]
impl ReadTx for Tx {
    async fn get_row(
        &mut self,
        table: &'static Table,
        id: &str,
    ) -> Result<Option<Row>, StoreError> {
        let query = Query::by("id", Value::from(id));
        let statement = statements::select(self.session.dialect(), table, &query)?;
        let rows = self.session.rows(table, statement).await;
        Ok(self.noted(rows)?.pop())
    }

    async fn list_rows(
        &mut self,
        table: &'static Table,
        query: &Query,
    ) -> Result<Page<Row>, StoreError> {
        let statement = statements::select(self.session.dialect(), table, query)?;
        let items = self.session.rows(table, statement).await;
        let items = self.noted(items)?;
        let total = self.total(table, query, items.len() as u64).await?;
        Ok(Page { items, total })
    }
}

#[async_trait]
impl WriteTx for Tx {
    async fn insert_row(&mut self, table: &'static Table, row: Row) -> Result<(), StoreError> {
        let statement = statements::insert(self.session.dialect(), table, row);
        self.write_row(table, statement).await?;
        Ok(())
    }

    async fn update_row(&mut self, table: &'static Table, row: Row) -> Result<(), StoreError> {
        let id = row.id.clone();
        let statement = statements::update(self.session.dialect(), table, row);
        match self.write_row(table, statement).await? {
            0 => Err(StoreError::Missing { table: table.name, id }),
            _ => Ok(()),
        }
    }

    async fn delete_rows(
        &mut self,
        table: &'static Table,
        conditions: &[Condition],
    ) -> Result<u64, StoreError> {
        let statement = statements::delete(self.session.dialect(), table, conditions)?;
        let deleted = self.session.execute(statement).await;
        self.noted(deleted)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        if self.failed {
            return Err(database(AlreadyFailed));
        }
        if let Some(lease) = self.lease.take() {
            check_lease(&mut self.session, &lease).await?;
        }
        // In a task of its own: a caller that goes away in the middle must not leave waiters
        // unaware of rows that were written.
        let commit = tokio::spawn(async move {
            self.session.commit().await.map_err(database)?;
            self.commits.send_modify(|count| *count += 1);
            Ok(())
        });
        commit.await.map_err(database)?
    }
}

//! Runs statements within an open transaction of either database.
//!
//! Invariant: dropping a session rolls its transaction back before its connection is used again.

use cupola_domain::time::Timestamp;
use cupola_ports::store::{ColumnKind, Row, Table, Value};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Postgres, Row as _, Sqlite, Type, query_with,
};

use crate::dialect::{Dialect, Statement};

pub(crate) enum Session {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Session {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement and says how many rows it touched.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        let Statement { sql, values } = statement;
        let sql = AssertSqlSafe(sql);
        Ok(match self {
            Self::Sqlite(tx) => query_with(sql, values).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => query_with(sql, values).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// As `execute`, and a failure undoes this statement alone. SQLite does so by itself; to
    /// PostgreSQL the whole transaction has failed, unless there is a savepoint.
    pub(crate) async fn execute_undoable(
        &mut self,
        statement: Statement,
    ) -> Result<u64, sqlx::Error> {
        if self.dialect() == Dialect::Sqlite {
            return self.execute(statement).await;
        }
        self.control("SAVEPOINT written").await?;
        let outcome = self.execute(statement).await;
        if outcome.is_err() {
            self.control("ROLLBACK TO SAVEPOINT written").await?;
        }
        self.control("RELEASE SAVEPOINT written").await?;
        outcome
    }

    pub(crate) async fn rows(
        &mut self,
        table: &'static Table,
        statement: Statement,
    ) -> Result<Vec<Row>, sqlx::Error> {
        let Statement { sql, values } = statement;
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(tx) => {
                decode_all(table, &query_with(sql, values).fetch_all(&mut **tx).await?)
            }
            Self::Postgres(tx) => {
                decode_all(table, &query_with(sql, values).fetch_all(&mut **tx).await?)
            }
        }
    }

    /// The first column of the first row, if there is a row.
    pub(crate) async fn number(
        &mut self,
        statement: Statement,
    ) -> Result<Option<i64>, sqlx::Error> {
        let Statement { sql, values } = statement;
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(tx) => {
                let row = query_with(sql, values).fetch_optional(&mut **tx).await?;
                row.map(|row| row.try_get(0)).transpose()
            }
            Self::Postgres(tx) => {
                let row = query_with(sql, values).fetch_optional(&mut **tx).await?;
                row.map(|row| row.try_get(0)).transpose()
            }
        }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => sqlx::query(sql).execute(&mut **tx).await.map(|_| ()),
            Self::Postgres(tx) => sqlx::query(sql).execute(&mut **tx).await.map(|_| ()),
        }
    }
}

fn decode_all<R>(table: &'static Table, rows: &[R]) -> Result<Vec<Row>, sqlx::Error>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    rows.iter().map(|row| decode(table, row)).collect()
}

fn decode<R>(table: &'static Table, row: &R) -> Result<Row, sqlx::Error>
where
    R: sqlx::Row,
    R::Database: Database,
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let value = |(index, kind)| -> Result<Value, sqlx::Error> {
        Ok(match kind {
            ColumnKind::Text => row.try_get::<Option<String>, usize>(index)?.into(),
            ColumnKind::Integer => row.try_get::<Option<i64>, usize>(index)?.into(),
        })
    };
    let kinds = table.columns.iter().map(|column| column.kind);
    let after = table.columns.len() + 1;
    Ok(Row {
        id: row.try_get(0)?,
        values: (1..).zip(kinds).map(value).collect::<Result<_, _>>()?,
        created_at: Timestamp::from_micros(row.try_get(after)?),
        updated_at: Timestamp::from_micros(row.try_get(after + 1)?),
        body: row.try_get(after + 2)?,
    })
}

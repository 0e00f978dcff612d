//! Where the desired state is kept: rows of nouns, in transactions.
//!
//! A noun is stored as its JSON body beside the few columns that it is found, ordered and kept
//! unique by. So one adapter serves every noun, and a new field needs no migration; a new column
//! does. The typed calls (`get`, `list`, ...) are the generic functions below on top of the
//! object-safe traits.
//!
//! Invariant: a transaction that was opened with a lease commits only while that lease's epoch is
//! current (an advisory lock would not fence).

use async_trait::async_trait;
use cupola_domain::time::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// A kind of row: its table and the columns beside id, times and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Also the SQL name.
    pub name: &'static str,
    /// Columns that queries may name besides `id`, `created_at` and `updated_at`.
    pub columns: &'static [Column],
    /// Column sets that no two rows may share. Rows with a NULL in the set do not count.
    pub unique: &'static [&'static [&'static str]],
}

#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    Integer,
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Null,
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row as the adapters see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    /// One value per column of the table, in its order.
    pub values: Vec<Value>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// JSON.
    pub body: String,
}

/// One condition on a column; all conditions of a query must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The column has one of these values, of which NULL may be one; no value at all matches no row.
    In(&'static str, Vec<Value>),
    /// The rows that `In` with the same values does not match.
    NotIn(&'static str, Vec<Value>),
    IsNull(&'static str),
    /// Times are compared in microseconds.
    Less(&'static str, i64),
    Greater(&'static str, i64),
    /// The text column contains this, without regard to the case of ASCII letters.
    Contains(&'static str, String),
    /// The label with this name, at `metadata.labels` of the body, is as wanted.
    Label(String, WantedLabel),
    /// One of these holds at least.
    Any(Vec<Condition>),
}

/// What a label should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedLabel {
    Present,
    Absent,
    OneOf(Vec<String>),
    /// Also a row that has no such label.
    NoneOf(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

/// Which rows, in which order, and which stretch of them. Text is ordered by code point, NULL before
/// every value. Rows that are equal in `order` come in the order in which they were inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub conditions: Vec<Condition>,
    pub order: Vec<(&'static str, Direction)>,
    pub offset: u64,
    /// None: all of them.
    pub limit: Option<u64>,
}

impl Query {
    /// Every row, oldest first.
    pub const fn all() -> Self {
        Self { conditions: Vec::new(), order: Vec::new(), offset: 0, limit: None }
    }

    /// The rows whose `column` has `value`, oldest first.
    pub fn by(column: &'static str, value: impl Into<Value>) -> Self {
        Self::all().and(Condition::In(column, vec![value.into()]))
    }

    #[must_use]
    pub fn and(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    #[must_use]
    pub fn and_by(self, column: &'static str, value: impl Into<Value>) -> Self {
        self.and(Condition::In(column, vec![value.into()]))
    }

    #[must_use]
    pub fn ordered(mut self, column: &'static str, direction: Direction) -> Self {
        self.order.push((column, direction));
        self
    }
}

/// A stretch of the rows that a query matches, and how many there are in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two rows may not share the values of `columns`.
    #[error("another row of {table} has the same {columns}", columns = .columns.join(", "))]
    Conflict { table: &'static str, columns: &'static [&'static str] },
    /// Another process leads now; whatever this one still wants to write is out of date.
    #[error("the lease {name} with epoch {epoch} is no longer current")]
    Fenced { name: String, epoch: u64 },
    /// The row to update or delete is not there.
    #[error("no row {id} in {table}")]
    Missing { table: &'static str, id: String },
    #[error("the row {id} of {table} cannot be read")]
    Unreadable {
        table: &'static str,
        id: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The right to write on behalf of a loop, until it ends or is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub epoch: u64,
}

/// The database.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens a transaction that sees a consistent state, that of its first read, and writes nothing.
    /// It should be short: on SQLite, the log of writes grows as long as it is open.
    async fn read(&self) -> Result<Box<dyn ReadTx>, StoreError>;

    /// Opens a transaction that may write. One at a time on SQLite; it is rolled back when it is
    /// dropped without a commit.
    async fn write(&self, lease: Option<&Lease>) -> Result<Box<dyn WriteTx>, StoreError>;

    /// Takes the lease `name` with an epoch larger than any before, and than `above`: the largest
    /// that is known from outside, as a database put back from a copy has forgotten its last ones.
    async fn take_lease(&self, name: &str, above: u64) -> Result<Lease, StoreError>;

    /// A number that grows with every commit of this process. Waiting for a change of state is
    /// waiting for it to move and looking again.
    fn commits(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Reads within one transaction.
#[async_trait]
pub trait ReadTx: Send {
    async fn get_row(&mut self, table: &'static Table, id: &str)
    -> Result<Option<Row>, StoreError>;

    async fn list_rows(
        &mut self,
        table: &'static Table,
        query: &Query,
    ) -> Result<Page<Row>, StoreError>;
}

/// Reads and writes within one transaction. After a conflict or a missing row it goes on without
/// that row; after a failure of the database it cannot be committed.
#[async_trait]
pub trait WriteTx: ReadTx {
    async fn insert_row(&mut self, table: &'static Table, row: Row) -> Result<(), StoreError>;

    /// Replaces values, `updated_at` and body of the row with this id.
    async fn update_row(&mut self, table: &'static Table, row: Row) -> Result<(), StoreError>;

    /// Removes the matching rows and says how many there were. Order and stretch are ignored.
    async fn delete_rows(
        &mut self,
        table: &'static Table,
        conditions: &[Condition],
    ) -> Result<u64, StoreError>;

    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A type that is stored as rows of a table.
pub trait Noun: Serialize + DeserializeOwned + Send + Sync {
    const TABLE: &'static Table;

    fn id(&self) -> String;
    /// One value per column of the table, in its order.
    fn values(&self) -> Vec<Value>;
    fn created_at(&self) -> Timestamp;
    fn updated_at(&self) -> Timestamp;
}

/// The row with this id.
pub async fn get<N: Noun>(
    tx: &mut (impl ReadTx + ?Sized),
    id: impl ToString + Send,
) -> Result<Option<N>, StoreError> {
    let row = tx.get_row(N::TABLE, &id.to_string()).await?;
    row.map(from_row).transpose()
}

/// The rows that a query matches.
pub async fn list<N: Noun>(
    tx: &mut (impl ReadTx + ?Sized),
    query: &Query,
) -> Result<Page<N>, StoreError> {
    let page = tx.list_rows(N::TABLE, query).await?;
    let items = page.items.into_iter().map(from_row).collect::<Result<_, _>>()?;
    Ok(Page { items, total: page.total })
}

/// The first row that a query matches.
pub async fn first<N: Noun>(
    tx: &mut (impl ReadTx + ?Sized),
    query: &Query,
) -> Result<Option<N>, StoreError> {
    let query = Query { limit: Some(1), ..query.clone() };
    Ok(list(tx, &query).await?.items.pop())
}

/// The last rows that a query matches, at most so many, in its order.
pub async fn last<N: Noun>(
    tx: &mut (impl ReadTx + ?Sized),
    query: &Query,
    at_most: u64,
) -> Result<Page<N>, StoreError> {
    let first = Query { limit: Some(at_most), ..query.clone() };
    let page = list(tx, &first).await?;
    if page.total <= at_most {
        return Ok(page);
    }
    list(tx, &Query { offset: page.total - at_most, ..first }).await
}

pub async fn insert<N: Noun>(tx: &mut (impl WriteTx + ?Sized), noun: &N) -> Result<(), StoreError> {
    tx.insert_row(N::TABLE, to_row(noun)?).await
}

pub async fn update<N: Noun>(tx: &mut (impl WriteTx + ?Sized), noun: &N) -> Result<(), StoreError> {
    tx.update_row(N::TABLE, to_row(noun)?).await
}

/// Removes the row with this id and says whether it was there.
pub async fn delete<N: Noun>(
    tx: &mut (impl WriteTx + ?Sized),
    id: impl ToString + Send,
) -> Result<bool, StoreError> {
    let condition = Condition::In("id", vec![Value::Text(id.to_string())]);
    Ok(tx.delete_rows(N::TABLE, &[condition]).await? > 0)
}

fn to_row<N: Noun>(noun: &N) -> Result<Row, StoreError> {
    let id = noun.id();
    let body = serde_json::to_string(noun).map_err(|source| StoreError::Unreadable {
        table: N::TABLE.name,
        id: id.clone(),
        source,
    })?;
    Ok(Row {
        id,
        values: noun.values(),
        created_at: noun.created_at(),
        updated_at: noun.updated_at(),
        body,
    })
}

fn from_row<N: Noun>(row: Row) -> Result<N, StoreError> {
    serde_json::from_str(&row.body).map_err(|source| StoreError::Unreadable {
        table: N::TABLE.name,
        id: row.id,
        source,
    })
}

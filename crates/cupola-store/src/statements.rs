//! The statements on a table of nouns, built for either database.

use cupola_ports::store::{
    ColumnKind, Condition as Wanted, Direction, Query as Wish, Row, Table, Value, WantedLabel,
};
use sea_query::{
    Alias, Cond, Condition, Expr, ExprTrait, NullOrdering, Order, Query, SelectStatement,
};

use crate::{
    dialect::{Dialect, Statement},
    errors::UnknownColumn,
};

/// The rows of a table that a query matches: id, values, times and body, in this order.
pub(crate) fn select(
    dialect: Dialect,
    table: &'static Table,
    query: &Wish,
) -> Result<Statement, UnknownColumn> {
    let mut select = Query::select();
    select.from(table.name).columns(all_columns(table));
    if query.limit.is_none() && query.offset == 0 {
        select.cond_where(conditions(dialect, table, &query.conditions)?);
    } else {
        // The stretch is found first, so that the rows before it are sorted without their bodies:
        // page 99 of 5 000 apps took six times as long otherwise.
        select.and_where(Expr::col("seq").in_subquery(stretch(dialect, table, query)?));
    }
    order(&mut select, table, query)?;
    Ok(dialect.build(&select))
}

fn stretch(
    dialect: Dialect,
    table: &'static Table,
    query: &Wish,
) -> Result<SelectStatement, UnknownColumn> {
    let mut select = Query::select();
    select.from(table.name).column("seq");
    select.cond_where(conditions(dialect, table, &query.conditions)?);
    order(&mut select, table, query)?;
    // SQLite takes an offset only with a limit.
    select.limit(within_i64(query.limit.unwrap_or(u64::MAX))).offset(within_i64(query.offset));
    Ok(select)
}

/// How many rows a query matches without its stretch.
pub(crate) fn count(
    dialect: Dialect,
    table: &'static Table,
    query: &Wish,
) -> Result<Statement, UnknownColumn> {
    let mut select = Query::select();
    select.from(table.name).expr(Expr::cust("COUNT(*)"));
    select.cond_where(conditions(dialect, table, &query.conditions)?);
    Ok(dialect.build(&select))
}

pub(crate) fn insert(dialect: Dialect, table: &'static Table, row: Row) -> Statement {
    let values = table.columns.iter().zip(row.values);
    let mut insert = Query::insert();
    insert.into_table(table.name).columns(all_columns(table)).values_panic(
        std::iter::once(Expr::val(row.id))
            .chain(values.map(|(column, value)| Expr::val(bound(column.kind, value))))
            .chain([
                Expr::val(row.created_at.micros()),
                Expr::val(row.updated_at.micros()),
                Expr::val(row.body),
            ]),
    );
    dialect.build(&insert)
}

pub(crate) fn update(dialect: Dialect, table: &'static Table, row: Row) -> Statement {
    let mut update = Query::update();
    update.table(table.name);
    for (column, value) in table.columns.iter().zip(row.values) {
        update.value(column.name, Expr::val(bound(column.kind, value)));
    }
    update
        .value("updated_at", row.updated_at.micros())
        .value("body", row.body)
        .and_where(Expr::col("id").eq(row.id));
    dialect.build(&update)
}

pub(crate) fn delete(
    dialect: Dialect,
    table: &'static Table,
    wanted: &[Wanted],
) -> Result<Statement, UnknownColumn> {
    let mut delete = Query::delete();
    delete.from_table(table.name).cond_where(conditions(dialect, table, wanted)?);
    Ok(dialect.build(&delete))
}

fn all_columns(table: &'static Table) -> impl Iterator<Item = Alias> {
    std::iter::once("id")
        .chain(table.columns.iter().map(|column| column.name))
        .chain(["created_at", "updated_at", "body"])
        .map(Alias::new)
}

fn order(
    select: &mut SelectStatement,
    table: &'static Table,
    query: &Wish,
) -> Result<(), UnknownColumn> {
    for &(column, direction) in &query.order {
        kind_of(table, column)?;
        let (direction, nulls) = match direction {
            Direction::Ascending => (Order::Asc, NullOrdering::First),
            Direction::Descending => (Order::Desc, NullOrdering::Last),
        };
        // Said only where there can be a NULL: an index of PostgreSQL serves only its own order.
        if table.columns.iter().any(|nullable| nullable.name == column) {
            select.order_by_with_nulls(column, direction, nulls);
        } else {
            select.order_by(column, direction);
        }
    }
    select.order_by("seq", Order::Asc);
    Ok(())
}

fn conditions(
    dialect: Dialect,
    table: &'static Table,
    wanted: &[Wanted],
) -> Result<Condition, UnknownColumn> {
    wanted.iter().try_fold(Cond::all(), |all, one| Ok(all.add(condition(dialect, table, one)?)))
}

fn condition(
    dialect: Dialect,
    table: &'static Table,
    wanted: &Wanted,
) -> Result<Condition, UnknownColumn> {
    Ok(match wanted {
        Wanted::In(column, values) => one_of(dialect, table, column, values)?,
        // NOT alone would lose the rows whose column is NULL: they have none of the values,
        // unless NULL is one of them.
        Wanted::NotIn(column, values) => {
            let not_listed = one_of(dialect, table, column, values)?.not();
            if values.contains(&Value::Null) {
                Cond::all().add(not_listed).add(Expr::col(*column).is_not_null())
            } else {
                Cond::any().add(not_listed).add(Expr::col(*column).is_null())
            }
        }
        Wanted::IsNull(column) => {
            kind_of(table, column)?;
            Cond::all().add(Expr::col(*column).is_null())
        }
        Wanted::Less(column, limit) => {
            kind_of(table, column)?;
            Cond::all().add(Expr::col(*column).lt(*limit))
        }
        Wanted::Greater(column, limit) => {
            kind_of(table, column)?;
            Cond::all().add(Expr::col(*column).gt(*limit))
        }
        Wanted::Contains(column, part) if dialect.can_hold(part) => {
            kind_of(table, column)?;
            Cond::all().add(dialect.contains(column, part.to_ascii_lowercase()))
        }
        Wanted::Contains(..) => never(),
        Wanted::Label(name, wanted) => label(dialect, name, wanted),
        Wanted::Any(alternatives) if alternatives.is_empty() => never(),
        Wanted::Any(alternatives) => alternatives
            .iter()
            .try_fold(Cond::any(), |any, one| Ok(any.add(condition(dialect, table, one)?)))?,
    })
}

/// The column has one of the values; NULL is a value like the others here.
fn one_of(
    dialect: Dialect,
    table: &'static Table,
    column: &'static str,
    values: &[Value],
) -> Result<Condition, UnknownColumn> {
    let kind = kind_of(table, column)?;
    let mut listed = values.iter().filter(|value| is_possible(dialect, kind, value));
    let mut any = Cond::any();
    match (listed.next(), listed.next()) {
        (None, _) => any = any.add(never()),
        (Some(only), None) => any = any.add(Expr::col(column).eq(bound(kind, only.clone()))),
        (Some(_), Some(_)) => {
            let list: serde_json::Value =
                values.iter().filter(|value| is_possible(dialect, kind, value)).map(json).collect();
            any = any.add(dialect.in_list(column, kind, list.to_string()));
        }
    }
    if values.contains(&Value::Null) {
        any = any.add(Expr::col(column).is_null());
    }
    Ok(any)
}

fn label(dialect: Dialect, name: &str, wanted: &WantedLabel) -> Condition {
    let is_possible = dialect.can_hold(name);
    let one_of = |values: &[String]| {
        let possible = values.iter().filter(|value| dialect.can_hold(value));
        let list = possible.map(String::as_str).collect::<serde_json::Value>().to_string();
        dialect.label_in(name.to_owned(), list)
    };
    match wanted {
        WantedLabel::Present | WantedLabel::OneOf(_) if !is_possible => never(),
        WantedLabel::Absent | WantedLabel::NoneOf(_) if !is_possible => Cond::all(),
        WantedLabel::Present => Cond::all().add(dialect.label(name.to_owned()).is_not_null()),
        WantedLabel::Absent => Cond::all().add(dialect.label(name.to_owned()).is_null()),
        WantedLabel::OneOf(values) => Cond::all().add(one_of(values)),
        WantedLabel::NoneOf(values) => {
            Cond::any().add(one_of(values).not()).add(dialect.label(name.to_owned()).is_null())
        }
    }
}

/// Whether a row can have this value in a column of this kind, NULL aside.
fn is_possible(dialect: Dialect, kind: ColumnKind, value: &Value) -> bool {
    match value {
        Value::Text(text) => kind == ColumnKind::Text && dialect.can_hold(text),
        Value::Integer(_) => kind == ColumnKind::Integer,
        Value::Null => false,
    }
}

fn never() -> Condition {
    Cond::all().add(Expr::cust("1 = 0"))
}

fn kind_of(table: &'static Table, column: &'static str) -> Result<ColumnKind, UnknownColumn> {
    match column {
        "id" => Ok(ColumnKind::Text),
        "created_at" | "updated_at" => Ok(ColumnKind::Integer),
        _ => table
            .columns
            .iter()
            .find(|known| known.name == column)
            .map(|known| known.kind)
            .ok_or(UnknownColumn { table: table.name, column }),
    }
}

/// The value with the type of its column, which PostgreSQL wants of a NULL too.
fn bound(kind: ColumnKind, value: Value) -> sea_query::Value {
    match (value, kind) {
        (Value::Text(text), _) => sea_query::Value::String(Some(text)),
        (Value::Integer(number), _) => sea_query::Value::BigInt(Some(number)),
        (Value::Null, ColumnKind::Text) => sea_query::Value::String(None),
        (Value::Null, ColumnKind::Integer) => sea_query::Value::BigInt(None),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Null => serde_json::Value::Null,
    }
}

/// Both databases count in 64 bits with a sign.
fn within_i64(number: u64) -> u64 {
    std::cmp::min(number, i64::MAX.unsigned_abs())
}

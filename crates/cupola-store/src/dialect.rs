//! Where the SQL of the two databases differs.

use sea_query::{Expr, PostgresQueryBuilder, SqliteQueryBuilder};
use sea_query_sqlx::{SqlxBinder, SqlxValues};

use cupola_ports::store::ColumnKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// SQL and the values of its placeholders.
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: SqlxValues,
}

impl Dialect {
    pub(crate) fn build(self, statement: &impl SqlxBinder) -> Statement {
        let (sql, values) = match self {
            Self::Sqlite => statement.build_sqlx(SqliteQueryBuilder),
            Self::Postgres => statement.build_sqlx(PostgresQueryBuilder),
        };
        Statement { sql, values }
    }

    /// The column has one of the values of a JSON array. One placeholder for any number of values
    /// keeps clear of the limit on placeholders, and one prepared statement serves all lengths.
    pub(crate) fn in_list(self, column: &str, kind: ColumnKind, list: String) -> Expr {
        let elements = match (self, kind) {
            (Self::Sqlite, _) => "SELECT value FROM json_each(?)",
            (Self::Postgres, ColumnKind::Text) => {
                "SELECT value FROM json_array_elements_text(CAST($1 AS json))"
            }
            (Self::Postgres, ColumnKind::Integer) => {
                "SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST($1 AS json))"
            }
        };
        Expr::cust_with_values(format!("\"{column}\" IN ({elements})"), [list])
    }

    /// The text column contains the part, which is in lower case. `lower` changes ASCII letters
    /// only: in SQLite always, in PostgreSQL because the columns have the collation "C".
    pub(crate) fn contains(self, column: &str, part: String) -> Expr {
        let position = match self {
            Self::Sqlite => format!("instr(lower(\"{column}\"), ?) > 0"),
            Self::Postgres => format!("strpos(lower(\"{column}\"), $1) > 0"),
        };
        Expr::cust_with_values(position, [part])
    }

    /// The value of a label, NULL where there is none.
    pub(crate) fn label(self, name: String) -> Expr {
        Expr::cust_with_values(self.label_sql(), [name])
    }

    /// The label has one of the values of a JSON array.
    pub(crate) fn label_in(self, name: String, list: String) -> Expr {
        let elements = match self {
            Self::Sqlite => "SELECT value FROM json_each(?)",
            Self::Postgres => "SELECT value FROM json_array_elements_text(CAST($2 AS json))",
        };
        let label = self.label_sql();
        Expr::cust_with_values(format!("{label} IN ({elements})"), [name, list])
    }

    const fn label_sql(self) -> &'static str {
        match self {
            Self::Sqlite => {
                r#"(SELECT value FROM json_each("body", '$.metadata.labels') WHERE key = ?)"#
            }
            // A body may have an escaped NUL in any of its texts, with which PostgreSQL can do
            // nothing: it is left out. A backslash before it that is escaped itself is none.
            Self::Postgres => {
                r#"(CAST(CASE WHEN strpos("body", '\u0000') = 0 THEN "body"
                ELSE regexp_replace("body", '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g') END AS json)
                -> 'metadata' -> 'labels' ->> $1)"#
            }
        }
    }

    /// Whether a column may hold this text: PostgreSQL knows no NUL, so that no row has one.
    pub(crate) fn can_hold(self, text: &str) -> bool {
        self == Self::Sqlite || !text.contains('\0')
    }
}

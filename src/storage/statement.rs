//! Statements. They are sqlx's, but unnamed: a named one belongs to a session, and behind a pooler in transaction mode the next use of
//! it may reach another. So sqlx's own functions are banned elsewhere (`.clippy.toml`).
//!
//! A longer statement is a `.sql` file beside its function, named with the object first and the verb after it. Its head says what it does
//! and what each bind is, or in which file's head that is said. A file may have the text of others in it, so that a rule is written once:
//! see [`sql!`].

#![expect(clippy::disallowed_methods, reason = "here is where they are made unnamed")]

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Decode, Encode, FromRow, Postgres, Row, Type};

/// A statement with its binds, whose rows become `O`.
#[must_use = "a statement does nothing until a transaction runs it"]
pub(in crate::storage) struct Statement<O> {
    query: Query<'static, Postgres, PgArguments>,
    read: fn(&PgRow) -> sqlx::Result<O>,
}

/// A statement without rows.
pub(in crate::storage) fn query(sql: &'static str) -> Statement<()> {
    Statement { query: sqlx::query(sql).persistent(false), read: |_| Ok(()) }
}

/// A statement whose rows are of several columns: a struct's fields by name, or a tuple by position.
pub(in crate::storage) fn query_as<O>(sql: &'static str) -> Statement<O>
where
    O: for<'r> FromRow<'r, PgRow>,
{
    Statement { query: sqlx::query(sql).persistent(false), read: |row| O::from_row(row) }
}

/// A statement whose rows are of one column.
pub(in crate::storage) fn query_scalar<O>(sql: &'static str) -> Statement<O>
where
    O: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    Statement { query: sqlx::query(sql).persistent(false), read: |row| row.try_get(0) }
}

impl<O> Statement<O> {
    /// The value of the next parameter: `$1` at first.
    pub(in crate::storage) fn bind<'v, T: Encode<'v, Postgres> + Type<Postgres>>(mut self, value: T) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// Runs it and returns how many rows it affected. Outside of this module only [`Tx`](super::transaction::Tx) calls this and its
    /// siblings, or a caller whose connection is not from the pool.
    pub(in crate::storage) async fn execute_on(self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        Ok(self.query.execute(connection).await?.rows_affected())
    }

    /// Its only row.
    pub(in crate::storage) async fn fetch_one_on(self, connection: &mut PgConnection) -> sqlx::Result<O> {
        (self.read)(&self.query.fetch_one(connection).await?)
    }

    /// Its row, if there is one.
    pub(in crate::storage) async fn fetch_optional_on(self, connection: &mut PgConnection) -> sqlx::Result<Option<O>> {
        self.query.fetch_optional(connection).await?.as_ref().map(self.read).transpose()
    }

    /// All its rows.
    pub(in crate::storage) async fn fetch_all_on(self, connection: &mut PgConnection) -> sqlx::Result<Vec<O>> {
        self.query.fetch_all(connection).await?.iter().map(self.read).collect()
    }
}

/// The text of a `.sql` file: `sql!("ttl_count.sql")`. Where the file says `{{rule.sql}}`, the text of that file stands, which the call
/// names as well: `sql!("event_end_delete.sql", "event_end_rule.sql")`. Paths are relative to the calling file.
///
/// So a rule is written once and read in one file, where a copy in each statement could come to differ, and a function of the database
/// would be another thing to migrate and to grant. It is put together at the first use, and a test prepares each file on a server.
macro_rules! sql {
    ($file:literal) => {{
        const TEXT: &str = $crate::storage::statement::without_head(include_str!($file));
        TEXT
    }};
    ($file:literal, $($part:literal),+ $(,)?) => {{
        static TEXT: ::std::sync::LazyLock<String> = ::std::sync::LazyLock::new(|| {
            $crate::storage::statement::assemble(include_str!($file), &[$(($part, include_str!($part))),+])
        });
        TEXT.as_str()
    }};
}
pub(in crate::storage) use sql;

/// The text without the comment at its beginning: `pg_stat_activity` shows the first kilobyte of a statement, and is to show the
/// statement.
pub(in crate::storage) const fn without_head(text: &'static str) -> &'static str {
    let mut rest = text;
    while let [b'-', b'-', ..] = rest.as_bytes() {
        let mut end = 2;
        while end < rest.len() && rest.as_bytes()[end - 1] != b'\n' {
            end += 1;
        }
        rest = rest.split_at(end).1;
    }
    rest
}

/// The text with each `{{name}}` replaced by the part of that name; in turn, so that a part may name those after it.
pub(in crate::storage) fn assemble(text: &'static str, parts: &[(&str, &'static str)]) -> String {
    let put = |text: String, (name, part): &(&str, &'static str)| {
        text.replace(&format!("{{{{{name}}}}}"), without_head(part).trim_end())
    };
    parts.iter().fold(without_head(text).to_owned(), put)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_where_they_are_named() {
        let parts = [("rule.sql", "-- Which.\nid = {{value.sql}}\n"), ("value.sql", "$1\n")];
        assert_eq!(assemble("-- Deletes.\nDELETE WHERE {{rule.sql}};", &parts), "DELETE WHERE id = $1;");
    }

    #[test]
    fn head_is_left_out_and_no_other_comment() {
        assert_eq!(without_head("-- What.\n--\n-- $1 which\nSELECT 1 -- one\n"), "SELECT 1 -- one\n");
        assert_eq!(without_head("SELECT 1"), "SELECT 1");
        assert_eq!(without_head("-- nothing"), "");
    }
}

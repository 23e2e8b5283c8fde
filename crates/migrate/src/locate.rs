//! From a database's error to the place in the file that caused it.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::{
    address::Engine,
    database::Database,
    error::{Failure, Left},
    run::Work,
    script::{Script, line_column, line_text},
};

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The statement of this index.
    Statement(usize),
    /// Our own record; no statement is to blame.
    Record,
    /// The commit, or a check before it.
    Commit,
}

/// The connection went away, so what the server did is not known.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

/// Somebody else was in the way (lock timeout, deadlock), and may not be a moment later.
pub(crate) fn is_worth_another_try(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|error| matches!(error.code(), "55P03" | "40P01"))
}

fn postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Says what failed, where, and what is left.
pub(crate) async fn blame(
    database: &mut Database,
    work: &Work<'_>,
    script: &Script,
    blame: Blame,
    error: &sqlx::Error,
    left: Left,
) -> Box<Failure> {
    let text = &work.side.text;
    let statement = match blame {
        Blame::Statement(at) => script.statements.get(at),
        Blame::Commit => script.statements.last(),
        Blame::Record => script.statements.first(),
    };
    let range = statement.map_or(0..text.len(), |statement| statement.range.clone());
    let within = if matches!(blame, Blame::Statement(_)) { offset(&text[range.clone()], error) } else { 0 };
    let (line, column) = line_column(text, range.start + within);
    let words = database.address.words(error);
    let message = match blame {
        Blame::Statement(_) => words,
        Blame::Commit => format!("at the commit: {words}"),
        Blame::Record => format!("its record in the table `migrations`: {words}"),
    };
    let told = postgres(error);
    let mut hint = our_hint(error, database.engine());
    if told.is_some_and(|error| error.code() == "55P03")
        && let Some(culprit) = oldest_transaction(database).await
    {
        hint = Some(culprit);
    }
    if matches!(left, Left::Half { .. } | Left::Nothing)
        && statement.is_some_and(|statement| statement.concurrently)
        && let Some(index) = invalid_index(database).await
    {
        hint = Some(format!("it left the invalid index {index}; drop it before you run this again"));
    }
    Box::new(Failure {
        version: work.migration.version,
        name: work.migration.name.clone(),
        direction: work.direction,
        path: work.side.path.clone(),
        line,
        column,
        sql: line_text(text, line).to_owned(),
        message,
        code: error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned),
        detail: told.and_then(PgDatabaseError::detail).map(ToOwned::to_owned),
        hint: hint.or_else(|| told.and_then(PgDatabaseError::hint).map(ToOwned::to_owned)),
        context: told.and_then(PgDatabaseError::r#where).map(ToOwned::to_owned),
        left,
    })
}

/// Bytes from the start of the statement to the place the error speaks of; 0 when it names none.
fn offset(statement: &str, error: &sqlx::Error) -> usize {
    match postgres(error).map(PgDatabaseError::position) {
        Some(Some(PgErrorPosition::Original(position))) => characters(statement, position),
        // an error inside a function's body that is written right here
        Some(Some(PgErrorPosition::Internal { position, query })) => {
            statement.find(query).map_or(0, |start| start + characters(query, position))
        }
        Some(None) => 0,
        None => error.as_database_error().and_then(|error| named(statement, error.message())).unwrap_or(0),
    }
}

/// PostgreSQL counts characters from 1.
fn characters(text: &str, position: usize) -> usize {
    text.char_indices().nth(position.saturating_sub(1)).map_or(text.len(), |(at, _)| at)
}

/// SQLite gives no position through this driver, but its messages name the culprit: `near "X": syntax error`,
/// `no such table: X`. Found only when the statement has it exactly once.
fn named(statement: &str, message: &str) -> Option<usize> {
    let name = if let Some(rest) = message.strip_prefix("near \"") {
        rest.rsplit_once("\": ")?.0
    } else {
        let name = message.rsplit_once(": ")?.1;
        name.rsplit('.').next().filter(|name| !name.contains(' '))?
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = statement.match_indices(name).filter(|(at, _)| {
        let before = statement[..*at].chars().next_back();
        let after = statement[at + name.len()..].chars().next();
        !name.starts_with(is_word) || (!before.is_some_and(is_word) && !after.is_some_and(is_word))
    });
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}

fn our_hint(error: &sqlx::Error, engine: Engine) -> Option<String> {
    let error = error.as_database_error()?;
    let message = error.message();
    let outside = "put `-- slipway: no-transaction` on the first line of a migration of its own";
    match engine {
        Engine::Postgres => match error.code()?.as_ref() {
            "25001" => Some(outside.to_owned()),
            "55P04" => Some(
                "a new enum value can be used only after it was committed: add it in an earlier migration".to_owned(),
            ),
            _ => None,
        },
        Engine::Sqlite if message.contains("within a transaction") || message.contains("inside a transaction") => {
            Some(outside.to_owned())
        }
        Engine::Sqlite => None,
    }
}

/// The transaction that most likely held the table.
async fn oldest_transaction(database: &mut Database) -> Option<String> {
    let sql = "SELECT pid::text, application_name::text, round(extract(epoch FROM clock_timestamp() - xact_start))::text \
               FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
               AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1";
    let row = database.rows(sql.to_owned(), &[]).await.ok()?.into_iter().next()?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let (pid, name, seconds) = (text(0), text(1), text(2));
    Some(format!(
        "the oldest open transaction is that of process {pid} ({name}), open for {seconds} s; end it with `SELECT \
         pg_terminate_backend({pid})`, or run this when it is over"
    ))
}

async fn invalid_index(database: &mut Database) -> Option<String> {
    if database.engine() != Engine::Postgres {
        return None;
    }
    let sql = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY indexrelid DESC LIMIT 1";
    database.rows(sql.to_owned(), &[]).await.ok()?.into_iter().next()?.into_iter().next()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_messages_lead_to_the_word() {
        let at = |statement: &str, message: &str| named(statement, message).map(|at| statement[at..].to_owned());
        assert_eq!(at("CREATE TABLE t (\n a int,, b)", "near \",\": syntax error"), None);
        assert_eq!(at("SELEC 1", "near \"SELEC\": syntax error").unwrap(), "SELEC 1");
        assert_eq!(at("INSERT INTO nosuch VALUES (1)", "no such table: main.nosuch").unwrap(), "nosuch VALUES (1)");
        assert_eq!(at("SELECT cola, co FROM t", "no such column: co").unwrap(), "co FROM t");
        assert_eq!(at("INSERT INTO t VALUES (1)", "UNIQUE constraint failed: t.a"), None);
    }

    #[test]
    fn positions_are_characters_not_bytes() {
        assert_eq!(characters("äöx", 3), 4);
        assert_eq!(characters("ab", 9), 2);
    }
}

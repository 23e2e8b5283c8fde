//! Fills a database with the statements of one file.

use std::path::Path;

use crate::{
    address::Engine,
    database::Database,
    error::{MigrateError, Problem, Problems},
    script::{Script, line_column},
};

/// Runs all statements of the SQL file `path` in one transaction: invented data for a new database. Nothing is
/// recorded; running it again runs it again.
///
/// Fails with the file and line of the statement that failed, and then nothing of it is left.
pub async fn fill(database: &mut Database, path: impl AsRef<Path>) -> Result<(), MigrateError> {
    let path = path.as_ref();
    let problem =
        |line, reason| MigrateError::Problems(Problems(vec![Problem { path: path.to_owned(), line, reason }]));
    let text = std::fs::read_to_string(path).map_err(|error| problem(None, format!("cannot be read: {error}")))?;
    let script = Script::parse(&text, database.engine()).map_err(|problems| {
        let problems = problems.into_iter();
        let of_file = |(line, reason)| Problem { path: path.to_owned(), line: Some(line), reason };
        MigrateError::Problems(Problems(problems.map(of_file).collect()))
    })?;
    database.refresh().await?;
    let begin = match database.engine() {
        Engine::Sqlite => "BEGIN IMMEDIATE",
        Engine::Postgres => "BEGIN",
    };
    let mut done = database.execute(begin.to_owned()).await.map_err(|error| (None, error));
    for statement in &script.statements {
        if done.is_ok() {
            let line = line_column(&text, statement.range.start).0;
            let sql = text[statement.range.clone()].to_owned();
            done = database.execute(sql).await.map_err(|error| (Some(line), error));
        }
    }
    if done.is_ok() {
        done = database.execute("COMMIT".to_owned()).await.map_err(|error| (None, error));
    }
    if let Err((line, error)) = done {
        let words = database.address.words(&error);
        // fails when the connection is gone, and then nothing is left either
        let _ = database.execute("ROLLBACK".to_owned()).await;
        return Err(problem(line, format!("{words}; nothing of the file is in the database")));
    }
    Ok(())
}

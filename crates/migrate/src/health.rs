//! Whether a database answers.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions as _, Connection as _};

use crate::address::{Address, Options};

/// Connects, asks one question, and says how long that took; for health reports (S4.P5).
///
/// Never takes longer than `timeout`. Fails with the reason in words, without the password. Changes nothing and
/// creates no file.
pub async fn check_connection(url: &str, timeout: Duration) -> Result<Duration, String> {
    let begun = Instant::now();
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    match tokio::time::timeout(timeout, ask(&address)).await {
        Ok(Ok(())) => Ok(begun.elapsed()),
        Ok(Err(error)) => Err(format!("{} does not answer: {}", address.place, address.words(&error))),
        Err(_) => Err(format!("{} does not answer within {} ms", address.place, timeout.as_millis())),
    }
}

async fn ask(address: &Address) -> Result<(), sqlx::Error> {
    match &address.options {
        Options::Postgres(options) => {
            let mut connection = (**options).clone().disable_statement_logging().connect().await?;
            sqlx::raw_sql("SELECT 1").execute(&mut connection).await?;
            connection.close().await
        }
        Options::Sqlite { options, .. } => {
            let options = (**options).clone().create_if_missing(false).disable_statement_logging();
            let mut connection = options.connect().await?;
            // reads a page, so that a file that is something else is noticed
            sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await?;
            connection.close().await
        }
    }
}

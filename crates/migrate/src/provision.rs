//! The first thing on a new server: the application's user and its database.

use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

use crate::address::{Address, Options};

/// Makes a user that may log in with `password`, and a database of the same name that is the user's own. What is there
/// already stays; the password is set in any case.
///
/// `admin` is the address of a superuser. Never takes longer than `timeout`. Fails with the reason in words, without
/// a password.
pub async fn provision_postgres(admin: &str, user: &str, password: &str, timeout: Duration) -> Result<(), String> {
    let address = Address::parse(admin).map_err(|error| error.to_string())?;
    let Options::Postgres(options) = &address.options else {
        return Err(format!("{} is no PostgreSQL server", address.place));
    };
    let work = async {
        let mut connection = (**options).clone().disable_statement_logging().connect().await?;
        provision(&mut connection, user, password).await?;
        connection.close().await
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{} cannot be set up: {}", address.place, address.words(&error))),
        Err(_) => Err(format!("{} does not answer within {} ms", address.place, timeout.as_millis())),
    }
}

async fn provision(connection: &mut PgConnection, user: &str, password: &str) -> Result<(), sqlx::Error> {
    let query = "SELECT quote_ident($1) AS name, quote_literal($2) AS password, \
                 EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS has_user, \
                 EXISTS (SELECT FROM pg_database WHERE datname = $1) AS has_database";
    let row = sqlx::query(query).bind(user).bind(password).fetch_one(&mut *connection).await?;
    let (name, password): (String, String) = (row.try_get("name")?, row.try_get("password")?);
    let (has_user, has_database): (bool, bool) = (row.try_get("has_user")?, row.try_get("has_database")?);
    let verb = if has_user { "ALTER" } else { "CREATE" };
    let statement = format!("{verb} ROLE {name} LOGIN PASSWORD {password}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    if !has_database {
        let statement = format!("CREATE DATABASE {name} OWNER {name}");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
        let statement = format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

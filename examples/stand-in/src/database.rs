//! Rows in PostgreSQL.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgPool, Row, postgres::PgPoolOptions};

use crate::{Done, variable};

/// A way to the database.
#[derive(Clone)]
pub(crate) struct Database(PgPool);

impl Database {
    /// The one `DATABASE_URL` names; connections are made when they are needed.
    pub(crate) fn open() -> Done<Self> {
        let url = variable("DATABASE_URL")?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy(&url)
            .map_err(|error| format!("DATABASE_URL is no address of PostgreSQL: {error}"))?;
        Ok(Self(pool))
    }

    /// Whether it answers.
    pub(crate) async fn answers(&self) -> Done {
        let asked = tokio::time::timeout(Duration::from_millis(1500), sqlx::query("select 1").execute(&self.0)).await;
        match asked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("the database does not answer: {error}")),
            Err(_) => Err("the database does not answer in time".to_owned()),
        }
    }

    /// Runs a statement whose parameters are texts; says how many rows it touched.
    pub(crate) async fn run(&self, statement: &'static str, parameters: &[&str]) -> Done<u64> {
        let mut query = sqlx::query(statement);
        for parameter in parameters {
            query = query.bind((*parameter).to_owned());
        }
        let done = query.execute(&self.0).await.map_err(|error| format!("the database refused: {error}"))?;
        Ok(done.rows_affected())
    }

    /// Rows as JSON: the statement selects one JSON value per row.
    pub(crate) async fn rows(&self, statement: &'static str, parameters: &[&str]) -> Done<Vec<Value>> {
        let mut query = sqlx::query(statement);
        for parameter in parameters {
            query = query.bind((*parameter).to_owned());
        }
        let rows = query.fetch_all(&self.0).await.map_err(|error| format!("the database refused: {error}"))?;
        let text = |row: &sqlx::postgres::PgRow| row.try_get::<String, _>(0).map_err(|error| error.to_string());
        rows.iter().map(|row| serde_json::from_str(&text(row)?).map_err(|error| error.to_string())).collect()
    }

    /// The first row, if there is one.
    pub(crate) async fn row(&self, statement: &'static str, parameters: &[&str]) -> Done<Option<Value>> {
        Ok(self.rows(statement, parameters).await?.into_iter().next())
    }
}

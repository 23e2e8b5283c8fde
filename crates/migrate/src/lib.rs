//! Database migrations for SQLite and PostgreSQL: in order, each in one transaction, never twice.
//!
//! It must never print a password, apply a migration that is not recorded, or record one that is not applied.
//!
//! ```no_run
//! # async fn tour() -> Result<(), migrate::MigrateError> {
//! let folder = migrate::Folder::read("migrations")?;
//! let mut database = migrate::Database::connect("sqlite://app.db", &migrate::ConnectOptions::default()).await?;
//! let status = migrate::status(&mut database, &folder).await?;
//! println!("{} pending", status.pending().count());
//! for applied in migrate::up(&mut database, &folder, &migrate::Up::default(), &mut |_| {}).await? {
//!     println!("{} took {} ms", applied.name, applied.millis);
//! }
//! # Ok(()) }
//! ```

mod address;
mod database;
mod error;
mod fill;
mod folder;
mod health;
mod ledger;
mod locate;
mod lock;
mod outside;
mod plan;
mod provision;
mod run;
mod script;
mod snapshot;
mod status;
mod template;
mod transaction;

pub use self::{
    address::Engine,
    database::{ConnectOptions, Database},
    error::{Failure, Holder, Left, MigrateError, Problem, Problems},
    fill::fill,
    folder::{Folder, Migration},
    health::check_connection,
    plan::{Down, Up, Which},
    provision::provision_postgres,
    run::{Applied, Direction, Event, Mend, down, mend, pending, status, up},
    snapshot::snapshot_sqlite,
    status::{Line, State, Status},
    template::create,
};

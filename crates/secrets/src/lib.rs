//! The environment contract: where variable values come from, whether they keep what the stack asks for, and that
//! no secret among them is ever seen.
//!
//! This room reads files of variables and the environment it is given. It starts nothing but `git`, to ask whether a
//! file of secrets is committed, and writes nothing but made-up secrets for invented data.
//!
//! - [`sources`]: find the values of an environment, from the stack's defaults to `--set`.
//! - [`contract`]: check values against `[variable]`, every problem at once.
//! - [`dotenv`]: read `.env` files.
//! - [`interpolate`]: fill `${NAME}` into the stack's own values.
//! - [`secret`]: texts that are never printed, and random ones.
//! - [`git`]: whether git would publish a file.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! let values = BTreeMap::from([("HOST".to_owned(), "db".to_owned())]);
//! assert_eq!(secrets::interpolate("redis://${HOST}:6379", &values).unwrap(), "redis://db:6379");
//! assert!(secrets::interpolate("redis://${HOTS}", &values).is_err());
//! ```

pub mod contract;
pub mod dotenv;
pub mod git;
pub mod interpolate;
pub mod redact;
pub mod secret;
pub mod sources;

mod form;
mod kept;
mod search;

pub use contract::Values;
pub use interpolate::interpolate;
pub use secret::{SecretString, generate};
pub use sources::{Found, Sources, gather, preview};

//! The environment contract: where variable values come from, whether they keep what the stack asks for, and that
//! no secret among them is ever seen.

pub mod contract;
pub mod secret;

mod form;

pub use contract::Values;
pub use secret::{SecretString, generate};

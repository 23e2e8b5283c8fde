//! The stack as plain data: what `slipway.toml` says once it has been parsed and checked.
//!
//! Optional values that have a default already carry it here; an absent `Option` means "not wanted".

mod environment;
mod program;
mod route;
mod stack;
mod store;

pub use environment::*;
pub use program::*;
pub use route::*;
pub use stack::*;
pub use store::*;

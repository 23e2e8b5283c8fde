//! From the spanned document to the model: one file per noun, every problem noted, none of them final.
//!
//! A reader asks its section for each key it knows, which is also how a key becomes known; whatever was never asked
//! for is an unknown key. Where a value is wrong the problem is noted and reading goes on with a stand-in, so that
//! one run reports everything. A stack with stand-ins never leaves this crate.

pub(crate) mod alarm;
pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod extra;
pub(crate) mod extra_keys;
pub(crate) mod notes;
pub(crate) mod reference;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod section;
pub(crate) mod service;
pub(crate) mod size;
pub(crate) mod source;
pub(crate) mod stack;
pub(crate) mod store;
pub(crate) mod variable;

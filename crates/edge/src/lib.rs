//! The reverse proxy: accepts visitors, routes, balances, holds, drains.

pub mod control;
pub mod table;

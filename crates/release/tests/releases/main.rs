//! The room from outside: real folders, real git, real commands.

mod build;
mod disk;
mod outputs;
mod project;
mod records;
mod store;

//! Plans and runs a deploy against any [`Target`](target::Target).

pub mod desired;
pub mod journal;
pub mod target;

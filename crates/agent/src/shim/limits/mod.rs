//! What a program may use, and what it uses.
//!
//! Memory and CPU are limited by control groups below the agent's own: version 2 where the agent's group was
//! delegated to it (systemd: `Delegate=yes`; the agent calls [`prepare`] once), version 1 where its hierarchies are
//! writable. Where there is neither, [`support`] says so and the limit on memory is a soft one: the agent looks at
//! [`usage`] and stops what uses more; CPU is then not limited. The limit on open files always holds.

mod group;
mod hierarchy;
mod support;
mod usage;

pub use group::Groups;
pub use support::{Means, Support, prepare, support, sweep};
pub use usage::{Usage, cpu_around, memory_around, usage};

//! The target for this machine and for hosts over SSH: ships releases, and passes the engine's verbs on to agents.
//!
//! It never decides anything about a deploy: that is the engine's; nor does it touch a process: that is the
//! agent's.
//!
//! ```no_run
//! # async fn tour(scope: agent::protocol::Scope) -> Result<(), Box<dyn std::error::Error>> {
//! let home = agent::home::Home::at("/var/lib/slipway");
//! let here = fleet::Fleet::here(std::env::current_exe()?, home, scope);
//! here.launch().await?; // an agent answers from here on
//! let seen = engine::target::Target::observe(&here).await?;
//! println!("{} instances", seen.instances.len());
//! # Ok(())
//! # }
//! ```

mod fleet;
mod health;
mod honours;
pub mod host;
pub mod hosting;
mod lines;
mod local;
mod roster;
mod ship;
pub mod ssh;
mod together;
mod turn;

pub use agent::SystemClock;
pub use fleet::{Fleet, FleetError, Healed, KEPT_RELEASES, Member};
pub use honours::honours;
pub use host::Place;
pub use lines::Lines;
pub use local::Local;
pub use ship::{Listener, Sent};
pub use together::together;
pub use turn::Turn;

//! The target for this machine, and later for hosts over SSH: passes the engine's verbs on to agents.
//!
//! It never decides anything about a deploy: that is the engine's; nor does it touch a process: that is the
//! agent's.
//!
//! ```no_run
//! # async fn tour(scope: agent::protocol::Scope) -> Result<(), Box<dyn std::error::Error>> {
//! let home = agent::home::Home::at("/var/lib/slipway");
//! let here = fleet::Local::new(std::env::current_exe()?, home, scope);
//! here.launch().await?; // an agent answers from here on
//! let seen = engine::target::Target::observe(&here).await?;
//! println!("{} instances", seen.instances.len());
//! # Ok(())
//! # }
//! ```

mod honours;
mod local;
pub mod ssh;
mod turn;

pub use agent::SystemClock;
pub use honours::honours;
pub use local::Local;
pub use turn::Turn;

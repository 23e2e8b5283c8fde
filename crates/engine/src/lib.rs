//! Plans and runs a deploy against any [`Target`](target::Target), and proves it in a simulator.
//!
//! The engine never touches a file, a socket, the system's clock or a random number: the world comes in through
//! [`Target`](target::Target) and [`Clock`](clock::Clock), so the code that runs in production is the code that the
//! simulator ([`sim`]) crashes, delays and starves at every step. It depends on no runtime.
//!
//! A tour:
//!
//! ```no_run
//! # use engine::{clock::Clock, deployment::{Begin, Deployment}, error::EngineError, journal::{DeployKind, Step},
//! #     policy::Policy, target::Target, watcher::Silent};
//! # async fn tour(target: &impl Target, clock: &impl Clock, revision: stack::Revision) -> Result<(), EngineError> {
//! let begin = Begin::new(DeployKind::Deploy, "ada@laptop");
//! let mut watcher = Silent;
//! let mut deployment = Deployment::begin(target, clock, begin, &mut watcher).await?; // lease, recovery, journal
//! match deployment.step(Step::Build, async { Ok::<_, String>("built") }).await? {    // the caller's own work
//!     Err(reason) => return deployment.fail(Some(Step::Build), &reason).await.map(drop),
//!     Ok(_) => deployment.wanted(Some(revision), "1.4.0", 7, None).await?,
//! }
//! let report = deployment.run(&Policy::default()).await?;                            // ship ... unlock
//! # Ok(()) }
//! ```
//!
//! Pure and worth reading first: [`plan`], [`judge`], [`record`]. Many hosts are one target in a [`group`].

mod bake;
pub mod clock;
pub mod deployment;
pub mod desired;
pub mod error;
pub mod gates;
pub mod group;
pub mod journal;
pub mod judge;
pub mod plan;
pub mod policy;
pub mod record;
pub mod recover;
mod run;
mod session;
pub mod sim;
pub mod target;
mod undo;
pub mod watcher;

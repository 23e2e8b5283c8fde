//! A simulated world that the engine is proven in: hosts, edges, databases and people, virtual time, seeded faults.
//!
//! One seed is one story: a few deploys, rollbacks and stops by one or two people, while verbs are lost, delayed and
//! repeated, engines are killed before and after any effect, agents restart, instances crash, disks fill up and
//! leases lapse. After it the world is run to rest (the host recovers what nobody finished) and the
//! [laws] are checked; those about visitors are checked at every moment.
//!
//! ```console
//! $ SLIPWAY_SIM_SEED=12345 cargo test -p engine one_seed -- --nocapture
//! ```
//!
//! - [`story`]: what people do in a seed, and the loop that runs it
//! - [`people`]: what they wish for
//! - [`link`]: the [`Target`](crate::target::Target) and [`Clock`](crate::clock::Clock) an engine gets, with faults
//! - [`world`]: lease, journal, desired state; what a verb does
//! - [`host`]: instances and edges
//! - [`database`]: migrations and the tasks that run them
//! - [`release`]: what releases there are and what is wrong with them
//! - [`laws`]: what must be true
//! - [`mutant`]: deliberately broken worlds, to show that the laws have teeth

pub mod database;
pub mod host;
pub mod laws;
pub mod link;
pub mod mutant;
pub mod people;
pub mod random;
pub mod release;
pub mod story;
pub mod world;

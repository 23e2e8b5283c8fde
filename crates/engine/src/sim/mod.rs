//! A simulated world that the engine is proven in: hosts, edges, databases and people, virtual time, seeded faults.
//!
//! One seed is one story: a few deploys, rollbacks and stops by one or two people, while verbs are lost, delayed and
//! repeated, engines are killed before and after any effect, agents restart, instances crash, disks fill up and
//! leases lapse. On many hosts, machines are off for a while or until all others have come to rest, and lines between an
//! engine and single hosts, or a host and everybody, are cut. After it the world is run to rest (the hosts recover what
//! nobody finished, and become level) and the [laws] are checked; those about visitors are checked at every moment.
//!
//! ```console
//! $ SLIPWAY_SIM_SEED=12345 SLIPWAY_SIM_HOSTS=3 cargo test -p engine one_seed -- --nocapture
//! ```
//!
//! - [`story`]: what people do in a seed, and the loop that runs it
//! - [`people`]: what they wish for
//! - `agents`: what hosts do by themselves
//! - [`link`]: the [`Target`](crate::target::Target) and [`Clock`](crate::clock::Clock) an engine gets, with faults
//! - [`world`]: hosts with their leases, journals, desired states; what a verb does
//! - [`host`]: instances and edges
//! - [`database`]: migrations and the tasks that run them
//! - [`release`]: what releases there are and what is wrong with them
//! - [`laws`]: what must be true
//! - [`mutant`]: deliberately broken worlds, to show that the laws have teeth

mod agents;
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

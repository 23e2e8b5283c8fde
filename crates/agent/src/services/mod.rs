//! Data services: the servers an environment's stack asks for and names no address of, run by the agent from the
//! programs installed on the host.
//!
//! They belong to the environment, not to a release. A server starts before the first task or instance that needs it,
//! goes on through deploys and restarts of the agent, is started again by its shim when it dies, and ends after the
//! last instance that could need it. Its data stay.
//!
//! ```text
//! services.json                  ports and passwords, 0600
//! services/<kind>-<name>/        the shim; service.json: what the server was started with
//! data/<kind>-<name>/            data and configuration, 0700, of the user the server runs as
//! logs/<kind>.<name>/            output
//! ```
//!
//! Each engine is a file; [`server`] is what they have in common.
//!
//! On several hosts the servers run on one of them ([`Membership::data_host`](crate::membership::Membership::data_host))
//! and listen on its private address as well; the others reach them there. Ports and passwords follow from the secret
//! that the hosts share ([`agreement`]).

mod agreement;
mod book;
mod definition;
mod install;
mod keeper;
mod life;
mod postgres;
mod rabbitmq;
mod redis;
mod server;
mod state;

pub(crate) use agreement::Agreement;
pub use book::service_url;
pub(crate) use book::{Book, Entry};
pub(crate) use definition::Definition;
pub(crate) use install::check;
pub(crate) use keeper::{run, stop_all};
pub(crate) use state::{Services, answers, ensure, stores, wait_for_needs};

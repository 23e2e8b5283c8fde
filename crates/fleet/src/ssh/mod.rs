//! Reaching a host over the system's own `ssh`: the user's configuration, keys, agent, jump hosts and known hosts.
//!
//! One process of `ssh` per host holds the connection; everything else is multiplexed over it, so a host asks for a
//! touch of a hardware key once and a script costs a round trip.
//!
//! ```no_run
//! # async fn tour() -> Result<(), fleet::ssh::SshError> {
//! let ssh = fleet::ssh::Ssh::connect("deploy@staging.example.org").await?;
//! let said = ssh.run("uname -m").await?.text(&ssh)?;
//! let socket = ssh.forward(std::path::Path::new("/var/lib/slipway/agent.sock")).await?;
//! let agent = agent::Client::over(socket, ssh.host().to_owned());
//! # drop((said, agent));
//! ssh.close().await;
//! # Ok(()) }
//! ```

mod blame;
mod command;
mod connection;
mod destination;
mod error;
mod output;
mod way;

pub use connection::Ssh;
pub use destination::{Destination, quoted};
pub use error::SshError;
pub use output::{Output, Rights};

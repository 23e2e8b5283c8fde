//! `slipway host`: machines become hosts, and are looked after.

mod add;
mod check;
mod drain;
mod harden;
mod list;
mod remove;
mod upgrade;
mod way;

use crate::{context::Place, exit::Done, printer::Printer};

/// The template of `args.rs`, for the commands below this one.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// Make machines hosts, and look after them.
#[derive(Debug, clap::Args)]
pub(crate) struct Host {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make machines hosts: put this program there and let it run as a service
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway host add deploy@a.example.org deploy@b.example.org
  slipway host add ubuntu@203.0.113.7 --address 10.0.0.7 --install postgresql,redis
  slipway host add deploy@a.example.org --dry-run     show every step and its script

")]
    Add(add::Add),
    /// List the environment's hosts: version, agent, environments, load, disk
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway host list --env production\n  slipway host list --json\n\n")]
    List(list::List),
    /// Look for what makes deploys fail later: clock, disk, memory, ports, kernel, agent
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway host check --env production       all hosts of the environment
  slipway host check deploy@a.example.org   also a machine that is no host yet

")]
    Check(check::Check),
    /// Make hosts harder to break into; shows the scripts and asks
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway host harden deploy@a.example.org --ssh        sshd takes keys only
  slipway host harden deploy@a.example.org --firewall   SSH, visitors and other hosts come in

")]
    Harden(harden::Harden),
    /// Send visitors and instances of a host to the others, before it is rebooted for example
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway host drain deploy@a.example.org\n\n")]
    Drain(drain::Drain),
    /// Take a drained host back
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway host undrain deploy@a.example.org\n\n")]
    Undrain(drain::Drain),
    /// Put this version on hosts, one after another; what runs goes on
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway host upgrade --env production\n  slipway host upgrade deploy@a.example.org\n\n")]
    Upgrade(upgrade::Upgrade),
    /// Drain a host, take it out of its environments and remove Slipway from it
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway host remove deploy@a.example.org            its data stay in /var/lib/slipway
  slipway host remove deploy@a.example.org --purge    nothing stays

")]
    Remove(remove::Remove),
}

/// Runs one of them.
pub(crate) async fn run(command: &Host, place: &Place, printer: Printer) -> Done {
    match &command.action {
        Action::Add(add) => add::run(add, printer).await,
        Action::List(list) => list::run(list, place, printer).await,
        Action::Check(check) => check::run(check, place, printer).await,
        Action::Harden(harden) => harden::run(harden, printer).await,
        Action::Drain(host) => drain::run(host, true, printer).await,
        Action::Undrain(host) => drain::run(host, false, printer).await,
        Action::Upgrade(upgrade) => upgrade::run(upgrade, place, printer).await,
        Action::Remove(remove) => remove::run(remove, printer).await,
    }
}

//! What each format carries from a stack and back: the table that the round trip is held to, and that the guide shows.

use render::Target;

use super::fact::Fact::{self, *};

/// The formats that are written and read, and what of a stack survives both.
pub(crate) const CARRIES: [(Target, &[Fact]); 2] = [
    (
        Target::Compose,
        &[
            App, Environment, Listen, Services, Sites, Images, Commands, Ports, Health, Start, Grace, Replicas, Sizes, Env,
            Outside, Needs, Buckets, Jobs, Engines, Settings, CacheMemory, DatabaseCaps, Migrations, Backups, Routes,
            RouteLimits, RouteBodies, RouteRules,
        ],
    ),
    (
        Target::Kubernetes,
        &[
            App, Environment, Services, Images, Commands, Ports, Health, Rise, Start, Grace, Scaling, Sizes, Env, Outside,
            Needs, Jobs, Overlap, Retries, Engines, Followers, Settings, CacheMemory, DatabaseSizes, Storage,
            MigrationCommands, BackupReach, Routes, RouteLimits, RouteRules,
        ],
    ),
];

/// The table of the guide.
pub(crate) fn table() -> String {
    use std::fmt::Write as _;

    let mut text = String::from("| what | carried by |\n|---|---|\n");
    for fact in Fact::ALL {
        let formats: Vec<&str> = CARRIES
            .iter()
            .filter(|(_, facts)| facts.contains(fact))
            .map(|(target, _)| target.as_str())
            .collect();
        // writing to a String cannot fail
        let _ = writeln!(text, "| {} | {} |", fact.about(), formats.join(", "));
    }
    text
}

//! What each format carries from a stack and back: the table that the round trip is held to, and that the guide shows.

use render::Target;

use super::fact::Fact::{self, *};

/// A format: its name, what is rendered and read together, and what of a stack survives both.
pub(crate) struct Format {
    pub(crate) name: &'static str,
    /// The last is the one that the facts are about.
    pub(crate) targets: &'static [Target],
    pub(crate) facts: &'static [Fact],
}

/// The formats that are written and read.
pub(crate) const FORMATS: [Format; 6] = [
    Format {
        name: "compose",
        targets: &[Target::Compose],
        facts: &[
            App,
            Environment,
            Listen,
            Services,
            Sites,
            Images,
            Commands,
            Ports,
            Health,
            Start,
            Grace,
            Replicas,
            Sizes,
            Env,
            Outside,
            Needs,
            Buckets,
            Jobs,
            Engines,
            Files,
            Settings,
            CacheMemory,
            DatabaseCaps,
            Migrations,
            Backups,
            Routes,
            RouteLimits,
            RouteBodies,
            RouteRules,
        ],
    },
    Format {
        name: "kubernetes",
        targets: &[Target::Kubernetes],
        facts: &[
            App,
            Environment,
            Services,
            Images,
            Commands,
            Ports,
            Health,
            Rise,
            Start,
            Grace,
            Scaling,
            Sizes,
            Env,
            Outside,
            Needs,
            Jobs,
            Overlap,
            Retries,
            Engines,
            Followers,
            OpenSettings,
            CacheMemory,
            DatabaseSizes,
            Storage,
            MigrationCommands,
            BackupReach,
            Routes,
            RouteLimits,
            RouteBodies,
            RouteRules,
        ],
    },
    Format {
        name: "systemd",
        targets: &[Target::Systemd],
        facts: &[App, Environment, Services, Runs, Ports, Replicas, Caps, Start, Grace, Plain, Jobs, Retries],
    },
    Format {
        name: "nginx (beside systemd)",
        targets: &[Target::Systemd, Target::Nginx],
        facts: &[Routes, RouteLimits, RouteBodies, RouteRules],
    },
    Format {
        name: "terraform",
        targets: &[Target::Terraform],
        facts: &[
            CloudDatabases,
            CloudCaches,
            CloudBuckets,
            CloudServices,
            CloudTables,
            CloudTopics,
            CloudSearch,
            CloudNetwork,
        ],
    },
    Format { name: "ci", targets: &[Target::Ci], facts: &[Environments, Secrets] },
];

/// The table of the guide.
pub(crate) fn table() -> String {
    use std::fmt::Write as _;

    let mut text = String::from("| what | carried by |\n|---|---|\n");
    for fact in Fact::ALL {
        let formats: Vec<&str> =
            FORMATS.iter().filter(|format| format.facts.contains(fact)).map(|format| format.name).collect();
        // writing to a String cannot fail
        let _ = writeln!(text, "| {} | {} |", fact.about(), formats.join(", "));
    }
    text
}

//! Mistakes that are made so often that they have a name.

use serde::{Serialize, Serializer};

/// A known mistake, `T1` to `T17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trap(u8);

macro_rules! traps {
    ($($name:ident $number:literal $about:literal;)*) => {
        impl Trap {
            $(#[doc = concat!("Trap ", stringify!($number), "; see [`about`](Trap::about).")] pub const $name: Trap = Trap($number);)*

            /// All of them.
            pub const ALL: [Trap; 17] = [$(Trap::$name),*];

            /// What is wrong and what is right, in a sentence or two.
            pub fn about(self) -> &'static str {
                match self.0 {
                    $($number => $about,)*
                    _ => "",
                }
            }
        }
    };
}

traps! {
    AURORA_V1 1 "Aurora Serverless v1 ended on 2025-03-31; its successor takes a range of capacity and pauses when idle";
    PRISMA_DOWN 2 "Prisma has no way down: keep a down script for each migration, or a copy from before it";
    SECRET_NAME 3 "the program is given the name of a secret instead of its value; and parameter groups keep no secrets";
    CORS_OAUTH 4 "sign-in hosts only redirect and are no origins of CORS; with credentials one origin is echoed, never a list";
    WAF_HTTP_API 5 "a WAF cannot stand in front of an HTTP API: use a REST API, a load balancer or a CDN";
    MISSING_NAME 6 "a CDN or load balancer answers for a name or service that the DNS records or target groups do not have";
    TWO_TRIGGERS 7 "an upload starts the function twice: by the bucket's notification and by the event bus";
    QUERY_CACHE 8 "PostgreSQL has no query cache; and a limit per minute is a rate per second with a burst";
    OLD_REPLICATION 9 "recovery.conf, standby_mode and trigger_file ended with PostgreSQL 12, wal_keep_segments with 13; pg_basebackup cannot copy RDS, and md5 passwords are outdated";
    FAILOVER_JOB 10 "an HPA scales no ECS service, and a failover job without lease and fencing can make two primaries";
    PLAIN_DUMP 11 "the plain dump stays on the disk and old copies are removed there only, never in the bucket";
    THREE_PRIMARIES 12 "replicas of the plain database image are unrelated primaries behind one name";
    REDIS_NODES 13 "`num_cache_nodes` above 1 is not for Redis: it needs a replication group";
    LATE_MIGRATION 14 "migrating after the new release runs, `exec -it` without a terminal, commands after `ssh` that run elsewhere, `latest` tags, and programs without probes";
    TWO_MIGRATIONS 15 "scripts mounted into the database's start-up folder and a migration command are two systems; `version:` in a compose file is obsolete, and a retention that is only a comment keeps nothing";
    INGRESS_NGINX 16 "ingress-nginx was retired in March 2026; `kubernetes.io/ingress.class` is outdated, and `rate-limit` is no annotation of it (`limit-rps` was)";
    FORWARDED_FOR 17 "X-Forwarded-For can be forged unless trusted proxies are counted; Node 18 is out of support; keeping the old version running on one host needs a second port and a switch";
}

impl std::fmt::Display for Trap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "T{}", self.0)
    }
}

impl Serialize for Trap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

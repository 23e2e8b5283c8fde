//! The keys of the kinds that only some targets can run: what each holds and what it says.

use Form::{Any, Flag, Period, Size, Text, Texts, Whole};

use crate::Kind;

/// What a key of an extra kind holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Texts,
    Flag,
    Whole,
    Period,
    Size,
    /// A text or a table; what is inside is the target's business.
    Any,
}

/// A key, its form, and what it says.
pub(crate) type Key = (&'static str, Form, &'static str);

/// Every extra kind: what it is, and its keys.
pub(crate) const EXTRAS: [(Kind, &str, &[Key]); 21] = [
    (Kind::Topic, "Messages that go to many.", &TOPIC),
    (Kind::Table, "Key-value tables.", &TABLE),
    (Kind::Search, "Search servers.", &SEARCH),
    (Kind::Mail, "Domains mails come from.", &MAIL),
    (Kind::Identity, "Pools of people who sign in.", &IDENTITY),
    (Kind::Network, "Address ranges and who may reach whom.", &NETWORK),
    (Kind::Dashboard, "Pages of charts.", &DASHBOARD),
    (Kind::Waf, "Filters in front of routes.", &WAF),
    (Kind::Cdn, "Caches near visitors.", &CDN),
    (Kind::Dns, "Zones, their records and certificates.", &DNS),
    (Kind::Gateway, "One entry in front of services, with sign-in and limits.", &GATEWAY),
    (Kind::Log, "Where output goes and how long it stays.", &LOG),
    (Kind::Scrape, "What a Prometheus reads.", &SCRAPE),
    (Kind::Key, "Keys that encrypt data at rest.", &KEY),
    (Kind::Role, "What programs may do at the provider.", &ROLE),
    (Kind::External, "Services of others that the application calls.", &EXTERNAL),
    (Kind::Cluster, "How machines become a cluster.", &CLUSTER),
    (Kind::Audit, "Rules that an account and a system must meet.", &AUDIT),
    (Kind::Gate, "What must be true before, during or after a deploy.", &GATE),
    (Kind::Phase, "Stages of a plan over months, with milestones.", &PHASE),
    (Kind::Price, "What an environment is expected to cost per month.", &PRICE),
];

/// The keys of an extra kind. Empty for kinds that have a type of their own.
pub(crate) fn keys(kind: Kind) -> &'static [Key] {
    EXTRAS.iter().find(|(extra, ..)| *extra == kind).map_or(&[], |(_, _, keys)| keys)
}

const TOPIC: [Key; 7] = [
    ("name", Text, "Name at the provider, when it differs."),
    ("to", Texts, "What gets every message: `queue.x`, `function.x`, `service.x` or an email address."),
    ("fifo", Flag, "Messages keep their order."),
    ("keep", Period, "How long an undelivered message stays."),
    ("retries", Whole, "How often delivery is tried again."),
    ("filter", Any, "Only messages with these attributes."),
    ("about", Text, "What it is for."),
];

const TABLE: [Key; 13] = [
    ("name", Text, "Name at the provider, when it differs."),
    ("key", Text, "The key that finds an item."),
    ("sort", Text, "The key that orders items of one key."),
    ("ttl", Text, "The attribute that says when an item expires."),
    ("indexes", Any, "Further keys: a list of names, or of `{ name, key, sort }`."),
    ("pitr", Flag, "Any moment of the past days can be restored."),
    ("on_demand", Flag, "Pay per request instead of reserving capacity."),
    ("read", Whole, "Reserved reads per second."),
    ("write", Whole, "Reserved writes per second."),
    ("encrypted", Flag, "Encrypted at rest with a key of its own."),
    ("stream", Flag, "Every change is an event."),
    ("delete_protection", Flag, "Refuses to be removed."),
    ("about", Text, "What it is for."),
];

const SEARCH: [Key; 12] = [
    ("engine", Text, "As in `opensearch:2`."),
    ("url", Text, "Address of an existing server."),
    ("nodes", Whole, "Data members."),
    ("masters", Whole, "Dedicated masters."),
    ("class", Text, "Machine class of a member."),
    ("master_class", Text, "Machine class of a master."),
    ("storage", Size, "Disk of each member."),
    ("snapshots", Text, "Bucket that snapshots go to, as `bucket.x`."),
    ("indexes", Any, "Indexes with their fields."),
    ("encrypted", Flag, "Encrypted at rest and between members."),
    ("zones", Whole, "Zones the members are spread over."),
    ("about", Text, "What it is for."),
];

const MAIL: [Key; 13] = [
    ("domain", Text, "Domain mails come from."),
    ("from", Text, "Sender, when none is given."),
    ("reply_to", Text, "Where answers go."),
    ("url", Text, "Address of an existing SMTP server."),
    ("dkim", Flag, "Sign mails."),
    ("spf", Flag, "Publish who may send."),
    ("dmarc", Text, "What receivers do with forged mails: `none`, `quarantine` or `reject`."),
    ("templates", Text, "Folder of stored templates."),
    ("bounces", Text, "Topic that hears of bounces, as `topic.x`."),
    ("complaints", Text, "Topic that hears of complaints, as `topic.x`."),
    ("receive", Flag, "Incoming mail is an event."),
    ("rate", Whole, "Most mails per second."),
    ("about", Text, "What it is for."),
];

const IDENTITY: [Key; 17] = [
    ("sign_in", Texts, "What people sign in with: `email`, `phone`, `name`."),
    ("mfa", Text, "`off`, `optional` or `required`."),
    ("mfa_by", Texts, "`sms`, `totp`, `passkey`."),
    ("password", Any, "Rules: `{ min_length, classes }`."),
    ("verify", Texts, "What is verified: `email`, `phone`."),
    ("reset", Flag, "People can reset a password."),
    ("providers", Any, "OAuth2 and OpenID Connect providers."),
    ("token", Period, "How long an access token lasts."),
    ("refresh", Period, "How long a refresh token lasts."),
    ("groups", Texts, "Groups of people."),
    ("callbacks", Texts, "Addresses people come back to."),
    ("logouts", Texts, "Addresses people leave to."),
    ("self_sign_up", Flag, "Anybody may join."),
    ("mail", Text, "Mail that sends the messages, as `mail.x`."),
    ("attributes", Any, "Further attributes of a person."),
    ("domain", Text, "Host name of the sign-in pages."),
    ("about", Text, "What it is for."),
];

const NETWORK: [Key; 12] = [
    ("cidr", Text, "Address range of the whole network."),
    ("zones", Texts, "Zones it is spread over."),
    ("public", Texts, "Ranges reachable from outside."),
    ("private", Texts, "Ranges of services."),
    ("data", Texts, "Ranges of databases, isolated."),
    ("nat", Text, "Way out of private ranges: `none`, `one` or `per-zone`."),
    ("flow_logs", Flag, "Record connections."),
    ("allow", Any, "Who may reach whom, as a list of `{ from, to, port }`."),
    ("ipv6", Flag, "Addresses of both families."),
    ("dns", Flag, "Names inside the network."),
    ("endpoints", Texts, "Provider services reached without leaving the network."),
    ("about", Text, "What it is for."),
];

const DASHBOARD: [Key; 6] = [
    ("title", Text, "Heading."),
    ("about", Text, "What it is for."),
    ("panels", Any, "List of `{ title, metric, of, kind, unit }`."),
    ("metrics", Texts, "Metrics to show, one panel each."),
    ("refresh", Period, "How often it is drawn again."),
    ("range", Period, "How much of the past it shows."),
];

const WAF: [Key; 13] = [
    ("routes", Texts, "Host names it protects; all when not given."),
    ("limit", Text, "Requests allowed per client, as in `2000/m per ip`."),
    ("managed", Texts, "Rule sets of the provider."),
    ("sql_injection", Flag, "Refuse SQL injection."),
    ("xss", Flag, "Refuse cross-site scripting."),
    ("bad_ips", Flag, "Refuse known bad addresses."),
    ("block_countries", Texts, "Countries refused, as two letters."),
    ("allow_countries", Texts, "Only these countries."),
    ("block", Texts, "Networks refused."),
    ("allow", Texts, "Networks never refused."),
    ("rules", Any, "Rules of your own."),
    ("mode", Text, "`block` or `count`."),
    ("about", Text, "What it is for."),
];

const CDN: [Key; 13] = [
    ("name", Text, "Name at the provider, when it differs."),
    ("to", Texts, "What it caches: `site.x`, `bucket.x` or `service.x`."),
    ("names", Texts, "Host names it answers."),
    ("cache", Period, "How long assets stay."),
    ("price_class", Text, "Where it has caches: `us-europe`, `most` or `all`."),
    ("compress", Flag, "Compress answers."),
    ("https_only", Flag, "Send HTTP to HTTPS."),
    ("http2", Flag, "Speak HTTP/2."),
    ("spa", Flag, "An unknown path gets `index.html`."),
    ("countries", Texts, "Only these countries, as two letters."),
    ("invalidate", Texts, "Paths forgotten after a deploy."),
    ("ddos", Flag, "Protect against floods."),
    ("about", Text, "What it is for."),
];

const DNS: [Key; 5] = [
    ("zone", Text, "The domain."),
    ("records", Any, "List of `{ name, type, to }`; `to` is a value or a resource."),
    ("certificate", Texts, "Names of one certificate."),
    ("validate", Text, "How the certificate is proven: `dns` or `http`."),
    ("about", Text, "What it is for."),
];

const GATEWAY: [Key; 14] = [
    ("kind", Text, "`http`, `rest` or `load-balancer`."),
    ("routes", Texts, "Host names it answers; all when not given."),
    ("identity", Text, "Whose tokens it believes, as `identity.x`."),
    ("limit", Text, "Requests allowed, as in `167/s per all`."),
    ("burst", Whole, "Requests above the limit in one moment."),
    ("versions", Texts, "Versions of the API side by side, as in `v1`."),
    ("cors", Flag, "Answer preflight requests."),
    ("regional", Flag, "In one region, without caches of its own."),
    ("redirect_http", Flag, "Send HTTP to HTTPS."),
    ("tls", Text, "Oldest TLS version, as in `1.2`."),
    ("health", Any, "`{ path, every, up, down }` of its checks."),
    ("sticky", Flag, "A visitor keeps coming to the same instance."),
    ("trusted_hops", Whole, "Proxies in front whose X-Forwarded-For is believed."),
    ("about", Text, "What it is for."),
];

const LOG: [Key; 8] = [
    ("of", Texts, "Whose output: `service.x`, `function.x`, `database.x`, `gateway.x`."),
    ("group", Text, "Name at the provider."),
    ("stream", Text, "Name of the stream."),
    ("keep", Period, "How long it stays."),
    ("archive_to", Text, "Bucket it goes to afterwards, as `bucket.x`."),
    ("traces", Flag, "Follow requests from part to part."),
    ("sample", Whole, "Share of requests that are followed, in percent."),
    ("about", Text, "What it is for."),
];

const SCRAPE: [Key; 6] = [
    ("of", Texts, "What is read: `service.x`, `database.x`, `cache.x`."),
    ("every", Period, "How often."),
    ("port", Whole, "Port of the metrics."),
    ("path", Text, "Path of the metrics."),
    ("label", Text, "Pods with this label or annotation."),
    ("about", Text, "What it is for."),
];

const KEY: [Key; 3] = [
    ("of", Texts, "What it encrypts."),
    ("rotate", Period, "How often it changes."),
    ("about", Text, "What it is for."),
];

const ROLE: [Key; 3] = [
    ("of", Texts, "Who has it."),
    ("allow", Texts, "What it may do beyond what `needs` says, as in `rds-db:connect`."),
    ("about", Text, "What it is for."),
];

const EXTERNAL: [Key; 6] = [
    ("kind", Text, "As in `textract`, `bedrock`, `plausible`."),
    ("model", Text, "Which model."),
    ("features", Texts, "What is used of it."),
    ("url", Text, "Its address."),
    ("stub", Text, "Service that stands in for it where it cannot be reached, as `service.x`."),
    ("about", Text, "What it is for."),
];

const CLUSTER: [Key; 13] = [
    ("name", Text, "Name at the provider, when it differs."),
    ("runtime", Text, "Container runtime."),
    ("tools", Texts, "Programs installed on each machine."),
    ("pods", Text, "Address range of pods."),
    ("cni", Text, "Network of pods."),
    ("nodes", Whole, "Machines."),
    ("version", Text, "Version."),
    ("image", Text, "System of the machines."),
    ("storage_class", Text, "Class of disks."),
    ("ingress", Text, "What takes visitors: `gateway` or `ingress`."),
    ("issuer", Text, "Who signs certificates."),
    ("labels", Any, "Labels of everything."),
    ("about", Text, "What it is for."),
];

const AUDIT: [Key; 3] = [
    ("rules", Texts, "The rules."),
    ("every", Period, "How often they are checked."),
    ("about", Text, "What it is for."),
];

const GATE: [Key; 6] = [
    (
        "when",
        Text,
        "`before` or `after`: passed by a deploy, before anything changes or once all visitors are on the release. `during` only describes.",
    ),
    ("run", Text, "Command that must succeed, run beside the stack file where the deploy runs."),
    (
        "checks",
        Texts,
        "What must be so. Looked at: `/health answers`, `https://shop.example/ answers within 2s`, `instances are ready`, `databases answer`, `migrations are applied`, `http.errors < 5%`, `http.latency < 500ms`, `backups are younger than 26h`. Anything else is asked of a person.",
    ),
    ("timeout", Period, "How long the command may run, and a person may take to answer. Default 10 m."),
    ("order", Texts, "Steps in their order, for people."),
    ("about", Text, "What it is for."),
];

const PHASE: [Key; 6] = [
    ("months", Text, "As in `1..12`, or `18..`."),
    ("environments", Texts, "Environments that carry it."),
    ("milestones", Any, "List of `{ name, done }`."),
    ("move", Texts, "What moves in it."),
    ("keep", Texts, "What stays as a reserve."),
    ("about", Text, "What it is for."),
];

const PRICE: [Key; 6] = [
    ("environment", Text, "Whose."),
    ("users", Whole, "For how many users."),
    ("lines", Any, "Dollars per month by item."),
    ("total", Whole, "Dollars per month."),
    ("amortise", Period, "Time over which hardware is written off."),
    ("about", Text, "What it is for."),
];

/// The keys of `cloud` in `[database.x]`.
pub(crate) const DATABASE_CLOUD: [Key; 17] = [
    ("name", Text, "Name of the database inside the server."),
    ("server", Text, "Name of the server or cluster at the provider."),
    ("kind", Text, "`instance` or `serverless`."),
    ("class", Text, "Machine class of the primary."),
    ("replica_class", Text, "Machine class of a replica."),
    ("zones", Whole, "Zones with a standby of the primary; 1 is none."),
    ("capacity", Text, "Fewest and most capacity units of `serverless`, as in `0.5..16`."),
    ("pause_after", Period, "Idle time after which `serverless` stops."),
    ("window", Text, "When the provider takes backups, as in `03:00-04:00`."),
    ("maintenance", Text, "When the provider may change it, as in `sun:04:00-sun:05:00`."),
    ("keep", Period, "How long the provider keeps backups; any moment within can be restored."),
    ("insights", Period, "How long query statistics stay."),
    ("monitoring", Flag, "Measure the machine every minute."),
    ("encrypted", Flag, "Encrypted at rest."),
    ("tls", Flag, "Refuse connections without TLS."),
    ("storage_class", Text, "Class of the disk."),
    ("proxy", Flag, "A connection pool in front."),
];

/// The keys of `cloud` in `[cache.x]`.
pub(crate) const CACHE_CLOUD: [Key; 6] = [
    ("name", Text, "Name at the provider, when it differs."),
    ("class", Text, "Machine class of a member."),
    ("failover", Flag, "A replica takes over by itself."),
    ("keep", Period, "How long backups stay."),
    ("encrypted", Flag, "Encrypted at rest and on the way."),
    ("keys", Texts, "Shapes of keys, for people."),
];

/// The keys of `cloud` in `[bucket.x]`.
pub(crate) const BUCKET_CLOUD: [Key; 3] = [
    ("encrypted", Text, "How it is encrypted at rest: `AES256` or `key.x`."),
    ("prefix", Text, "Where keys begin."),
    ("types", Texts, "Kinds of files, for people."),
];

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

/// The keys of an extra kind. Empty for kinds that have a type of their own.
pub(crate) fn keys(kind: Kind) -> &'static [Key] {
    match kind {
        Kind::Topic => &TOPIC,
        Kind::Table => &TABLE,
        Kind::Search => &SEARCH,
        Kind::Mail => &MAIL,
        Kind::Identity => &IDENTITY,
        Kind::Network => &NETWORK,
        Kind::Dashboard => &DASHBOARD,
        Kind::Waf => &WAF,
        _ => &[],
    }
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

//! Kinds that only some targets can run, kept as their checked keys: their keys and forms are the table below.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::section::{Entry, Section};
use crate::{AlarmRule, ByteSize, Extra, Kind, Period};

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

type Key = (&'static str, Form, &'static str);

/// Deepest nesting inside an `Any`.
const DEEPEST: usize = 4;

/// The keys of an extra kind, each with its form and what it says. Empty for kinds that have a type of their own.
pub(crate) fn keys(kind: Kind) -> &'static [Key] {
    use Form::{Any, Flag, Period, Size, Text, Texts, Whole};
    match kind {
        Kind::Topic => &[
            ("name", Text, "Name at the provider, when it differs."),
            ("to", Texts, "What gets every message: `queue.x`, `function.x`, `service.x` or an email address."),
            ("fifo", Flag, "Messages keep their order."),
            ("keep", Period, "How long an undelivered message stays."),
            ("retries", Whole, "How often delivery is tried again."),
            ("filter", Any, "Only messages with these attributes."),
            ("about", Text, "What it is for."),
        ],
        Kind::Table => &[
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
        ],
        Kind::Search => &[
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
        ],
        Kind::Mail => &[
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
        ],
        Kind::Identity => &[
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
        ],
        Kind::Network => &[
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
        ],
        Kind::Dashboard => &[
            ("title", Text, "Heading."),
            ("about", Text, "What it is for."),
            ("panels", Any, "List of `{ title, metric, of, kind, unit }`."),
            ("metrics", Texts, "Metrics to show, one panel each."),
            ("refresh", Period, "How often it is drawn again."),
            ("range", Period, "How much of the past it shows."),
        ],
        Kind::Waf => &[
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
        ],
        _ => &[],
    }
}

/// Reads a resource of an extra kind.
pub(crate) fn read(section: Section<'_>, kind: Kind) -> Extra {
    let mut settings = Map::new();
    for (key, form, _) in keys(kind) {
        let Some(entry) = section.find(key) else { continue };
        let value = read_value(&entry, *form);
        settings.extend(value.map(|value| ((*key).to_owned(), value)));
    }
    if kind == Kind::Table && !section.has("key") {
        section.missing("key", "write the key that finds an item, for example `key = \"id\"`");
    }
    check_values(&section, kind);
    section.finish(&[("description", "about"), ("subscribers", "to"), ("subnets", "private"), ("partition_key", "key"), ("sort_key", "sort")]);
    Extra { settings }
}

/// The few keys whose text has a form that other rooms rely on.
fn check_values(section: &Section<'_>, kind: Kind) {
    if kind == Kind::Waf
        && let Some(entry) = section.find("limit")
        && let Some(text) = entry.filled()
    {
        entry.quantity(text.parse::<crate::Limit>());
    }
    for (key, kinds) in [("snapshots", Kind::Bucket), ("bounces", Kind::Topic), ("complaints", Kind::Topic), ("mail", Kind::Mail)] {
        if !keys(kind).iter().any(|(known, ..)| *known == key) {
            continue;
        }
        if let Some(entry) = section.find(key) {
            entry.reference(match kinds {
                Kind::Bucket => &[Kind::Bucket],
                Kind::Topic => &[Kind::Topic],
                _ => &[Kind::Mail],
            });
        }
    }
    if kind == Kind::Topic {
        for entry in section.texts("to").iter().filter(|entry| entry.value.get_ref().as_str().is_some_and(|text| !text.contains('@'))) {
            entry.reference(&[Kind::Queue, Kind::Function, Kind::Service]);
        }
    }
    if kind == Kind::Dashboard {
        for entry in section.texts("metrics") {
            let Some(text) = entry.filled() else { continue };
            let known = crate::alarm::METRICS.map(|(metric, ..)| metric);
            if !known.contains(&text) {
                // the alarm's own parser knows the suggestion
                let refused = format!("{text} > 0").parse::<AlarmRule>().err();
                let mend = refused.map_or_else(String::new, |bad| bad.mend);
                let message = format!("{}: `{}` is no metric", entry.path.place(), super::section::shortened(text).escape_debug());
                section.notes.add(entry.problem("unknown-metric", message).with_mend(mend));
            }
        }
    }
}

fn read_value(entry: &Entry<'_>, form: Form) -> Option<Value> {
    match form {
        Form::Text => {
            let text = entry.filled()?;
            entry.check_template(text);
            Some(text.into())
        }
        Form::Texts => Some(entry.items().iter().filter_map(|item| item.filled()).collect()),
        Form::Flag => entry.value.get_ref().as_bool().map(Value::from).or_else(|| {
            entry.wrong_type("`true` or `false`");
            None
        }),
        Form::Whole => entry.whole::<i64>(0..=1_000_000_000).map(Value::from),
        Form::Period => entry.quantity(entry.filled()?.parse::<Period>()).map(|period| period.to_string().into()),
        Form::Size => entry.quantity(entry.scalar()?.parse::<ByteSize>()).map(|size| size.to_string().into()),
        Form::Any => any(entry, entry.value.get_ref(), DEEPEST),
    }
}

fn any(entry: &Entry<'_>, value: &DeValue<'_>, depth: usize) -> Option<Value> {
    if depth == 0 {
        let message = format!("{} is nested too deeply", entry.path.place());
        entry.notes.add(entry.problem("too-deep", message).with_mend(format!("nest at most {DEEPEST} levels")));
        return None;
    }
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(number.into()),
            Err(_) => {
                let message = format!("{} holds a number that is too large", entry.path.place());
                entry.notes.add(entry.problem("out-of-range", message).with_mend("write a number of at most 18 digits"));
                None
            }
        },
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Value::from),
        DeValue::Boolean(flag) => Some((*flag).into()),
        DeValue::Datetime(time) => Some(time.to_string().into()),
        DeValue::Array(list) => list.iter().map(|item| any(entry, item.get_ref(), depth - 1)).collect(),
        DeValue::Table(table) => {
            let pair = |(name, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
                Some((name.get_ref().to_string(), any(entry, value.get_ref(), depth - 1)?))
            };
            table.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}

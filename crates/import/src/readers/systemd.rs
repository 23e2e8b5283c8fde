//! systemd units: services and timers.

use std::collections::BTreeMap;

use crate::{
    detect::File,
    draft::{Draft, label},
    report::{Entry, Fate},
    text,
};

/// Reads a `.service` or `.timer` unit.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let stem = file.name.rsplit('/').next().unwrap_or(&file.name);
    let (stem, kind) = stem.rsplit_once('.').unwrap_or((stem, "service"));
    let name = label(stem.trim_end_matches('@'), "service");
    let mut found = Vec::new();
    let mut group = String::new();
    let mut timer: BTreeMap<&str, String> = BTreeMap::new();
    let mut lines = file.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut whole = line.trim().to_owned();
        if whole.is_empty() || whole.starts_with(['#', ';']) {
            continue;
        }
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            whole.push_str(next.trim());
        }
        if let Some(header) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            header.clone_into(&mut group);
            continue;
        }
        let Some((key, value)) = whole.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            found.push(entry(file, index + 1, &group, &whole, Fate::Refused, "a line of a unit is `Key=Value`"));
            continue;
        };
        let (fate, reason) = if kind == "timer" {
            on_timer(&name, key, value, draft, &mut timer)
        } else {
            on_service(&name, key, value, draft)
        };
        found.push(entry(file, index + 1, &group, key, fate, &reason));
    }
    Ok(found)
}

fn entry(file: &File, line: usize, group: &str, key: &str, fate: Fate, reason: &str) -> Entry {
    let key = if group.is_empty() { key.to_owned() } else { format!("{group}.{key}") };
    Entry { file: file.name.clone(), line: Some(line), key, fate, reason: reason.to_owned(), trap: None }
}

#[expect(clippy::too_many_lines, reason = "a table of what becomes of each")]
fn on_service(name: &str, key: &str, value: &str, draft: &mut Draft) -> (Fate, String) {
    // a timer's service is a job already
    let kind = if draft.has("job", name) { "job" } else { "service" };
    let kept = |place: &str| (Fate::Kept, place.to_owned());
    match key {
        "ExecStart" => {
            let run = value.trim_start_matches(['-', '@', ':', '+', '!']);
            let run = text::template(run, draft);
            draft.section(kind, name).set("run", run);
            kept("`run`")
        }
        "Environment" => {
            for pair in shlex::split(value).unwrap_or_default() {
                let Some((variable, value)) = pair.split_once('=') else { continue };
                if variable == "PORT" {
                    if let Ok(port) = value.parse::<u16>() {
                        draft.section(kind, name).set("port", i64::from(port));
                    }
                } else if text::is_secret_name(variable) {
                    draft.variable(variable, None, true);
                    draft.section(kind, name).put("env", variable, format!("${{{variable}}}"));
                } else {
                    let value = text::template(value, draft);
                    draft.section(kind, name).put("env", variable, value);
                }
            }
            kept("`env`; secrets are variables of the contract, PORT is the service's `port`")
        }
        "EnvironmentFile" => {
            (Fate::Changed, "values come from .env.<environment> and --env-file; declare each in [variable]".to_owned())
        }
        "TimeoutStopSec" => match text::duration(value) {
            Some(period) if kind == "service" => {
                draft.section(kind, name).set("stop", period);
                kept("`stop`")
            }
            _ => (Fate::Refused, "not a duration".to_owned()),
        },
        "TimeoutStartSec" => match text::duration(value) {
            Some(period) if kind == "service" => {
                draft.section(kind, name).set("start", period);
                kept("`start`")
            }
            _ => (Fate::Refused, "not a duration".to_owned()),
        },
        "MemoryMax" | "MemoryLimit" | "MemoryHigh" => match text::size(value) {
            Some(size) => {
                draft.section(kind, name).put("size", "memory", size);
                kept("`size.memory`")
            }
            None => (Fate::Refused, "not a size; write it as `size.memory`".to_owned()),
        },
        "CPUQuota" => match value.trim_end_matches('%').parse::<u32>() {
            Ok(percent) if percent > 0 => {
                draft.section(kind, name).put("size", "cpu", format!("{}m", percent.saturating_mul(10)));
                kept("`size.cpu`")
            }
            _ => (Fate::Refused, "not a share; write it as `size.cpu`".to_owned()),
        },
        "Restart"
        | "RestartSec"
        | "StartLimitIntervalSec"
        | "StartLimitBurst"
        | "RestartSteps"
        | "RestartMaxDelaySec" => {
            (Fate::Changed, "Slipway keeps every service running, with growing pauses".to_owned())
        }
        "StandardOutput" | "StandardError" | "SyslogIdentifier" | "LogRateLimitBurst" => {
            (Fate::Changed, "output is captured, rotated and redacted by Slipway".to_owned())
        }
        "Description" => {
            draft.section(kind, name).about(value);
            kept("a comment")
        }
        "After" | "Requires" | "Wants" | "BindsTo" | "Before" | "PartOf" => {
            (Fate::Changed, "`needs` says what starts first".to_owned())
        }
        "WantedBy" | "Type" | "ExecReload" | "KillMode" | "Also" | "RemainAfterExit" | "PIDFile" | "NotifyAccess"
        | "Delegate" | "Slice" => (Fate::Changed, "the agent starts and stops it".to_owned()),
        "User" | "Group" | "DynamicUser" | "SupplementaryGroups" => {
            (Fate::Refused, "Slipway chooses an unprivileged user for each application".to_owned())
        }
        "WorkingDirectory" => (Fate::Changed, "the release's own folder; `dir` says what is in it".to_owned()),
        "ExecStartPre" | "ExecStartPost" | "ExecStop" | "ExecStopPost" if value.contains("migrate") => {
            (Fate::Refused, "name it in `migrate` of the database: it runs once, before the switch".to_owned())
        }
        "ExecStartPre" | "ExecStartPost" | "ExecStop" | "ExecStopPost" => {
            (Fate::Refused, "only one command runs; put it into the program or into `build`".to_owned())
        }
        "NoNewPrivileges"
        | "PrivateTmp"
        | "ProtectSystem"
        | "ProtectHome"
        | "PrivateDevices"
        | "ReadWritePaths"
        | "CapabilityBoundingSet"
        | "RestrictAddressFamilies"
        | "SystemCallFilter"
        | "ProtectKernelTunables"
        | "ProtectControlGroups"
        | "RestrictNamespaces"
        | "LockPersonality"
        | "MemoryDenyWriteExecute"
        | "ProtectKernelModules"
        | "RestrictSUIDSGID"
        | "AmbientCapabilities" => {
            (Fate::Changed, "instances run without further rights as a user of their own".to_owned())
        }
        "LimitNOFILE" | "LimitNPROC" | "LimitCORE" | "TasksMax" | "Nice" | "OOMScoreAdjust" | "IOWeight"
        | "CPUWeight" => (Fate::Refused, "only CPU and memory are capped, by `size`".to_owned()),
        _ => (Fate::Refused, "a setting of systemd that Slipway does not have".to_owned()),
    }
}

fn on_timer(
    name: &str,
    key: &str,
    value: &str,
    draft: &mut Draft,
    known: &mut BTreeMap<&'static str, String>,
) -> (Fate, String) {
    match key {
        "OnCalendar" => {
            known.insert("schedule", value.to_owned());
            if let Some(cron) = calendar(value) {
                draft.section("job", name).set("schedule", cron);
                (Fate::Changed, "`schedule` of a job, as cron, in UTC unless `time_zone` says otherwise".to_owned())
            } else {
                draft.section("job", name).set_with("schedule", "@daily", &format!("was OnCalendar={value}"));
                (Fate::Refused, "no cron expression says this; write `schedule` of the job".to_owned())
            }
        }
        "OnUnitActiveSec" | "OnBootSec" | "OnUnitInactiveSec" => {
            (Fate::Refused, "write `schedule` of the job, as in `*/15 * * * *`".to_owned())
        }
        "Description" => {
            draft.section("job", name).about(value);
            (Fate::Kept, "a comment".to_owned())
        }
        "Persistent" | "AccuracySec" | "RandomizedDelaySec" | "Unit" | "WantedBy" => {
            (Fate::Changed, "the agent keeps the schedule".to_owned())
        }
        _ => (Fate::Refused, "a setting of systemd that Slipway does not have".to_owned()),
    }
}

/// The usual forms of `OnCalendar` as cron.
fn calendar(text: &str) -> Option<String> {
    match text {
        "hourly" => return Some("@hourly".to_owned()),
        "daily" => return Some("@daily".to_owned()),
        "weekly" => return Some("@weekly".to_owned()),
        "monthly" => return Some("@monthly".to_owned()),
        "yearly" | "annually" => return Some("@yearly".to_owned()),
        _ => {}
    }
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let weekday = match words.first()?.get(..3).and_then(|day| days.iter().position(|known| *known == day)) {
        Some(index) if words[0].len() == 3 => {
            words.remove(0);
            format!("{}", (index + 1) % 7)
        }
        Some(_) => return None,
        None => "*".to_owned(),
    };
    let (date, time) = match words[..] {
        [date, time] => (date, time),
        [time] if time.contains(':') => ("*-*-*", time),
        _ => return None,
    };
    let mut date = date.rsplit('-');
    let (day, month) = (date.next()?, date.next().unwrap_or("*"));
    let mut time = time.split(':');
    let (hour, minute) = (time.next()?, time.next()?);
    let number = |text: &str| {
        (text == "*" || text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.trim_start_matches('0').to_owned())
            .map(|text| if text.is_empty() { "0".to_owned() } else { text })
    };
    let minute = minute.strip_prefix("0/").map_or_else(|| number(minute), |every| Some(format!("*/{every}")))?;
    Some(format!("{minute} {} {} {} {weekday}", number(hour)?, number(day)?, number(month)?))
}

#[cfg(test)]
mod tests {
    use super::calendar;

    #[test]
    fn calendars_become_cron() {
        for (from, to) in [
            ("daily", "@daily"),
            ("*-*-* 02:30:00", "30 2 * * *"),
            ("Mon *-*-* 04:00", "0 4 * * 1"),
            ("*:0/15", "*/15 * * * *"),
            ("Sun 05:00", "0 5 * * 0"),
        ] {
            assert_eq!(calendar(from).as_deref(), Some(to), "{from}");
        }
        assert_eq!(calendar("Mon..Fri 10:00"), None);
    }
}

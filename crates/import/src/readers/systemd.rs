//! systemd units: services, timers and the targets that gather them.

mod calendar;

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
    let name = label(&own(stem.trim_end_matches('@'), draft), "service");
    let mut found = Vec::new();
    let lines = lines(&file.text);
    let once = lines.iter().any(|line| line.key == "Type" && line.value.as_deref() == Some("oneshot"));
    if once && kind == "service" && !draft.has("job", &name) {
        let reason = "no timer here starts it: write what does, as `schedule` of a [job] or `on` of a [function]";
        return Ok(lines.iter().map(|line| entry(file, line, Fate::Refused, reason)).collect());
    }
    for line in lines {
        let Some(value) = &line.value else {
            found.push(entry(file, &line, Fate::Refused, "a line of a unit is `Key=Value`"));
            continue;
        };
        let (fate, reason) = if kind == "timer" {
            on_timer(&name, &line.key, value, draft)
        } else {
            on_service(&name, &line.key, value, draft)
        };
        found.push(entry(file, &line, fate, &reason));
    }
    Ok(found)
}

/// Reads a `.target`: the application that its units are, and how many instances of each it wants.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn target(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let stem = file.name.rsplit('/').next().unwrap_or(&file.name).trim_end_matches(".target").to_owned();
    draft.app.get_or_insert(stem.clone());
    let mut ports: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut found = Vec::new();
    for line in lines(&file.text) {
        let value = line.value.as_deref().unwrap_or_default();
        let (fate, reason) = match line.key.as_str() {
            "Wants" | "Requires" => {
                for unit in value.split_whitespace().filter_map(|unit| unit.strip_suffix(".service")) {
                    let Some((name, port)) = unit.split_once('@') else { continue };
                    let name = label(&own(name, draft), "service");
                    ports.entry(name).or_default().extend(port.parse::<i64>());
                }
                (Fate::Kept, "`port` and `size.replicas` of the services it wants")
            }
            "Description" => {
                let environment = value.strip_prefix(&format!("{stem} in the environment "));
                if let Some(environment) = environment.filter(|name| label(name, "") == *name) {
                    draft.section("environment", environment).set("target", "local");
                }
                (Fate::Changed, "the environment's name, where it says one")
            }
            _ => (Fate::Changed, "the agent starts and stops the whole application"),
        };
        found.push(entry(file, &line, fate, reason));
    }
    for (name, ports) in ports {
        if let Some(first) = ports.iter().min() {
            let section = draft.section("service", &name);
            section.set("port", *first);
            if ports.len() > 1 {
                section.put("size", "replicas", i64::try_from(ports.len()).unwrap_or(1));
            }
        }
    }
    Ok(found)
}

/// A unit's name without the application's before it.
fn own(stem: &str, draft: &Draft) -> String {
    let short = draft.beside.targets.iter().find_map(|app| stem.strip_prefix(app.as_str())?.strip_prefix('-'));
    short.unwrap_or(stem).to_owned()
}

/// One line of a unit; its value is missing when it is no `Key=Value`.
struct Line {
    number: usize,
    group: String,
    key: String,
    value: Option<String>,
}

/// The lines that say something, those that are continued as one.
fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut group = String::new();
    let mut lines = text.lines().enumerate();
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
        let (key, value) = match whole.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.trim().to_owned())),
            None => (whole, None),
        };
        found.push(Line { number: index + 1, group: group.clone(), key, value });
    }
    found
}

fn entry(file: &File, line: &Line, fate: Fate, reason: &str) -> Entry {
    let key = if line.group.is_empty() { line.key.clone() } else { format!("{}.{}", line.group, line.key) };
    Entry { file: file.name.clone(), line: Some(line.number), key, fate, reason: reason.to_owned(), trap: None }
}

#[expect(clippy::too_many_lines, reason = "a table of what becomes of each")]
fn on_service(name: &str, key: &str, value: &str, draft: &mut Draft) -> (Fate, String) {
    // a timer's service is a job already
    let kind = if draft.has("job", name) { "job" } else { "service" };
    let kept = |place: &str| (Fate::Kept, place.to_owned());
    match key {
        "ExecStart" => {
            let run = started(value.trim_start_matches(['-', '@', ':', '+', '!']), draft);
            draft.section(kind, name).set("run", run);
            kept("`run`")
        }
        "Environment" => {
            for pair in shlex::split(value).unwrap_or_default() {
                let Some((variable, value)) = pair.split_once('=') else { continue };
                let value = &value.replace("%%", "%");
                if variable == "HOST" {
                } else if variable == "PORT" {
                    if let Ok(port) = value.parse::<u16>() {
                        draft.section(kind, name).set("port", i64::from(port));
                    }
                } else if text::is_secret_name(variable) {
                    draft.variable(variable, None, true);
                    draft.section(kind, name).put("env", variable, format!("${{{variable}}}"));
                } else {
                    draft.section(kind, name).put("env", variable, text::literal(value));
                }
            }
            kept("`env`; secrets are variables of the contract, PORT and HOST are told to each instance")
        }
        "EnvironmentFile" => {
            (Fate::Changed, "values come from .env.<environment> and --env-file; declare each in [variable]".to_owned())
        }
        "TimeoutStopSec" => match text::duration(value).and_then(|text| text.parse::<stack::Period>().ok()) {
            Some(whole) if kind == "service" => {
                let (drain, stop) = text::grace(whole.0.as_secs());
                draft.section(kind, name).set("drain", format!("{drain}s")).set("stop", format!("{stop}s"));
                kept("`drain` and `stop`, together as long")
            }
            _ => (Fate::Refused, "not a duration".to_owned()),
        },
        "TimeoutStartSec" => match text::duration(value) {
            Some(period) if kind == "service" => {
                draft.section(kind, name).set("start", period);
                kept("`start`")
            }
            Some(period) => {
                draft.section(kind, name).set("timeout", period);
                kept("`timeout`")
            }
            None => (Fate::Refused, "not a duration".to_owned()),
        },
        "MemoryMax" | "MemoryLimit" | "MemoryHigh" => match text::size(value) {
            Some(size) => {
                draft.section(kind, name).put("size", "memory", size);
                kept("`size.memory`")
            }
            None => (Fate::Refused, "not a size; write it as `size.memory`".to_owned()),
        },
        "CPUQuota" => match quota(value) {
            Some(cpu) => {
                draft.section(kind, name).put("size", "cpu", cpu);
                kept("`size.cpu`")
            }
            None => (Fate::Refused, "not a share; write it as `size.cpu`".to_owned()),
        },
        "StartLimitBurst" if kind == "job" => match value.parse::<i64>() {
            Ok(tries) if tries > 0 => {
                draft.section(kind, name).set("retries", tries - 1);
                kept("`retries`")
            }
            _ => (Fate::Refused, "not a number of tries".to_owned()),
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

/// A share of one CPU in percent, as in `51.2%`, as thousandths of a CPU.
fn quota(value: &str) -> Option<String> {
    let (whole, part) = value.strip_suffix('%')?.split_once('.').unwrap_or((value.strip_suffix('%')?, "0"));
    let tenth = part.bytes().next().filter(u8::is_ascii_digit)? - b'0';
    let millis = whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(u32::from(tenth))?;
    (millis > 0).then(|| format!("{millis}m"))
}

/// The command line of `ExecStart`; a shell around it that only starts it is left out.
fn started(value: &str, draft: &mut Draft) -> String {
    match shlex::split(value) {
        Some(words) if words.len() == 3 && words[0].ends_with("/sh") && words[1] == "-c" => {
            let line = words[2].replace("%%", "%").replace("$$", "$");
            text::command(&["sh".to_owned(), "-c".to_owned(), line])
        }
        _ => text::template(value, draft),
    }
}

fn on_timer(name: &str, key: &str, value: &str, draft: &mut Draft) -> (Fate, String) {
    match key {
        "OnCalendar" => {
            if let Some((cron, zone)) = calendar::cron(value) {
                let section = draft.section("job", name);
                // its unit says all that it is given: it takes nothing of a service
                section.set("dir", ".").set("schedule", cron);
                if let Some(zone) = zone.filter(|zone| zone != "UTC") {
                    section.set("time_zone", zone);
                }
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
        "Persistent" | "AccuracySec" | "RandomizedDelaySec" | "Unit" | "WantedBy" | "PartOf" => {
            (Fate::Changed, "the agent keeps the schedule".to_owned())
        }
        _ => (Fate::Refused, "a setting of systemd that Slipway does not have".to_owned()),
    }
}

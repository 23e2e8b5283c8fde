//! Units for those who run the programs by systemd alone: one per instance by a template, timers for schedules.

use std::fmt::Write as _;

use stack::{Kind, Problems, Schedule, Source};

use crate::{
    File, Input, honours,
    program::{self, Program},
};

pub(crate) fn render(input: &Input, problems: &mut Problems) -> Vec<File> {
    let stack = &input.resolved.stack;
    let app = stack.app.as_str();
    let mut files = Vec::new();
    let mut wanted = Vec::new();
    for program in program::all(stack) {
        if let (_, Source::Image(_) | Source::Dockerfile { .. }) = program.source() {
            let key = format!("{}.image", program.reference());
            problems.push(honours::refusal(
                crate::Target::Systemd,
                &key,
                "an image",
                &["compose", "kubernetes", "terraform"],
            ));
            continue;
        }
        if program.kind == Kind::Service {
            let many = program.size().map_or(1, |size| size.replicas.min);
            let port = program.host.and_then(|(_, service)| service.port);
            let unit = if port.is_some() {
                format!("{app}-{}@.service", program.name)
            } else {
                format!("{app}-{}.service", program.name)
            };
            match port {
                Some(port) => wanted
                    .extend((0..many).map(|at| format!("{app}-{}@{}.service", program.name, u32::from(port) + at))),
                None => wanted.push(unit.clone()),
            }
            files.push(service(input, &program, unit));
            continue;
        }
        files.push(once(input, &program));
        let schedule = match program.kind {
            Kind::Job => stack.jobs.get(program.name).map(|job| &job.schedule),
            _ => stack.functions.get(program.name).and_then(|function| function.schedule.as_ref()),
        };
        if let Some(schedule) = schedule {
            match calendar(schedule) {
                Ok(when) => {
                    wanted.push(format!("{app}-{}.timer", program.name));
                    files.push(timer(input, &program, schedule, &when));
                }
                Err(part) => {
                    let key = format!("{}.schedule", program.reference());
                    problems.push(honours::refusal(
                        crate::Target::Systemd,
                        &key,
                        &format!("`{part}`"),
                        &["kubernetes", "compose"],
                    ));
                }
            }
        }
    }
    let mut body = format!("[Unit]\nDescription={app} in the environment {}\n", input.resolved.name);
    for unit in &wanted {
        let _ = writeln!(body, "Wants={unit}");
    }
    body.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    let about = format!("Everything: systemctl enable --now {app}.target");
    files.push(File::new(format!("{app}.target"), &about, &body));
    files.push(File::new(
        format!("{app}.sysusers.conf"),
        "Goes to /etc/sysusers.d.",
        &format!("u {app} - \"{app}\" /var/lib/{app}\n"),
    ));
    files
}

/// Closed as far as a program that speaks over the network can be.
const CLOSED: &str = "\
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077
";

/// What services and runs have in common.
fn body(input: &Input, program: &Program<'_>) -> String {
    let stack = &input.resolved.stack;
    let app = stack.app.as_str();
    let (_, source) = program.source();
    let dir = match source {
        Source::Folder(folder) if folder.dir != "." => format!("/{}", folder.dir),
        _ => String::new(),
    };
    let mut text = format!("User={app}\nGroup={app}\nWorkingDirectory=/opt/{app}/current{dir}\nStateDirectory={app}\n");
    for (name, variable) in &stack.variables {
        if let Some(default) = &variable.default {
            let _ = writeln!(text, "Environment=\"{name}={}\"", escaped(default));
        }
    }
    for (name, value) in program.env() {
        if !value.contains("${") {
            let _ = writeln!(text, "Environment=\"{name}={}\"", escaped(value));
        }
    }
    // addresses and secrets: read by root, shown to nobody
    let _ = writeln!(text, "EnvironmentFile=/etc/{app}/{}.env", input.resolved.name);
    if let Some(size) = program.size() {
        if let Some(cpu) = size.cpu {
            let _ = match cpu.max.0.max(10) {
                millis if millis % 10 == 0 => writeln!(text, "CPUQuota={}%", millis / 10),
                millis => writeln!(text, "CPUQuota={}.{}%", millis / 10, millis % 10),
            };
        }
        if let Some(memory) = size.memory {
            let _ = writeln!(text, "MemoryHigh={}\nMemoryMax={}", memory.max.0 / 10 * 9, memory.max.0);
        }
    }
    text.push_str(CLOSED);
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

/// A command by a shell, as the stack means it; `exec` so that signals reach the program.
fn command(run: &str) -> String {
    format!("/bin/sh -c \"exec {}\"", escaped(run).replace('$', "$$"))
}

fn service(input: &Input, program: &Program<'_>, unit: String) -> File {
    let app = input.resolved.stack.app.as_str();
    let Some((_, service)) = program.host else { unreachable!("a service is its own host") };
    let port = if service.port.is_some() { "Environment=PORT=%i HOST=127.0.0.1\n" } else { "" };
    let text = format!(
        "[Unit]\nDescription={app}: {name}\nAfter=network-online.target\nWants=network-online.target\nPartOf={app}.target\n\
         StartLimitIntervalSec=60\nStartLimitBurst=10\n\n\
         [Service]\nType=exec\nExecStart={command}\n{port}Restart=always\nRestartSec=1\nRestartSteps=5\nRestartMaxDelaySec=30\n\
         TimeoutStartSec={start}\nTimeoutStopSec={stop}\nKillMode=mixed\n{body}\n[Install]\nWantedBy={app}.target\n",
        name = program.name,
        command = command(program.run().unwrap_or_default()),
        start = service.start.0.as_secs(),
        stop = (service.drain.0 + service.stop.0).as_secs(),
        body = body(input, program),
    );
    // older than systemd 254 knows no steps
    let text = text.replace("RestartSteps=5\nRestartMaxDelaySec=30\n", "");
    let about = if service.port.is_some() {
        format!(
            "One instance of {}; its name is the port it listens on: systemctl start {app}-{}@4000",
            program.name, program.name
        )
    } else {
        format!("The service {}.", program.name)
    };
    File::new(unit, &about, &text)
}

fn once(input: &Input, program: &Program<'_>) -> File {
    let app = input.resolved.stack.app.as_str();
    let timeout = program.command.map_or(3600, |command| command.timeout.0.as_secs());
    let retries = program.command.map_or(0, |command| command.retries);
    let again = if retries > 0 { "Restart=on-failure\nRestartSec=30\n" } else { "" };
    let limit = if retries > 0 {
        format!("StartLimitIntervalSec={}\nStartLimitBurst={}\n", timeout * 2, retries + 1)
    } else {
        String::new()
    };
    let text = format!(
        "[Unit]\nDescription={app}: {name}\nAfter=network-online.target\nWants=network-online.target\n{limit}\n\
         [Service]\nType=oneshot\nExecStart={command}\n{again}TimeoutStartSec={timeout}\n{body}",
        name = program.name,
        command = command(program.run().unwrap_or_default()),
        body = body(input, program),
    );
    let about = format!("The {} {}: one run at a time, systemd never starts a second.", program.kind, program.name);
    File::new(format!("{app}-{}.service", program.name), &about, &text)
}

fn timer(input: &Input, program: &Program<'_>, schedule: &Schedule, when: &str) -> File {
    let app = input.resolved.stack.app.as_str();
    let text = format!(
        "[Unit]\nDescription={app}: {name}, {schedule}\nPartOf={app}.target\n\n[Timer]\nOnCalendar={when}\nPersistent=yes\nAccuracySec=1s\n\n\
         [Install]\nWantedBy={app}.target\n",
        name = program.name,
    );
    File::new(format!("{app}-{}.timer", program.name), &format!("When {} runs.", program.name), &text)
}

/// Five fields of cron as a calendar expression; the part that has no such form otherwise.
fn calendar(schedule: &Schedule) -> Result<String, String> {
    let text = match schedule.cron.as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return Err(text.to_owned()) };
    if day != "*" && weekday != "*" {
        // cron means either, a calendar means both
        return Err(format!("{day} and {weekday} together"));
    }
    let part = |field: &str| -> Result<String, String> {
        let parts: Result<Vec<String>, String> = field
            .split(',')
            .map(|item| {
                let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
                let plain = range == "*" || range.bytes().all(|b| b.is_ascii_digit() || b == b'-');
                if !plain {
                    return Err(item.to_owned());
                }
                let range = range.replace('-', "..");
                Ok(match (range.as_str(), step) {
                    ("*", Some(step)) => format!("0/{step}"),
                    (range, Some(step)) => format!("{range}/{step}"),
                    (range, None) => range.to_owned(),
                })
            })
            .collect();
        parts.map(|parts| parts.join(","))
    };
    let names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let weekday = if weekday == "*" {
        String::new()
    } else {
        let by_name: String = weekday
            .replace('-', "..")
            .split_inclusive(['.', ','])
            .map(|word| {
                let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
                let name = digits.parse::<usize>().ok().and_then(|at| names.get(at));
                name.map_or_else(|| word.to_owned(), |name| word.replacen(&digits, name, 1))
            })
            .collect();
        format!("{by_name} ")
    };
    let day = part(day)?.replace("0/", "1/");
    let month = part(month)?.replace("0/", "1/");
    let zone = if schedule.time_zone == "UTC" { " UTC".to_owned() } else { format!(" {}", schedule.time_zone) };
    Ok(format!("{weekday}*-{month}-{day} {}:{}:00{zone}", part(hour)?, part(minute)?))
}

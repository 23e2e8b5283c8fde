//! How the agent is started on a host: by systemd, or where that is not, by cron.

use super::{HOME, LINK};

/// The service's file.
pub const FILE: &str = "/etc/systemd/system/slipway.service";

/// Where there is no systemd.
pub const CRON_FILE: &str = "/etc/cron.d/slipway";

/// The service's file.
pub fn render() -> String {
    format!(
        "# Written by `slipway host add`, which replaces it. Changes of your own: systemctl edit slipway
[Unit]
Description=Slipway agent
After=network-online.target docker.service
Wants=network-online.target
# It is tried again for ever: what runs here has nobody else who looks after it.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={LINK} agent --home {HOME}
Restart=always
RestartSec=1
# Instances and the edge outlive the agent; each has a control group of its own below the agent's.
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
TimeoutStopSec=30

[Install]
WantedBy=multi-user.target
"
    )
}

/// Starts the agent at boot, under a shim that starts it again when it ends.
pub fn render_cron() -> String {
    format!("# Written by `slipway host add`, which replaces it.\n@reboot root {LINK} agent --keep --home {HOME}\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_unit_file() {
        insta::assert_snapshot!(super::render());
    }
}

//! Taking Slipway off a host.

use super::{GROUP, HOME, LINK, PROGRAMS, firewall, plan::Step, unit};

/// Lists the users of applications.
const APP_USERS: &str = r"getent passwd | sed -n 's/^\(slipway-[^:]*\):.*/\1/p'";

/// Stops everything of Slipway and removes it. What applications wrote and what the host was told stays, unless it is
/// to be purged.
pub fn steps(purge: bool) -> Vec<Step> {
    let mut steps = vec![
        Step::script("stop the agent, now and at every boot", stop()),
        Step::script("take back what was set of its firewall", firewall::undo()),
        Step::script(
            "remove the program",
            format!(
                "rm -rf {PROGRAMS} {LINK} {} {}\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi",
                unit::FILE,
                unit::CRON_FILE
            ),
        ),
    ];
    if purge {
        let home = format!(
            "rm -rf {HOME}\nfor user in $({APP_USERS}); do userdel \"$user\" || :; done\ngroupdel {GROUP} 2>/dev/null || :"
        );
        steps.push(Step::script(format!("remove {HOME} with all data"), home));
    }
    steps
}

/// Ends the agent, what it started, and the keepers of both: asked first, then made to.
fn stop() -> String {
    // Shims and the edge are this program too, whatever its version; programs below shims end with them.
    format!(
        "if [ -d /run/systemd/system ]; then systemctl disable --quiet --now slipway 2>/dev/null || :; fi\n\
         ours() {{ for one in /proc/[0-9]*; do case $(readlink $one/exe 2>/dev/null) in {PROGRAMS}/*) echo ${{one#/proc/}};; esac; done; }}\n\
         for signal in TERM KILL; do\n  left=$(ours); [ -n \"$left\" ] || break\n  kill -$signal $left 2>/dev/null || :\n  \
         n=0; while [ -n \"$(ours)\" ] && [ $n -lt 150 ]; do sleep 0.1; n=$((n + 1)); done\ndone\n\
         for user in $({APP_USERS}); do pkill -KILL -u \"$user\" || :; done"
    )
}

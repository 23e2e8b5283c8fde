//! Making a host harder to break into. Only what was asked for, and never without a way back in.

use super::{
    Facts,
    plan::{Act, Step, write},
};

/// Slipway's file for sshd. The first value of an option counts, hence the name.
pub const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/00-slipway.conf";

const SSHD: &str = "# Written by `slipway host harden`, which replaces it.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
";

/// Lets sshd take keys only. Nothing where it does already. Before sshd loads it, a second one with the new configuration
/// has let the user in, over the connection at hand; afterwards a new connection proves it again. Otherwise everything is
/// put back.
pub fn sshd(facts: &Facts) -> Option<Step> {
    let is = |name: &str, values: &[&str]| facts.sshd.get(name).is_some_and(|value| values.contains(&value.as_str()));
    let hard = is("passwordauthentication", &["no"])
        && is("kbdinteractiveauthentication", &["no"])
        && is("permitrootlogin", &["no", "without-password", "prohibit-password"]);
    if hard || facts.sshd_file.as_deref() == Some(SSHD) {
        return None;
    }
    let change = format!(
        "PATH=$PATH:/usr/sbin:/sbin\n\
         grep -qi '^ *include .*sshd_config\\.d' /etc/ssh/sshd_config || {{ \
         echo 'its sshd reads no folder sshd_config.d; add at the top of /etc/ssh/sshd_config: Include /etc/ssh/sshd_config.d/*.conf' >&2; exit 1; }}\n\
         {}\nsshd -t || exit 1",
        write(SSHD_FILE, SSHD, "644")
    );
    let undo = facts.sshd_file.as_deref().map_or(format!("rm -f {SSHD_FILE}"), |old| write(SSHD_FILE, old, "644"));
    let apply =
        "systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || kill -HUP \"$(cat /run/sshd.pid)\"";
    let act = Act::Rehearsed { change, apply: apply.to_owned(), undo };
    Some(Step { title: "let sshd take keys only, no passwords".to_owned(), act })
}

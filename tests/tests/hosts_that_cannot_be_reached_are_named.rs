//! Whatever keeps a machine from becoming a host is told with its mend, all at once, and changes nothing.

use stories::{Hosts, Story};

// proves S4.P1 (every problem at once) for hosts
#[test]
fn every_machine_tells_its_problem_and_none_is_changed() {
    let hosts = Hosts::start(2);
    let story = Story::empty();
    let (good, other) = (hosts.destination(0), hosts.address(1));
    let add = |machines: &[&str]| {
        let mut arguments = vec!["host", "add", "--yes"];
        arguments.extend(machines);
        hosts.slipway(&story, &arguments).expect(1).stderr
    };

    let said = add(&[&good, &format!("guest@{other}"), &format!("pilot@{other}"), "deploy@no-such-host.invalid"]);
    assert!(
        said.contains(&format!("guest@{other}: the user `guest` may not become root without a password")),
        "{said}"
    );
    assert!(said.contains(&format!("ssh-copy-id pilot@{other}")), "{said}");
    assert!(said.contains("no-such-host.invalid: its name is not known"), "{said}");
    assert!(said.contains("3 problems; nothing was changed"), "{said}");
    assert!(!hosts.root(0).join("usr/local/lib/slipway").exists(), "the good one is left as it was");

    hosts.run(1, "systemctl stop ssh").expect(0);
    let said = add(&[&hosts.destination(1)]);
    assert!(said.contains("refused the connection") && said.contains("start sshd there"), "{said}");

    hosts.forget_keys();
    let said = add(&[&good]);
    assert!(said.contains(&format!("`ssh-keyscan -H {} >> ~/.ssh/known_hosts`", hosts.address(0))), "{said}");

    hosts.learn_keys();
    hosts.run(0, "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh")
        .expect(0);
    let said = add(&[&good]);
    assert!(said.contains("WARNING") && said.contains(&format!("`ssh-keygen -R {}`", hosts.address(0))), "{said}");

    let odd = hosts.slipway(&story, &["host", "add", "--", "-oProxyCommand=id"]).expect(1).stderr;
    assert!(odd.contains("is no host"), "{odd}");
}

#[test]
fn a_full_disk_and_a_port_that_is_taken_are_told_before_anything_is_sent() {
    let hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));
    hosts
        .run(0, "mkdir -p /var/lib/slipway && mount -t tmpfs -o size=8m tmpfs /var/lib/slipway; setsid sleep 600 >/dev/null 2>&1 &")
        .expect(0);
    let said = hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(1).stderr;
    assert!(said.contains("there is room for 8.3 MB below /var/lib/slipway"), "{said}");
    let said = hosts.slipway(&story, &["host", "check", &host]).expect(1).stdout;
    assert!(said.contains("mount a larger disk at /var/lib/slipway"), "{said}");
}

#[test]
fn hardening_keeps_the_way_in() {
    let hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));
    hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(0);
    hosts.slipway(&story, &["host", "harden", &host, "--yes"]).expect(2);
    let asked = hosts.slipway(&story, &["host", "harden", &host, "--ssh", "--firewall"]).expect(2);
    assert!(
        asked.stdout.contains("PasswordAuthentication no") && asked.stdout.contains("policy drop"),
        "{}",
        asked.stdout
    );
    assert_eq!(hosts.ask(0, "sshd -T | grep ^passwordauthentication"), "passwordauthentication yes", "asked first");

    hosts.slipway(&story, &["host", "harden", &host, "--ssh", "--firewall", "--yes"]).expect(0);
    let sshd = hosts
        .ask(0, "sshd -T | grep -E '^(passwordauthentication|permitrootlogin|kbdinteractiveauthentication)' | sort");
    assert_eq!(sshd, "kbdinteractiveauthentication no\npasswordauthentication no\npermitrootlogin without-password");
    let rules = hosts.ask(0, "nft list table inet slipway");
    assert!(rules.contains("policy drop") && rules.contains("22"), "{rules}");
    hosts.slipway(&story, &["host", "list", &host]).expect(0);
    let again = hosts.slipway(&story, &["host", "harden", &host, "--ssh", "--firewall", "--yes"]).expect(0).stderr;
    assert!(again.contains("nothing was changed"), "{again}");

    // a change that would lock everybody out is put back: here by a line that sshd has not read yet
    let file = "/etc/ssh/sshd_config.d/00-slipway.conf";
    hosts.run(0, &format!("rm {file}; echo AuthorizedKeysFile none > /etc/ssh/sshd_config.d/99-odd.conf")).expect(0);
    let said = hosts.slipway(&story, &["host", "harden", &host, "--ssh", "--yes"]).expect(1).stderr;
    assert!(said.contains("lets nobody in with these keys"), "{said}");
    hosts.run(0, &format!("test -e {file}")).expect(1);
}

//! Hardening shows what it does, does it once, keeps every way in that is needed, and is taken back.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use stories::{Hosts, Story, visit};

/// Whether a port of a host lets this machine in; a firewall is silent, an open port where nobody listens refuses.
fn open(hosts: &Hosts, index: usize, port: u16) -> bool {
    let address = SocketAddr::from((hosts.address(index), port));
    match TcpStream::connect_timeout(&address, Duration::from_millis(700)) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// The same from one host to another.
fn open_between(hosts: &Hosts, from: usize, to: usize, port: u16) -> bool {
    let script = format!("timeout 2 bash -c 'echo > /dev/tcp/{}/{port}' 2>&1", hosts.address(to));
    let outcome = hosts.run(from, &script);
    outcome.code == 0 || outcome.stdout.contains("refused")
}

// proves issue 3, item 2: firewall rules on request, shown first
#[test]
fn ufw_lets_in_what_is_needed_and_nothing_of_the_owner_is_changed() {
    let hosts = Hosts::start(2);
    hosts.with_ufw(0);
    let story = hosts.harbour("harbour", 2);
    // visitors come to another port than the usual ones
    let stack = story.read("slipway.toml");
    story
        .write("slipway.toml", &stack.replace("target = \"hosts\"", "target = \"hosts\"\nlisten = [\"0.0.0.0:8080\"]"));
    hosts.add(&story);
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let edge = SocketAddr::from((hosts.address(0), 8080));
    let serves = || visit(edge, "harbour.test", "/").map(|answer| answer.0);
    assert_eq!(serves(), Ok(200));
    // rules that the owner made, one of them for a port that Slipway needs
    hosts.run(0, "ufw allow 80/tcp && ufw allow 9999/tcp comment mine").expect(0);
    let before = hosts.ask(0, "ufw show added");

    let harden = |more: &[&str]| {
        let host = hosts.destination(0);
        hosts.slipway(&story, &[&["host", "harden", &host, "--firewall"], more].concat())
    };
    let shown = harden(&["--dry-run"]).expect(0).stdout;
    assert!(shown.contains("ufw allow 22/tcp comment slipway") && shown.contains("ufw allow 8080/tcp"), "{shown}");
    assert!(!shown.contains("ufw allow 80/tcp"), "that rule is there: {shown}");
    assert_eq!(hosts.ask(0, "ufw status; ufw show added"), format!("Status: inactive\n{before}"));
    assert!(open(&hosts, 0, 5555));

    harden(&["--yes"]).expect(0);
    assert!(hosts.ask(0, "ufw status").starts_with("Status: active"));
    assert!(harden(&["--yes"]).expect(0).stderr.contains("nothing was changed"));
    for port in [22, 80, 443, 8080, 9999, 7350, 7351, 14_000, 19_999] {
        assert!(open(&hosts, 0, port), "port {port}");
        assert!(open_between(&hosts, 1, 0, port), "port {port}");
    }
    for port in [5555, 4000, 7349, 13_999, 20_000] {
        assert!(!open(&hosts, 0, port), "port {port}");
    }
    assert!(!open_between(&hosts, 1, 0, 5555));
    story.mark("two");
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    assert_eq!(serves(), Ok(200));

    hosts.slipway(&story, &["host", "remove", &hosts.destination(0), "--yes"]).expect(0);
    assert_eq!(hosts.ask(0, "ufw status; ufw show added"), format!("Status: inactive\n{before}"));
    hosts.run(0, "test -e /etc/slipway.ufw").expect(1);
}

// proves issue 3, item 2: hardening keeps the way in
#[test]
fn what_would_lock_you_out_is_refused_or_put_back() {
    let hosts = Hosts::start(1);
    hosts.with_ufw(0);
    let (story, host) = (Story::empty(), hosts.destination(0));
    let harden = |what: &str| hosts.slipway(&story, &["host", "harden", &host, what, "--yes"]).expect(1).stderr;
    hosts.run(0, "ufw deny 22/tcp").expect(0);
    let said = harden("--firewall");
    assert!(said.contains("ufw delete deny 22/tcp"), "{said}");

    // a firewall that closes what the rules open
    hosts.run(0, "ufw delete deny 22/tcp; sed -i '0,/^COMMIT/s//-I ufw-before-input -p tcp --dport 22 --syn -j REJECT --reject-with tcp-reset\\nCOMMIT/' /etc/ufw/before.rules").expect(0);
    let said = harden("--firewall");
    assert!(said.contains("refused the connection"), "{said}");
    assert_eq!(hosts.ask(0, "ufw status; ufw show added").lines().next(), Some("Status: inactive"));
    assert!(hosts.ask(0, "ufw show added").contains("(None)"), "{}", hosts.ask(0, "ufw show added"));
    let said = hosts.slipway(&story, &["host", "check", &host]).expect(1).stdout;
    assert!(said.contains("kernel"), "there is a way in: {said}");

    // an sshd that would let nobody in any more is not even told to load its configuration
    let odd = "/etc/ssh/sshd_config.d/99-odd.conf";
    hosts.run(0, &format!("echo AuthorizedKeysFile none > {odd}")).expect(0);
    let said = harden("--ssh");
    assert!(said.contains("lets nobody in with these keys"), "{said}");
    hosts.run(0, "test -e /etc/ssh/sshd_config.d/00-slipway.conf").expect(1);
    assert_eq!(hosts.ask(0, "journalctl --unit ssh --output cat | grep -c 'Received SIGHUP'; :"), "0");
    // and one whose configuration is wrong is named
    hosts.run(0, &format!("echo Colour blue > {odd}")).expect(0);
    let said = harden("--ssh");
    assert!(said.contains("Colour"), "{said}");
    hosts.run(0, &format!("rm {odd}")).expect(0);
    hosts.slipway(&story, &["host", "harden", &host, "--ssh", "--yes"]).expect(0);
}

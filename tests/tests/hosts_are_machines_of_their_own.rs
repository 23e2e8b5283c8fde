//! The testbed itself: what its stories rely on.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use stories::{Hosts, until};

fn ssh(hosts: &Hosts, destination: &str, line: &str) -> Result<String, String> {
    let mut command = Command::new("ssh");
    hosts.reach(&mut command);
    let output = command
        .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=yes", destination, line])
        .stdin(Stdio::null())
        .output()
        .expect("ssh starts; apt-get install openssh-client");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn each_has_an_address_a_systemd_and_an_sshd_and_can_be_cut_slowed_and_rebooted() {
    let mut hosts = Hosts::start(2);
    for index in 0..2 {
        let destination = hosts.destination(index);
        assert_eq!(ssh(&hosts, &destination, "sudo -n id -u").expect("an answer"), "0");
        assert_eq!(ssh(&hosts, &format!("host{index}"), "ps -o comm= 1").expect("an answer"), "systemd");
    }
    let each_other = format!("timeout 5 bash -c 'echo > /dev/tcp/{}/22'", hosts.address(1));
    hosts.run(0, &each_other).expect(0);

    hosts.cut(1);
    assert!(ssh(&hosts, "host1", "true").is_err());
    assert_ne!(hosts.run(0, &each_other).code, 0);
    hosts.mend(1);
    until("the host behind the mended cable", Duration::from_secs(20), || ssh(&hosts, "host1", "true").ok());

    hosts.slow(0, 800);
    let began = Instant::now();
    ssh(&hosts, "host0", "head -c 200000 /dev/urandom").expect("an answer");
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?} for 200 kB at 100 kB/s", began.elapsed());
    hosts.mend(0);
    hosts.lossy(0, 0.05);
    ssh(&hosts, "host0", "head -c 200000 /dev/urandom").expect("an answer, after repetitions");
    hosts.mend(0);

    hosts.run(0, "echo kept > /root/kept; sync").expect(0);
    hosts.reboot(0);
    assert_eq!(hosts.ask(0, "cat /root/kept"), "kept");

    hosts.forget_keys();
    assert!(ssh(&hosts, "host0", "true").expect_err("a stranger").contains("Host key verification failed"));
}

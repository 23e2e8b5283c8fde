//! What servers that keep data ask of a shim: a user of their own, a folder that others cannot enter, their own signal.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    time::Duration,
};

use crate::bed::Bed;
use agent::shim::{Ending, HANDED_FOLDER, StopSignal};

#[tokio::test]
async fn a_server_can_be_told_to_end_by_interrupt() {
    let bed = Bed::new();
    let script = "trap 'exit 7' INT; trap 'exit 8' TERM; echo up; while :; do sleep 0.01; done";
    let mut spec = bed.sh(script);
    spec.stop_signal = StopSignal::Interrupt;
    let running = bed.start(&spec).await;
    bed.line("up").await;
    assert_eq!(running.stop(Duration::from_secs(20)).await.unwrap().ending, Ending::Code(7));
}

#[tokio::test]
async fn a_folder_that_is_handed_on_is_found_and_handed_on_in_turn() {
    let bed = Bed::new();
    let data = bed.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut spec = bed.sh(&format!("cd /; echo one > {HANDED_FOLDER}/file; sh -c 'cat {HANDED_FOLDER}/file'"));
    spec.hand = Some(data.clone());
    let running = bed.start(&spec).await;
    bed.line("one").await;
    running.wait().await.unwrap();
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "one\n");
}

#[tokio::test]
async fn a_server_has_its_users_rights_and_no_others() {
    let bed = Bed::new();
    let user = nix::unistd::User::from_name("nobody").unwrap().expect("every machine has this user");
    // Nobody but the owner may enter what lies around the data.
    fs::set_permissions(bed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let data = bed.path().join("data");
    fs::create_dir(&data).unwrap();
    let script = format!(
        "id -u; id -G; pwd -P; ls {} || echo closed; echo kept > {HANDED_FOLDER}/file && echo > file2; ls {HANDED_FOLDER}/",
        bed.path().display()
    );
    let mut spec = bed.sh(&script);
    spec.cwd.clone_from(&data);
    spec.hand = Some(data.clone());
    spec.user = Some(user.name.clone());
    if !nix::unistd::geteuid().is_root() {
        let refused = agent::shim::start(crate::bed::binary(), &bed.folder(), &spec).await.unwrap_err().to_string();
        assert!(refused.contains("becoming user `nobody`"), "{refused}");
        assert!(refused.contains("run the agent as root"), "{refused}");
        return;
    }
    chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let running = bed.start(&spec).await;
    bed.line("file2").await;
    running.wait().await.unwrap();
    let lines = bed.lines();
    assert_eq!(lines[0], user.uid.to_string());
    assert_eq!(lines[1], user.gid.to_string());
    assert!(lines.contains(&"closed".to_owned()), "{lines:#?}");
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "kept\n");

    let mut spec = bed.sh("true");
    spec.user = Some("no-such-user".to_owned());
    let refused = agent::shim::start(crate::bed::binary(), &bed.folder(), &spec).await.unwrap_err().to_string();
    assert!(refused.contains("there is no user `no-such-user` on this machine"), "{refused}");
}

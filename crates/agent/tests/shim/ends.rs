//! How programs start and end under a shim.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use crate::bed::{Bed, binary, eventually, is_alive};
use agent::shim::{self, Adopted, Ending, Refusal, ShimError, Waited};

async fn ending(script: &str) -> Ending {
    let bed = Bed::new();
    let running = bed.start(&bed.sh(script)).await;
    let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!(exit.generation, 1);
    assert!(!exit.oom);
    let Adopted::Ended(found) = shim::adopt(&bed.folder()).unwrap() else { panic!("not ended") };
    assert_eq!(found, exit);
    exit.ending
}

#[tokio::test]
async fn exit_codes_and_signals_are_exact() {
    for code in [0, 1, 3, 77, 127, 255] {
        assert_eq!(ending(&format!("exit {code}")).await, Ending::Code(code));
    }
    for signal in [2, 6, 9, 11, 15] {
        assert_eq!(ending(&format!("ulimit -c 0; kill -{signal} $$; sleep 60")).await, Ending::Signal(signal));
    }
}

#[tokio::test]
async fn a_program_that_takes_term_ends_by_itself() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.01; done")).await;
    bed.line("up").await;
    let exit = running.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.ending, Ending::Code(4));
    // The shell may also tell that its `sleep` was struck by the same signal.
    assert!(bed.lines().contains(&"bye".to_owned()));
    assert!(!is_alive(running.pid()) && !is_alive(running.shim_pid()));
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_in_time() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("trap '' TERM; echo up; while :; do sleep 0.01; done")).await;
    bed.line("up").await;
    let began = std::time::Instant::now();
    let exit = running.stop(Duration::from_millis(300)).await.unwrap();
    assert_eq!(exit.ending, Ending::Signal(9));
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_stopped_program_takes_term() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("trap 'exit 4' TERM; echo up; kill -STOP $$; while :; do sleep 0.01; done")).await;
    bed.line("up").await;
    let exit = running.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.ending, Ending::Code(4));
}

#[tokio::test]
async fn term_to_the_shim_stops_the_program() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done")).await;
    bed.line("up").await;
    let shim = rustix::process::Pid::from_raw(i32::try_from(running.shim_pid()).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::TERM).unwrap();
    let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!(exit.ending, Ending::Code(4));
}

#[tokio::test]
async fn a_daemon_that_fled_its_session_dies_on_stop() {
    let bed = Bed::new();
    let file = bed.path().join("daemon.pid");
    let running = bed.start(&bed.play(&["daemon", file.to_str().unwrap()])).await;
    eventually("a daemon", || file.exists()).await;
    let daemon: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(is_alive(daemon));
    let exit = running.stop(Duration::from_millis(500)).await.unwrap();
    assert_eq!(exit.ending, Ending::Signal(15));
    assert!(!is_alive(daemon), "the grandchild lives on");
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("setsid sleep 600 & echo $!; exit 3")).await;
    let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!(exit.ending, Ending::Code(3));
    let left: u32 = bed.lines()[0].parse().unwrap();
    assert!(!is_alive(left));
}

#[tokio::test]
async fn a_partial_last_line_is_kept() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("printf 'one\\ntwo'; printf oops >&2; exit 1")).await;
    running.wait().await.unwrap();
    let mut lines = bed.lines();
    lines.sort();
    assert_eq!(lines, ["one", "oops", "two"]);
}

#[tokio::test]
async fn a_program_that_cannot_start_is_refused_with_a_mend() {
    let bed = Bed::new();
    let refused = async |spec| match shim::start(binary(), &bed.folder(), &spec).await {
        Err(ShimError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let refusal = refused(bed.spec(&["no-such-program"])).await;
    assert!(matches!(&refusal, Refusal::NotFound { program, .. } if program == "no-such-program"));
    assert!(refusal.to_string().contains("/usr/bin"), "{refusal}");

    fs::write(bed.path().join("run.sh"), "echo hi").unwrap();
    let refusal = refused(bed.spec(&["./run.sh"])).await;
    assert!(refusal.to_string().contains("chmod +x"), "{refusal}");

    fs::write(bed.path().join("run.sh"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(bed.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let refusal = refused(bed.spec(&["./run.sh"])).await;
    assert!(refusal.to_string().contains("interpreter"), "{refusal}");

    let mut spec = bed.sh("true");
    spec.cwd = bed.path().join("missing");
    assert!(matches!(refused(spec).await, Refusal::NoFolder { .. }));

    let mut spec = bed.sh("true");
    spec.instance = "../escape".to_owned();
    assert!(matches!(refused(spec).await, Refusal::BadSpec { .. }));
    assert!(matches!(shim::adopt(&bed.folder()).unwrap(), Adopted::Gone));
}

#[tokio::test]
async fn one_folder_has_one_program() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("sleep 600")).await;
    let second = shim::start(binary(), &bed.folder(), &bed.sh("sleep 600")).await;
    assert!(matches!(second, Err(ShimError::Busy { pid, .. }) if pid == running.pid()), "{second:?}");
    assert_eq!(running.kill().await.unwrap().ending, Ending::Signal(9));
    let again = bed.start(&bed.sh("exit 5")).await;
    let Waited::Ended(exit) = again.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!(exit.ending, Ending::Code(5));
}

#[tokio::test]
async fn a_program_gets_its_environment_and_nothing_else() {
    let bed = Bed::new();
    let mut spec = bed.sh("env; ulimit -n; cat /proc/self/status | grep NoNewPrivs");
    spec.env.insert("GREETING".to_owned(), "hello".to_owned());
    spec.limits.open_files = Some(123);
    bed.start(&spec).await.wait().await.unwrap();
    let lines = bed.lines();
    let names: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in &names {
        assert!(
            ["GREETING", "SLIPWAY_SHIM_SOCKET", "PATH", "HOME", "LANG", "TZ", "PWD", "OLDPWD", "_", "SHLVL"]
                .contains(name),
            "{name} leaked"
        );
    }
    assert!(names.contains(&"GREETING") && names.contains(&"PATH"));
    assert!(lines.iter().any(|line| line == "123"), "{lines:?}");
    assert!(lines.iter().any(|line| line == "NoNewPrivs:\t1"), "{lines:?}");
}

#[tokio::test]
async fn no_file_of_the_shim_leaks_into_the_program() {
    let bed = Bed::new();
    bed.start(&bed.play(&["files"])).await.wait().await.unwrap();
    let lines = bed.lines();
    assert_eq!(&lines[1..], ["open 3", "stdin 0"]);
}

#[tokio::test]
async fn a_kept_program_is_started_again_until_it_ends_well() {
    let bed = Bed::new();
    let mut spec = bed.sh("n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; echo run $n; test $n -ge 3");
    spec.keep = true;
    let running = bed.start(&spec).await;
    let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!((exit.ending, exit.generation), (Ending::Code(0), 3));
    assert_eq!(running.refreshed().unwrap().generation, 3);
    let lines = bed.lines();
    assert_eq!(
        lines,
        [
            "run 1",
            "exited with code 1; starting it again in 100 ms",
            "run 2",
            "exited with code 1; starting it again in 200 ms",
            "run 3"
        ]
    );
}

#[tokio::test]
async fn a_kept_program_that_waits_for_its_next_start_can_be_stopped() {
    let bed = Bed::new();
    let mut spec = bed.sh("exit 1");
    spec.keep = true;
    let running = bed.start(&spec).await;
    eventually("some starts", || bed.lines().len() >= 3).await;
    let exit = running.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.ending, Ending::Code(1));
    assert!(!is_alive(running.shim_pid()));
}

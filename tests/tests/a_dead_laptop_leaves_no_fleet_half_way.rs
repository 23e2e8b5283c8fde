//! The laptop that deploys dies at any step: the hosts come to one decision among themselves, and the next deploy works.
//!
//! The moments are random: it prints its seed, and `SLIPWAY_SEED=<number>` repeats them.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use stories::{Fleet, until};

const LEASE: Duration = Duration::from_secs(3);
/// How much longer than the lease the hosts may take on a machine that has much else to do; two seconds otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

// proves issue 3, 4 (a dead laptop returns the fleet to its last committed release)
#[test]
fn hosts_whose_laptop_died_come_to_one_decision() {
    let seed = std::env::var("SLIPWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SLIPWAY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fleet = Fleet::start(3);
    let load = fleet.load(&[0, 1, 2]);
    let lease = format!("{}s", LEASE.as_secs());
    let mut serving = "one".to_owned();

    // before the commit point, and after it
    fleet.rollout("50% for 30s, 100%");
    let deploy = fleet.begin("half", &["--lease", &lease]);
    until("half of the visitors", Duration::from_mins(1), || last_is(&fleet, "\"bake\""));
    deploy.kill();
    assert_eq!(decided(&fleet), serving, "a deploy that was not committed is undone");
    fleet.rollout("100% for 30s");
    let deploy = fleet.begin("all", &["--lease", &lease]);
    until("all of the visitors", Duration::from_mins(1), || last_is(&fleet, "\"bake\""));
    deploy.kill();
    "all".clone_into(&mut serving);
    assert_eq!(decided(&fleet), serving, "a deploy that was committed is finished");

    // anywhere
    fleet.rollout("50% for 300ms, 100% for 1s");
    let started = Instant::now();
    assert_eq!(fleet.begin("calm", &["--lease", &lease]).end(), 0, "{}", fleet.said());
    let long = started.elapsed();
    "calm".clone_into(&mut serving);
    for round in 0..3 {
        let marker = format!("round-{round}");
        let moment = long.mul_f64(random.random_range(0.1..1.0));
        let deploy = fleet.begin(&marker, &["--lease", &lease]);
        std::thread::sleep(moment);
        deploy.kill();
        let decision = decided(&fleet);
        println!("round {round}: killed after {moment:.1?}, {decision} serves");
        assert!(decision == marker || decision == serving, "{decision} serves, not {marker} or {serving}");
        serving = decision;
    }
    fleet.story.mark("last");
    fleet.slipway(&["deploy", "--yes"]).expect(0);
    fleet.level("last");
    let report = load.stop();
    println!("{} requests, the slowest took {:.1?}", report.requests, report.slowest);
    assert_eq!(report.failures, Vec::<String>::new(), "of {} requests", report.requests);
}

/// Waits until the hosts have decided; returns what serves.
fn decided(fleet: &Fleet) -> String {
    let killed = Instant::now();
    until("an end in the journals of all hosts", LEASE + PATIENCE, || {
        (0..3)
            .all(|index| fleet.journal(index).lines().last().is_some_and(|line| line.contains("\"ended\"")))
            .then_some(())
    });
    let decided = killed.elapsed();
    let serving = fleet.settled();
    println!("decided {decided:.1?} after the laptop died, level after {:.1?}", killed.elapsed());
    serving
}

fn last_is(fleet: &Fleet, what: &str) -> Option<()> {
    fleet.journal(0).lines().last()?.contains(what).then_some(())
}

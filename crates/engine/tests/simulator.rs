//! The deploy protocol in a simulated world.

#![expect(clippy::disallowed_methods, reason = "the test itself lives in the real world")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use engine::sim::{
    mutant::Mutant,
    story::{Ending, run},
};

/// A seed and the law it broke.
type Broken = (u64, String);

/// How many hosts a seed has: one, or two to five.
#[derive(Clone, Copy)]
enum Hosts {
    One,
    Many,
}

impl Hosts {
    fn of(self, seed: u64) -> usize {
        match self {
            Hosts::One => 1,
            Hosts::Many => 2 + usize::try_from(seed % 4).expect("small"),
        }
    }
}

/// Runs `seeds` on every core, or until one breaks a law; the lowest that did, and the sums.
fn run_all(seeds: u64, hosts: Hosts, mutant: Mutant) -> (Option<Broken>, Ending) {
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(2, Into::into);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(seeds, hosts, mutant, &next))).collect();
        let mut all = (None, Ending::default());
        for worker in workers {
            let (broken, sums) = worker.join().expect("a worker does not panic");
            all.0 = all.0.into_iter().chain(broken).min_by_key(|(seed, _)| *seed);
            add(&mut all.1, &sums);
        }
        all
    })
}

/// Takes seeds from `next` until there are none, or one breaks a law.
fn work(seeds: u64, hosts: Hosts, mutant: Mutant, next: &AtomicU64) -> (Option<Broken>, Ending) {
    let mut sums = Ending::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return (None, sums);
        }
        let ending = run(seed, hosts.of(seed), mutant, false);
        add(&mut sums, &ending);
        if let Some(law) = ending.violation {
            next.store(seeds, Ordering::Relaxed); // the others stop
            return (Some((seed, law)), sums);
        }
    }
}

fn add(sums: &mut Ending, ending: &Ending) {
    sums.deploys += ending.deploys;
    for (sum, count) in sums.outcomes.iter_mut().zip(ending.outcomes) {
        *sum += count;
    }
    sums.killed += ending.killed;
    sums.recovered += ending.recovered;
    sums.fenced += ending.fenced;
    sums.without_some += ending.without_some;
}

fn of_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run_and_tell(seeds: u64, hosts: Hosts) {
    let began = std::time::Instant::now();
    let (found, sums) = run_all(seeds, hosts, Mutant::None);
    println!(
        "{seeds} seeds in {:.1} s: {} deploys ({} succeeded, {} failed, {} rolled back), {} engines killed, {} deploys \
         recovered by a host, {} engines fenced off, {} succeeded while a host was off",
        began.elapsed().as_secs_f64(),
        sums.deploys,
        sums.outcomes[0],
        sums.outcomes[1],
        sums.outcomes[2],
        sums.killed,
        sums.recovered,
        sums.fenced,
        sums.without_some
    );
    if let Some((seed, law)) = found {
        let hosts = hosts.of(seed);
        panic!(
            "seed {seed}: {law}\n\n    SLIPWAY_SIM_SEED={seed} SLIPWAY_SIM_HOSTS={hosts} cargo test -p engine one_seed \
             -- --nocapture\n"
        );
    }
}

// proves S4.P2, S4.P3, S4.P11, S4.E5: and the laws (a) to (g) of the simulator
#[test]
fn a_hundred_thousand_seeds() {
    run_and_tell(100_000, Hosts::One);
}

// proves S4.1, S4.5, S4.9: hosts that die and return, links that are cut, at most one outcome, the same on every host
#[test]
fn many_hosts() {
    run_and_tell(of_environment("SLIPWAY_SIM_SEEDS").unwrap_or(6000), Hosts::Many);
}

/// Tells the story of the seed in `SLIPWAY_SIM_SEED`, or of seed 1, on the hosts in `SLIPWAY_SIM_HOSTS`, or one.
#[test]
fn one_seed() {
    let seed = of_environment("SLIPWAY_SIM_SEED").unwrap_or(1);
    let hosts = of_environment("SLIPWAY_SIM_HOSTS").map_or(1, |hosts| usize::try_from(hosts).expect("a few"));
    let ending = run(seed, hosts, Mutant::None, true);
    println!("seed {seed}");
    for line in &ending.story {
        println!("{line}");
    }
    assert_eq!(ending.violation, None, "seed {seed} breaks a law");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for (seed, hosts) in (0..200).map(|seed| (seed, 1)).chain((0..40).map(|seed| (seed, Hosts::Many.of(seed)))) {
        let story = || run(seed, hosts, Mutant::None, true).story;
        assert_eq!(story(), story(), "seed {seed}");
    }
}

#[test]
fn every_broken_world_is_found_out() {
    let mut unnoticed = Vec::new();
    let one = Mutant::ALL.into_iter().map(|mutant| (mutant, Hosts::One));
    for (mutant, hosts) in one.chain(Mutant::MANY.into_iter().map(|mutant| (mutant, Hosts::Many))) {
        match run_all(3000, hosts, mutant).0 {
            Some((seed, law)) => println!("{mutant:?} is found out at seed {seed}: {law}"),
            None => unnoticed.push(mutant),
        }
    }
    assert_eq!(unnoticed, [], "these went unnoticed for 3000 seeds");
}

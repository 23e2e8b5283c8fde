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

/// Runs `seeds` on every core, or until one breaks a law; the lowest that did, and the sums.
fn run_all(seeds: u64, mutant: Mutant) -> (Option<Broken>, Ending) {
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(2, Into::into);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(seeds, mutant, &next))).collect();
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
fn work(seeds: u64, mutant: Mutant, next: &AtomicU64) -> (Option<Broken>, Ending) {
    let mut sums = Ending::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return (None, sums);
        }
        let ending = run(seed, mutant, false);
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
}

fn seed_of_environment() -> Option<u64> {
    std::env::var("SLIPWAY_SIM_SEED").ok()?.parse().ok()
}

// proves S4.P2, S4.P3, S4.P11, S4.E5: and the laws (a) to (g) of the simulator
#[test]
fn a_hundred_thousand_seeds() {
    let began = std::time::Instant::now();
    let (found, sums) = run_all(100_000, Mutant::None);
    println!(
        "100000 seeds in {:.1} s: {} deploys ({} succeeded, {} failed, {} rolled back), {} engines killed, {} deploys \
         recovered by the host, {} engines fenced off",
        began.elapsed().as_secs_f64(),
        sums.deploys,
        sums.outcomes[0],
        sums.outcomes[1],
        sums.outcomes[2],
        sums.killed,
        sums.recovered,
        sums.fenced
    );
    if let Some((seed, law)) = found {
        panic!("seed {seed}: {law}\n\n    SLIPWAY_SIM_SEED={seed} cargo test -p engine one_seed -- --nocapture\n");
    }
}

/// Tells the story of the seed in `SLIPWAY_SIM_SEED`, or of seed 1.
#[test]
fn one_seed() {
    let seed = seed_of_environment().unwrap_or(1);
    let ending = run(seed, Mutant::None, true);
    println!("seed {seed}");
    for line in &ending.story {
        println!("{line}");
    }
    assert_eq!(ending.violation, None, "seed {seed} breaks a law");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..200 {
        assert_eq!(run(seed, Mutant::None, true).story, run(seed, Mutant::None, true).story, "seed {seed}");
    }
}

#[test]
fn every_broken_world_is_found_out() {
    let mut unnoticed = Vec::new();
    for mutant in Mutant::ALL {
        match run_all(3000, mutant).0 {
            Some((seed, law)) => println!("{mutant:?} is found out at seed {seed}: {law}"),
            None => unnoticed.push(mutant),
        }
    }
    assert_eq!(unnoticed, [], "these went unnoticed for 3000 seeds");
}

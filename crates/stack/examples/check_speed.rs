//! Prints how long `check` takes on a generated stack beside the bar of 50 ms:
//! `cargo run --release -p stack --example check_speed -- 200`

use std::time::{Duration, Instant};

/// What `check` of 200 services may take.
const BAR: Duration = Duration::from_millis(50);

fn main() {
    let services = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200);
    let text = stack::sample::many_services(services);
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let start = Instant::now();
            assert!(stack::check("slipway.toml", &text).is_empty(), "the sample has no problems");
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times[times.len() / 2];
    let ratio = median.as_secs_f64() / BAR.as_secs_f64();
    println!("check of {services} services, 3 environments, {} bytes: {median:.1?}, {ratio:.2} of {BAR:?}", text.len());
}

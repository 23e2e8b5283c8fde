//! Runs an edge by itself: `cargo run --release --example edge FOLDER [WORKERS]`, for measuring.

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: edge FOLDER [WORKERS]");
        return std::process::ExitCode::from(2);
    };
    let mut options = edge::Options::default();
    if let Some(workers) = arguments.next().and_then(|workers| workers.to_str()?.parse().ok()) {
        options.workers = workers;
    }
    edge::main(folder.into(), options)
}

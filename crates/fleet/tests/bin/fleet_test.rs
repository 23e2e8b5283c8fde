//! Stands in for `slipway` on the hosts of this crate's tests, and plays their application.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = agent::shim::dispatch(&arguments) {
        return code;
    }
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["agent", "--home", home] => agent::main(agent::Options::at(agent::home::Home::at(home))),
        ["edge", folder] => edge::main(folder.into(), edge::Options { workers: 1, ..edge::Options::default() }),
        ["web"] => serve(),
        _ => {
            eprintln!("fleet-test: {words:?} is not understood");
            ExitCode::from(2)
        }
    }
}

/// Answers every request with the release it is of.
fn serve() -> ExitCode {
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let text = format!("release {}", std::env::var("SLIPWAY_RELEASE").unwrap_or_default());
    println!("serves {text}");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for stream in listener.incoming().flatten() {
        let text = text.clone();
        std::thread::spawn(move || {
            let mut stream = stream;
            let mut request = [0; 4096];
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            while stream.read(&mut request).is_ok_and(|length| length > 0) {
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
    ExitCode::SUCCESS
}

//! Stands in for `slipway` in the tests of this crate, and plays the programs a shim watches over.
//!
//! `agent-test shim ...` and `agent-test shim-exec` are the real thing. The rest are small programs.

mod web;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = agent::shim::dispatch(&arguments) {
        return code;
    }
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["agent", "--home", home] => agent::main(options(Path::new(home))),
        ["agent", folder, spec] => play_agent(Path::new(folder), spec),
        ["edge", folder] => edge::main(folder.into(), edge::Options { workers: 1, ..edge::Options::default() }),
        ["web"] => web::serve(),
        ["count", lines] => count(lines.parse().expect("a number")),
        ["serve", address] => serve(address),
        ["eat", mebibytes] => eat(mebibytes.parse().expect("a number")),
        ["burn"] => burn(),
        ["daemon", file] => daemon(file),
        ["files"] => files(),
        _ => {
            eprintln!("agent-test: {words:?} is not understood");
            ExitCode::from(2)
        }
    }
}

/// As usual, or at the pace of the file `pace` beside the home: look, up and down in milliseconds.
fn options(home: &Path) -> agent::Options {
    let mut options = agent::Options::at(agent::home::Home::at(home));
    if let Ok(text) = std::fs::read_to_string(home.with_file_name("pace")) {
        let times: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("milliseconds")).collect();
        let [look, up, down] = times[..] else { panic!("three times") };
        let [look, up, down] = [look, up, down].map(Duration::from_millis);
        options.pace = agent::Pace { look, up, down };
    }
    options
}

/// Starts a shim as an agent does, says so, and then waits to be killed.
fn play_agent(folder: &Path, spec: &str) -> ExitCode {
    let spec = serde_json::from_str(spec).expect("a spec");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let binary = std::env::current_exe().expect("a path");
    let running = runtime.block_on(agent::shim::start(&binary, folder, &spec)).expect("a start");
    println!("{}", running.pid());
    std::thread::sleep(Duration::from_mins(10));
    ExitCode::SUCCESS
}

/// Numbered lines, in pieces that do not end where lines end.
fn count(lines: u32) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut text = Vec::new();
    for line in 1..=lines {
        writeln!(text, "line {line} of a program that writes a lot").expect("memory");
        if text.len() > 3000 {
            out.write_all(&text[..2999]).and_then(|()| out.flush()).expect("room in the pipe");
            text.drain(..2999);
        }
    }
    out.write_all(&text).and_then(|()| out.flush()).expect("room in the pipe");
    ExitCode::SUCCESS
}

/// Asks its shim for sockets, answers one connection with its own pid and ends badly.
fn serve(address: &str) -> ExitCode {
    let shim = PathBuf::from(std::env::var_os("SLIPWAY_SHIM_SOCKET").expect("a socket"));
    let (_, mut sockets) =
        agent::shim::control::listen(&shim, address.parse().expect("an address"), 1).expect("sockets");
    let listener: TcpListener = sockets.remove(0);
    listener.set_nonblocking(false).expect("a blocking socket");
    println!("listening");
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.write_all(std::process::id().to_string().as_bytes()).expect("a visitor");
    ExitCode::from(1)
}

/// Takes memory and holds it.
fn eat(mebibytes: usize) -> ExitCode {
    let mut eaten = Vec::new();
    for _ in 0..mebibytes {
        eaten.push(vec![1_u8; 1 << 20]);
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("ate {} MiB", eaten.len());
    std::thread::sleep(Duration::from_mins(10));
    ExitCode::SUCCESS
}

fn burn() -> ExitCode {
    println!("burning");
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3));
    }
}

/// Starts a grandchild in a session of its own that ignores TERM, as a daemon would, and writes its pid to a file.
fn daemon(file: &str) -> ExitCode {
    let script =
        format!("setsid sh -c 'trap \"\" TERM; echo $$ > {file}.new; mv {file}.new {file}; exec sleep 600' & ");
    let mut child = Command::new("sh").args(["-c", &script]).spawn().expect("a shell");
    child.wait().expect("a shell");
    std::thread::sleep(Duration::from_mins(10));
    ExitCode::SUCCESS
}

/// Tells which files are open and how many may be.
fn files() -> ExitCode {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    println!("limit {:?}", limit.current);
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("a list")
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.to_owned()))
        .collect();
    open.sort();
    // The list itself is one of them.
    println!("open {}", open.len() - 1);
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("an end");
    println!("stdin {}", nothing.len());
    ExitCode::SUCCESS
}

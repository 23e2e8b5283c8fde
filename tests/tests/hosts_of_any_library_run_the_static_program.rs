//! The static program runs where there is nothing but a kernel, and on hosts whose C library is too old for the other one.
//! `tests/static` builds it and passes this story.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use stories::{Hosts, Story, binary, visit};

/// The static program, beside the one that is tested elsewhere.
fn program() -> PathBuf {
    let dynamic = binary("slipway");
    let profile = dynamic.parent().expect("target/<profile>");
    let target = profile.parent().expect("target");
    let path = target.join("x86_64-unknown-linux-musl").join(profile.file_name().expect("a name")).join("slipway");
    assert!(path.exists(), "{} is not built: run tests/static", path.display());
    path
}

/// A folder that holds only it, what tells it names, and `/proc` once it runs.
fn lay(story: &Story, server: Ipv4Addr) -> PathBuf {
    let root = story.project().join("root");
    for folder in ["etc", "proc", "tmp", "app/m"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    fs::copy(program(), root.join("slipway")).expect("a copy");
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost listed.test\n").expect("a file");
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {server}\noptions timeout:2\n")).expect("a file");
    for way in ["up", "down"] {
        fs::write(root.join(format!("app/m/001_first.{way}.sql")), "select 1;\n").expect("a file");
    }
    root
}

/// Runs it there; its exit code and all it says.
fn alone(root: &Path, arguments: &[&str]) -> (i32, String) {
    let mounted = format!("mount -t proc proc {0}/proc && exec chroot {0} \"$@\"", root.display());
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c", &mounted, "sh", "/slipway"])
        .args(arguments)
        .env("SLIPWAY_HOME", "/tmp/home")
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts; apt-get install util-linux");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// What it says of a database at a host; nobody listens at its port.
fn connect(root: &Path, host: &str) -> String {
    let stack = format!(
        "app = \"alone\"\n[database.main]\nengine = \"postgres:15\"\nurl = \"postgres://ann@{host}:9/shop\"\nmigrations = \"m\"\n\
         [environment.dev]\ntarget = \"local\"\n"
    );
    fs::write(root.join("app/slipway.toml"), stack).expect("a file");
    let (code, said) = alone(root, &["--file", "/app/slipway.toml", "migrate", "status"]);
    assert_eq!(code, 1, "{said}");
    said
}

/// A name server that knows `told.test` and nothing else, at an address of its own on this machine.
fn name_server() -> Ipv4Addr {
    let address = Ipv4Addr::new(127, rand::random_range(1..255), rand::random(), rand::random_range(2..255));
    let socket = UdpSocket::bind((address, 53)).expect("the port of name servers, as root");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            // Source: RFC 1035 section 4. The name, then two bytes of type and two of class.
            let asked = &question[12..length];
            let end = asked.iter().position(|byte| *byte == 0).expect("the end of a name") + 1;
            let (known, address) = (asked[..end] == *b"\x04told\x04test\0", asked[end..end + 2] == [0, 1]);
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && address), 0, 0, 0, 0]);
            answer.extend(&asked[..end + 4]);
            if known && address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, from).expect("an answer");
        }
    });
    address
}

// proves issue 3, item 2: the static program
#[test]
fn it_runs_with_nothing_but_a_kernel_and_resolves_names() {
    let story = Story::empty();
    let root = lay(&story, name_server());
    assert_eq!(alone(&root, &["--version"]).0, 0);
    let (code, digest) = alone(&root, &["agent", "--digest"]);
    assert_eq!((code, digest.trim().len()), (0, 64), "{digest}");
    for known in ["listed.test", "told.test", "127.0.0.1"] {
        let said = connect(&root, known);
        assert!(said.contains(&format!("at {known}:9")) && said.contains("Connection refused"), "{said}");
    }
    let said = connect(&root, "unknown.test");
    assert!(said.contains("check the host's name"), "{said}");
}

// proves issue 3, item 2: hosts with another C library
#[test]
fn a_host_whose_library_is_too_old_takes_it_and_no_other() {
    let hosts = Hosts::start(1);
    let story = hosts.harbour("harbour", 1);
    let host = hosts.destination(0);
    // as a host from 2012 answers
    fs::write(
        hosts.root(0).join("usr/local/bin/getconf"),
        "#!/bin/sh\n[ \"$1\" = GNU_LIBC_VERSION ] && echo glibc 2.15 || exec /usr/bin/getconf \"$@\"\n",
    )
    .expect("a file");
    hosts.run(0, "chmod 755 /usr/local/bin/getconf").expect(0);
    let refused = hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(1).stderr;
    assert!(refused.contains("and it has glibc 2.15") && refused.contains("--binary"), "{refused}");
    let program = program();
    hosts.slipway(&story, &["host", "add", &host, "--yes", "--binary", &program.display().to_string()]).expect(0);
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    assert_eq!(visit(hosts.edge(0), "harbour.test", "/").map(|answer| answer.0), Ok(200));
    assert_eq!(hosts.processes(0, "harbour").len(), 1);
    // A shim has no runtime, and its allocator takes memory as it needs it. Not counted is what the loader wrote into the
    // program's own file: with all its signs for debugging that is more.
    let own = "awk '/^[0-9a-f]+-/ { file = $6 ~ /^\\// } /^Private_Dirty/ && !file { sum += $2 } END { print sum }'";
    let shims = format!("for one in $(pgrep -f 'shim /var/lib/slipwa[y]'); do {own} /proc/$one/smaps; done");
    let shims = hosts.ask(0, &shims);
    assert!(shims.lines().count() > 0, "an instance has a shim");
    for kilobytes in shims.lines().map(|line| line.parse::<u32>().expect("a number")) {
        assert!(kilobytes < 1024, "{kilobytes} kB");
    }
}

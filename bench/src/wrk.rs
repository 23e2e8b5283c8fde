//! The load tool, and what it says.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::fault::{Doing, Fault};

/// What one run of wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// Answered requests.
    pub(crate) requests: f64,
    /// 99th percentile of the latency in milliseconds.
    pub(crate) p99_ms: f64,
}

/// Loads an address over keep-alive connections. Fails when any request does.
pub(crate) fn run(wrk: &Path, address: SocketAddr, connections: u32, seconds: u64) -> Result<Seen, Fault> {
    let output = Command::new(wrk)
        .args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{seconds}s")])
        .arg(format!("http://{address}/"))
        .output()
        .doing("wrk does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).ok_or_else(|| {
        Fault::new(format!("the load of {address} went wrong: {text}{}", String::from_utf8_lossy(&output.stderr)))
    })
}

fn read(text: &str) -> Option<Seen> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0.parse().ok()?;
    let p99 = text.lines().find_map(|line| line.trim().strip_prefix("99%"))?.trim();
    Some(Seen { requests, p99_ms: milliseconds(p99)? })
}

fn milliseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "Running 4s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  Latency Distribution\n     \
                         50%    1.02ms\n     99%  850.00us\n  60000 requests in 4.00s, 71.11MB read\nRequests/sec:  15000.1\n";

    #[test]
    fn reads_what_wrk_prints() {
        assert_eq!(read(SOUND), Some(Seen { requests: 60_000.0, p99_ms: 0.85 }));
        assert_eq!(read(&format!("{SOUND}  Non-2xx or 3xx responses: 5\n")), None);
        assert_eq!(read(&format!("{SOUND}  Socket errors: connect 0, read 1, write 0, timeout 0\n")), None);
        assert_eq!(read("unable to connect"), None);
        assert_eq!(milliseconds("1.50s"), Some(1500.0));
    }
}

//! The edge beside nginx and HAProxy: the same upstream, the same load, one worker each, in turns.

use crate::{
    Arguments,
    fault::{Doing, Fault},
    peers::{self, Proxy},
    process::{cpu_micros, memory},
    row::{Row, median},
    wrk,
};

/// What the rounds of one proxy gave.
#[derive(Debug, Default)]
struct Rounds {
    micros: Vec<f64>,
    p99_ms: Vec<f64>,
}

/// CPU microseconds for each request, latency, and memory at rest.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let load = peers::find("wrk")?;
    let folder = tempfile::tempdir().doing("no temporary folder")?;
    let upstream = peers::upstream(folder.path())?;
    let proxies = [
        peers::our_edge(folder.path(), upstream.address)?,
        peers::nginx_proxy(folder.path(), upstream.address)?,
        peers::haproxy(folder.path(), upstream.address)?,
    ];
    let at_rest = proxies.iter().map(|proxy| memory(proxy.pid())).collect::<Result<Vec<_>, _>>()?;
    let mut rounds: [Rounds; 3] = Default::default();
    for proxy in &proxies {
        wrk::run(&load, proxy.address, arguments.connections, 1)?;
    }
    for round in 1..=arguments.rounds {
        for (proxy, rounds) in proxies.iter().zip(&mut rounds) {
            let (micros, p99_ms, _) = one_round(&load, proxy, arguments)?;
            eprintln!("round {round}: {:8} {micros:6.2} us CPU for each request, p99 {p99_ms:.2} ms", proxy.name);
            rounds.micros.push(micros);
            rounds.p99_ms.push(p99_ms);
        }
    }
    let link = over_a_link(&load, folder.path(), upstream.address, arguments)?;
    let [edge, nginx, haproxy] = rounds.map(|rounds| (median(rounds.micros), median(rounds.p99_ms)));
    let name = "edge: CPU for each request, 1 KB, HTTP/1.1 keep-alive";
    Ok(vec![
        Row::peer(name, edge.0, "us", "nginx", nginx.0, Some(1.15)),
        Row::peer(name, edge.0, "us", "HAProxy", haproxy.0, None),
        Row::peer("edge: p99 latency", edge.1, "ms", "nginx", nginx.1, Some(1.0)),
        Row::peer("edge: p99 latency", edge.1, "ms", "HAProxy", haproxy.1, None),
        Row::peer(
            "edge: CPU for each request that another host answers, both edges",
            link.0,
            "us",
            "this host",
            edge.0,
            None,
        ),
        Row::peer("edge: p99 latency of the same", link.1, "ms", "this host", edge.1, None),
        Row::limit("edge: resident at rest", at_rest[0].resident, "MiB", 30.0),
        Row::peer("edge: resident at rest", at_rest[0].resident, "MiB", "nginx", at_rest[1].resident, None),
    ])
}

/// The same load on a host whose only instance is on another: CPU of both edges, and the latency.
fn over_a_link(
    load: &std::path::Path,
    folder: &std::path::Path,
    upstream: std::net::SocketAddr,
    arguments: &Arguments,
) -> Result<(f64, f64), Fault> {
    let [here, there] = peers::our_pair(folder, upstream)?;
    wrk::run(load, here.address, arguments.connections, 1)?;
    let mut rounds = Rounds::default();
    for round in 1..=arguments.rounds {
        let before = cpu_micros(there.pid())?;
        let (micros, p99_ms, requests) = one_round(load, &here, arguments)?;
        let micros = micros + (cpu_micros(there.pid())? - before) / requests;
        eprintln!("round {round}: over a link {micros:6.2} us CPU for each request, p99 {p99_ms:.2} ms");
        rounds.micros.push(micros);
        rounds.p99_ms.push(p99_ms);
    }
    Ok((median(rounds.micros), median(rounds.p99_ms)))
}

/// CPU microseconds for each request, latency, and how many there were.
fn one_round(load: &std::path::Path, proxy: &Proxy, arguments: &Arguments) -> Result<(f64, f64, f64), Fault> {
    let before = cpu_micros(proxy.pid())?;
    let seen = wrk::run(load, proxy.address, arguments.connections, arguments.seconds)?;
    let used = cpu_micros(proxy.pid())? - before;
    let requests = seen.requests.max(1.0);
    Ok((used / requests, seen.p99_ms, requests))
}

//! Where visitors come in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::context::Reach;

/// Where visitors come in.
pub(crate) fn urls(reach: &Reach) -> Vec<String> {
    let Some(listen) = reach.resolved.environment.listen.first() else { return Vec::new() };
    let port = if listen.port() == 80 { String::new() } else { format!(":{}", listen.port()) };
    let any = match listen.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        IpAddr::V4(ip) => ip.to_string(),
    };
    if !reach.fleet.is_here() {
        return hosts_urls(reach, &port);
    }
    let local = |host: &str| {
        if host == "localhost" || host.ends_with(".localhost") { host.to_owned() } else { format!("{host}.localhost") }
    };
    reach
        .resolved
        .stack
        .routes
        .iter()
        .filter(|route| !route.host.starts_with("*."))
        .map(|route| if route.host == "*" { any.clone() } else { local(&route.host) })
        .map(|host| format!("http://{host}{port}/"))
        .collect()
}

/// Where visitors of hosts come in: the names of the routes; any host's own name where a route takes every name.
fn hosts_urls(reach: &Reach, port: &str) -> Vec<String> {
    let mut urls = Vec::new();
    for route in reach.resolved.stack.routes.iter().filter(|route| !route.host.starts_with("*.")) {
        if route.host == "*" {
            urls.extend(hosts(reach).map(|host| format!("http://{host}{port}/")));
        } else {
            urls.push(format!("http://{}{port}/", route.host));
        }
    }
    urls
}

/// The hosts' own names, without the ports of SSH.
fn hosts(reach: &Reach) -> impl Iterator<Item = String> {
    let names = reach.resolved.environment.hosts.iter().map(|host| fleet::Place::Ssh(host.clone()).name());
    names.map(|host| host.rsplit_once(':').map_or(host.clone(), |(name, _)| name.to_owned()))
}

/// The names of the routes, in the file's order.
pub(crate) fn names(reach: &Reach) -> impl Iterator<Item = String> {
    let routes = reach.resolved.stack.routes.iter();
    routes.flat_map(|route| std::iter::once(&route.host).chain(&route.redirect_from)).cloned()
}

/// The edge itself, whatever names lead to it: `http://127.0.0.1:8080`, on hosts that of the first.
pub(crate) fn edge(reach: &Reach) -> Option<String> {
    let listen = reach.resolved.environment.listen.first()?;
    if reach.fleet.is_here() {
        return Some(format!("http://{}", here(*listen)));
    }
    let host = hosts(reach).next()?;
    Some(format!("http://{host}:{}", listen.port()))
}

/// Where the edges can be asked from here: one on this machine, one on each host.
pub(crate) async fn edges(reach: &Reach) -> Result<Vec<SocketAddr>, String> {
    let listen = reach.resolved.environment.listen.first().ok_or("visitors have no way in: `listen` is empty")?;
    if reach.fleet.is_here() {
        return Ok(vec![here(*listen)]);
    }
    if listen.ip().is_loopback() {
        return Err(format!(
            "the edges listen at {listen}, which is not reached from here: write the whole address that visitors use"
        ));
    }
    let mut edges = Vec::new();
    for host in hosts(reach) {
        let found = tokio::net::lookup_host((host.as_str(), listen.port())).await;
        let mut found = found.map_err(|error| {
            format!("the edge of {host} is not found by that name ({error}): write the whole address that visitors use")
        })?;
        edges.push(found.next().ok_or_else(|| format!("{host} has no address"))?);
    }
    Ok(edges)
}

fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

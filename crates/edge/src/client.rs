//! Who asks: the visitor's address behind proxies that are trusted, and nobody's word beyond them (S4.P10, T17).

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

use crate::headers::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP};

/// What is believed of a request's origin.
#[derive(Debug, PartialEq)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// The peer is a trusted proxy, so its other words (scheme, host, request id) are believed too.
    pub(crate) trusted_peer: bool,
    /// The visitor used https, says a trusted proxy.
    pub(crate) https: bool,
    /// `X-Forwarded-For` to pass on: the visitor and the trusted hops after it, never what the visitor wrote.
    pub(crate) chain: Option<HeaderValue>,
    /// `X-Forwarded-Host` of a trusted proxy.
    pub(crate) host: Option<HeaderValue>,
}

impl Client {
    /// Counts hops from the right: each address was written by the one after it, so it is believed while that one is
    /// trusted. The first that is not trusted is the visitor.
    pub(crate) fn find(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet], forwarded: bool) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
        let mut client = Self { ip: peer, trusted_peer: false, https: false, chain: None, host: None };
        if trusted.is_empty() || !is_trusted(peer) {
            return client;
        }
        client.trusted_peer = true;
        if !forwarded {
            return client;
        }
        client.https = last(headers, &X_FORWARDED_PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        client.host = headers.get(X_FORWARDED_HOST).cloned();
        let written = if headers.contains_key(X_FORWARDED_FOR) {
            hops(headers, &X_FORWARDED_FOR, Some)
        } else {
            hops(headers, &header::FORWARDED, forwarded_for)
        };
        let mut chain = vec![peer];
        for hop in written.iter().rev() {
            // an unreadable hop ends what is believed: the one who wrote it is the last that is known
            let Some(ip) = address(hop) else { break };
            client.ip = ip;
            chain.push(ip);
            if !is_trusted(ip) {
                break;
            }
        }
        if chain.len() > 1 {
            let text = chain.iter().rev().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            client.chain = HeaderValue::try_from(text).ok();
        }
        client
    }

    /// Removes what only a trusted proxy may say, and says it ourselves.
    pub(crate) fn announce(&self, headers: &mut HeaderMap, forwarded: bool, peer: &HeaderValue, host: &HeaderValue) {
        if forwarded {
            headers.remove(header::FORWARDED);
            headers.remove(X_REAL_IP);
            if !self.trusted_peer {
                let others: Vec<_> =
                    headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
                for name in others {
                    headers.remove(name);
                }
            }
        }
        headers.insert(X_FORWARDED_FOR, self.chain.as_ref().unwrap_or(peer).clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if self.https { "https" } else { "http" }));
        headers.insert(X_FORWARDED_HOST, self.host.as_ref().unwrap_or(host).clone());
    }
}

/// The last element of a list header: what the nearest hop wrote.
fn last<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

/// All elements of a list header in order; one that `pick` does not find is kept empty, which is unreadable.
fn hops<'a>(headers: &'a HeaderMap, name: &http::HeaderName, pick: fn(&'a str) -> Option<&'a str>) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|one| pick(one.trim()).unwrap_or(""))
        .collect()
}

/// `for=` of one element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })
}

/// An address as proxies write it: with or without port and brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip().to_canonical());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(peer: &str, headers: &[(&'static str, &'static str)]) -> Client {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Client::find(peer.parse().unwrap(), &map, &trusted, !headers.is_empty())
    }

    // proves S4.P10
    #[test]
    fn hops_count_from_the_right() {
        for (peer, header, client, chain) in [
            ("203.0.113.9", "1.2.3.4", "203.0.113.9", None),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9", Some("203.0.113.9, 10.0.0.1")),
            ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9", Some("203.0.113.9, 10.0.0.1")),
            ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9", Some("203.0.113.9, 10.0.0.2, 10.0.0.1")),
            ("10.0.0.1", "junk, 10.0.0.2", "10.0.0.2", Some("10.0.0.2, 10.0.0.1")),
            ("10.0.0.1", "203.0.113.9, junk", "10.0.0.1", None),
            ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9", Some("203.0.113.9, 10.0.0.1")),
            ("10.0.0.1", "[2001:dead::1]:80", "2001:dead::1", Some("2001:dead::1, 10.0.0.1")),
            ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9", Some("203.0.113.9, 10.0.0.1")),
        ] {
            let found = find(peer, &[("x-forwarded-for", header)]);
            assert_eq!(found.ip, client.parse::<IpAddr>().unwrap(), "{peer} {header}");
            assert_eq!(found.chain.as_ref().map(|value| value.to_str().unwrap()), chain, "{peer} {header}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let found = find("10.0.0.1", &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "203.0.113.9")]);
        assert_eq!(found.ip, "203.0.113.9".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn forwarded_is_read_where_there_is_nothing_else() {
        let found = find("10.0.0.1", &[("forwarded", "for=1.2.3.4, For=\"[2001:dead::7]:99\";proto=https;by=x")]);
        assert_eq!(found.ip, "2001:dead::7".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn only_a_trusted_peer_says_https() {
        assert!(find("10.0.0.1", &[("x-forwarded-proto", "http, https")]).https);
        assert!(!find("10.0.0.1", &[("x-forwarded-proto", "https, http")]).https);
        assert!(!find("203.0.113.9", &[("x-forwarded-proto", "https")]).https);
    }
}

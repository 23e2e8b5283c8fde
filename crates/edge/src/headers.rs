//! Header rules: what stays on one connection (RFC 9110 section 7.6.1) and what is passed on.

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(crate) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Which headers that need work are there: found in one walk instead of a lookup for each.
#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "one answer per header; they do not exclude each other")]
pub(crate) struct Present {
    pub(crate) connection: bool,
    pub(crate) keep_alive: bool,
    pub(crate) proxy: bool,
    pub(crate) te: bool,
    pub(crate) transfer_encoding: bool,
    pub(crate) upgrade: bool,
    pub(crate) expect: bool,
    pub(crate) cookie: bool,
    pub(crate) content_length: bool,
    /// `Forwarded`, `X-Real-IP` or anything that begins with `X-Forwarded-`.
    pub(crate) forwarded: bool,
    pub(crate) request_id: bool,
}

impl Present {
    pub(crate) fn in_request(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => seen.connection = true,
                "keep-alive" => seen.keep_alive = true,
                "proxy-connection" | "proxy-authorization" | "proxy-authenticate" => seen.proxy = true,
                "te" => seen.te = true,
                "transfer-encoding" => seen.transfer_encoding = true,
                "upgrade" => seen.upgrade = true,
                "expect" => seen.expect = true,
                "cookie" => seen.cookie = true,
                "content-length" => seen.content_length = true,
                "forwarded" | "x-real-ip" => seen.forwarded = true,
                "x-request-id" => seen.request_id = true,
                other if other.starts_with("x-forwarded-") => seen.forwarded = true,
                _ => {}
            }
        }
        seen
    }
}

/// Takes out of a request what is meant for this connection only.
pub(crate) fn strip_request(headers: &mut HeaderMap, seen: Present) {
    if seen.connection {
        strip_named(headers);
    }
    if seen.keep_alive {
        headers.remove(KEEP_ALIVE);
    }
    if seen.proxy {
        headers.remove(PROXY_CONNECTION);
        headers.remove(header::PROXY_AUTHORIZATION);
        headers.remove(header::PROXY_AUTHENTICATE);
    }
    if seen.te {
        // trailers are passed on, so the wish for them is too; anything else is ours to decide
        let trailers = headers.get_all(header::TE).iter().any(|value| {
            value.to_str().is_ok_and(|text| text.split(',').any(|one| one.trim().eq_ignore_ascii_case("trailers")))
        });
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if seen.transfer_encoding {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if seen.upgrade {
        headers.remove(header::UPGRADE);
    }
    if seen.expect {
        headers.remove(header::EXPECT); // answered here, when the body is wanted
    }
}

/// Takes out of a response what is meant for the connection to the instance only.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    let (mut connection, mut others) = (false, false);
    for name in headers.keys() {
        match name.as_str() {
            "connection" => connection = true,
            "keep-alive" | "proxy-connection" | "proxy-authenticate" | "te" | "transfer-encoding" | "upgrade" => {
                others = true;
            }
            _ => {}
        }
    }
    if connection {
        strip_named(headers);
    }
    if others {
        for name in [
            KEEP_ALIVE,
            PROXY_CONNECTION,
            header::PROXY_AUTHENTICATE,
            header::TE,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
        ] {
            headers.remove(name);
        }
    }
}

/// Removes `Connection` and every header it names, but never what frames or routes the message.
fn strip_named(headers: &mut HeaderMap) {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(token)
                && !matches!(name, header::HOST | header::CONTENT_LENGTH | header::TE | header::CONNECTION)
            {
                named.push(name);
            }
        }
    }
    headers.remove(header::CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

/// Whether one of the comma-separated tokens of a header is `token`.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn connection_and_what_it_names_go() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "close, X-Secret , host"),
            ("connection", "cookie"),
            ("x-secret", "1"),
            ("cookie", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("expect", "100-continue"),
            ("accept", "*/*"),
        ]);
        let seen = Present::in_request(&headers);
        strip_request(&mut headers, seen);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host"]);
    }

    #[test]
    fn the_wish_for_trailers_is_passed_on() {
        let mut headers = map(&[("te", "deflate, Trailers"), ("connection", "TE")]);
        let seen = Present::in_request(&headers);
        strip_request(&mut headers, seen);
        assert_eq!(headers, map(&[("te", "trailers"), ("connection", "te")]));
    }

    #[test]
    fn responses_lose_theirs_too() {
        let mut headers = map(&[
            ("connection", "x-internal, keep-alive"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/plain"),
        ]);
        strip_response(&mut headers);
        assert_eq!(headers, map(&[("content-type", "text/plain")]));
    }
}

//! Cross-origin calls: one matching origin is echoed, never a list (T4), never `*` with credentials.

use http::{HeaderMap, HeaderValue, Method, header};

/// The origins of one rule.
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
    /// `*` is among them: anybody, but without credentials.
    anybody: bool,
}

impl Cors {
    /// Origins that cannot be a header value cannot be sent by a browser either and are left out.
    pub(crate) fn new(origins: &[String]) -> Self {
        let tidy = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        Self {
            origins: origins.iter().filter_map(|one| HeaderValue::from_str(&tidy(one)).ok()).collect(),
            anybody: origins.iter().any(|one| one == "*"),
        }
    }

    /// Whether the request is a preflight, which the edge answers itself.
    pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The origin to echo.
    fn matching(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        if self.origins.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
            return Some(origin.clone());
        }
        None
    }

    /// Headers of a preflight's answer; what was asked for is granted when the origin may call.
    pub(crate) fn preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.apply(request.get(header::ORIGIN), answer) {
            if let Some(method) = request.get(header::ACCESS_CONTROL_REQUEST_METHOD) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            }
            if let Some(names) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        answer.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Method"));
        answer.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }

    /// Headers of any other answer. The rule owns them: what the application set is replaced, so that there is
    /// never a second one. Returns whether the origin may call.
    pub(crate) fn apply(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) -> bool {
        answer.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        answer.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        let allowed = if let Some(origin) = self.matching(origin) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            true
        } else if self.anybody {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            true
        } else {
            false
        };
        vary(answer, "Origin");
        allowed
    }
}

/// Adds a name to `Vary` unless it is there.
pub(crate) fn vary(answer: &mut HeaderMap, name: &'static str) {
    let named = answer
        .get_all(header::VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case(name) || one.trim() == "*");
    if !named {
        answer.append(header::VARY, HeaderValue::from_static(name));
    }
}

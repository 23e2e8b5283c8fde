//! What a function wrote, as the answer to its visitor.
//!
//! Three forms are understood, and the first that fits counts: a JSON object with `status` or `statusCode`, and with
//! `headers`, `body` and `isBase64Encoded` when it likes (what AWS Lambda's proxy integration takes); header lines, an
//! empty line and a body (RFC 3875, section 6), with the status in a header `Status`; or a body alone.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use serde_json::Value;

use super::event::{plain, unbase64};

/// The answer.
pub(crate) fn answer(output: Vec<u8>) -> Response<Body> {
    let json = output.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice::<Value>(&output).ok());
    let json = json.flatten();
    if let Some(response) = json.as_ref().and_then(of_object) {
        return response;
    }
    if json.is_none()
        && let Some(response) = of_headers(&output)
    {
        return response;
    }
    let kind = if output.is_empty() {
        return respond(StatusCode::NO_CONTENT, Vec::new(), Vec::new());
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(&output).is_ok() {
        "application/json"
    } else if std::str::from_utf8(&output).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    respond(StatusCode::OK, vec![("content-type".to_owned(), kind.to_owned())], output)
}

fn of_object(object: &Value) -> Option<Response<Body>> {
    let status = object.get("statusCode").or_else(|| object.get("status"))?.as_u64()?;
    let status = StatusCode::from_u16(u16::try_from(status).ok()?).ok()?;
    let mut headers = Vec::new();
    for key in ["headers", "multiValueHeaders"] {
        for (name, value) in object.get(key).and_then(Value::as_object).into_iter().flatten() {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            headers.extend(values.iter().map(|value| (name.clone(), plain(value))));
        }
    }
    let cookies = object.get("cookies").and_then(Value::as_array).into_iter().flatten();
    headers.extend(cookies.map(|cookie| ("set-cookie".to_owned(), plain(cookie))));
    let coded = object.get("isBase64Encoded").and_then(Value::as_bool) == Some(true);
    let mut kind = "text/plain; charset=utf-8";
    let body = match object.get("body") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) if coded => {
            kind = "application/octet-stream";
            unbase64(text)?
        }
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(value) => {
            kind = "application/json";
            value.to_string().into_bytes()
        }
    };
    if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
    Some(respond(status, headers, body))
}

fn of_headers(output: &[u8]) -> Option<Response<Body>> {
    let (mut status, mut headers, mut rest) = (None, Vec::new(), output);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = (rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            break;
        }
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        let (name, value) = (HeaderName::try_from(name).ok()?, value.trim());
        if name == "status" {
            status = Some(value.split(' ').next()?.parse::<StatusCode>().ok()?);
        } else {
            headers.push((name.to_string(), value.to_owned()));
        }
    }
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    // A text may begin with what looks like a header; an answer says one of these. Source: RFC 3875, section 6.2.
    if status.is_none() && !names.contains(&"content-type") && !names.contains(&"location") {
        return None;
    }
    let moved = names.contains(&"location");
    let status = status.unwrap_or(if moved { StatusCode::FOUND } else { StatusCode::OK });
    Some(respond(status, headers, rest.to_vec()))
}

/// Headers that speak of one connection, or that are made from the body, are not the function's to set.
fn respond(status: StatusCode, headers: Vec<(String, String)>, body: Vec<u8>) -> Response<Body> {
    let fixed = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE, header::TE];
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = if status.is_informational() { StatusCode::BAD_GATEWAY } else { status };
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && !fixed.contains(&name)
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(output: &str) -> (u16, String, String) {
        let response = answer(output.as_bytes().to_vec());
        let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_answer_has_one_of_three_forms() {
        let is = |status: u16, kind: &str, body: &str| (status, kind.to_owned(), body.to_owned());
        let text = "text/plain; charset=utf-8";
        assert_eq!(read("hello\n").await, is(200, text, "hello\n"));
        assert_eq!(read("[1]").await, is(200, "application/json", "[1]"));
        assert_eq!(read("{\"a\":1}").await, is(200, "application/json", "{\"a\":1}"));
        assert_eq!(read("").await, is(204, "", ""));
        assert_eq!(read("Note: this is a text\n\nand so on").await, is(200, text, "Note: this is a text\n\nand so on"));
        let cgi = "Status: 201 Created\r\nContent-Type: text/html\r\n\r\n<p>";
        assert_eq!(read(cgi).await, is(201, "text/html", "<p>"));
        assert_eq!(read("Location: /there\n\n").await.0, 302);
        let lambda =
            r#"{"statusCode": 404, "headers": {"Content-Type": "text/css", "Connection": "close"}, "body": "x"}"#;
        assert_eq!(read(lambda).await, is(404, "text/css", "x"));
        assert_eq!(read(r#"{"status": 200, "body": {"a": 1}}"#).await, is(200, "application/json", "{\"a\":1}"));
        assert_eq!(read(r#"{"status": 200, "body": "aGk=", "isBase64Encoded": true}"#).await.2, "hi");
        assert_eq!(read(r#"{"status": "sent"}"#).await.1, "application/json", "a body that only looks like it");
        assert_eq!(read("Status: 101\n\n").await.0, 502);
    }

    #[test]
    fn several_cookies_stay_several() {
        let output = br#"{"statusCode": 200, "cookies": ["a=1"], "multiValueHeaders": {"set-cookie": ["b=2", "c=3"]}}"#;
        let response = answer(output.to_vec());
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 3);
        assert!(!response.headers().contains_key("connection"));
    }
}

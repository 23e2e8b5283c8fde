//! Objects in a bucket, over the S3 protocol.

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::{Done, fetch::fetch, sign, variable};

async fn ask(method: Method, bucket: &str, key: &str, body: Vec<u8>) -> Done<(StatusCode, Bytes)> {
    let (endpoint, access, secret) =
        (variable("S3_ENDPOINT")?, variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
    let host = endpoint.split("://").nth(1).ok_or("S3_ENDPOINT is no address")?.trim_end_matches('/').to_owned();
    let path = format!("/{bucket}/{key}");
    let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let signing = sign::Key { access: &access, secret: &secret, region: &region };
    let headers = sign::headers(&signing, method.as_str(), &host, &path, &body, &at);
    let (status, _, body) = fetch(method, &format!("http://{host}{path}"), &headers, body).await?;
    Ok((status, body))
}

/// Stores an object. The key is made of letters, digits, `-`, `.` and `/`.
pub(crate) async fn put(bucket: &str, key: &str, body: Vec<u8>) -> Done {
    let (status, answer) = ask(Method::PUT, bucket, key, body).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(format!("the bucket refused {key}: {status} {}", String::from_utf8_lossy(&answer)))
}

/// Reads an object.
pub(crate) async fn get(bucket: &str, key: &str) -> Done<Bytes> {
    let (status, body) = ask(Method::GET, bucket, key, Vec::new()).await?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    Err(format!("the bucket has no {key}: {status}"))
}

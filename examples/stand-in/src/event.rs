//! Events: published to a topic, and read by the function they start.

use http::Method;
use serde_json::Value;

use crate::{Done, fetch::fetch, variable};

/// The event that started this run: a `CloudEvent` on standard input.
pub(crate) fn read() -> Done<Value> {
    serde_json::from_reader(std::io::stdin().lock()).map_err(|error| format!("no event on standard input: {error}"))
}

/// Publishes to the topic whose address the variable holds; it is durable when this returns.
pub(crate) async fn publish(address: &str, data: &Value) -> Done {
    let url = variable(address)?;
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let (status, _, body) = fetch(Method::POST, &url, &headers, data.to_string().into_bytes()).await?;
    if status.is_success() {
        return Ok(());
    }
    Err(format!("the topic refused the event: {status} {}", String::from_utf8_lossy(&body)))
}

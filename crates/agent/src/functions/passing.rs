//! Passes events of a topic on to what is no function: a service gets a `POST` to `/`, a queue a message, and each gets
//! the whole event in the structured JSON form of `CloudEvents`, as functions do.
//!
//! Source: HTTP protocol binding for `CloudEvents` 1.0.2, section 3.2; AMQP 0-9-1.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use stack::{Kind, ResourceRef};
use tokio::{net::TcpStream, sync::Mutex};

use super::{
    delivery::Receiver,
    event::CloudEvent,
    queue::{PATIENCE, declare, told},
};
use crate::{bindings, revision::Loaded};

/// The media type of a whole event.
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// How long a service may take for its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How often a delivery that was refused is tried again when the topic says nothing.
pub(super) const RETRIES: u32 = 3;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Passed {
    /// It has the event.
    Taken,
    /// It cannot be reached, or asks to come later: no fault of the event, and no try of its own.
    Away(String),
    /// It does not want the event.
    Refused(String),
}

/// Passes events on to one receiver; holds the connection to its broker.
#[derive(Default)]
pub(super) struct Passing {
    broker: Mutex<Option<Broker>>,
}

/// Where messages go.
struct Broker {
    url: String,
    /// Ends when it is dropped.
    connection: Connection,
    channel: Channel,
}

impl Passing {
    /// Passes one event on, once.
    pub(super) async fn pass(&self, receiver: &Receiver, loaded: &Loaded, event: &CloudEvent) -> Passed {
        let text = match event.to_json() {
            Ok(text) => text,
            Err(error) => return Passed::Refused(error.to_string()),
        };
        match receiver.to.kind {
            Kind::Queue => self.publish(receiver, loaded, event, text).await,
            _ => post(receiver, loaded, text).await,
        }
    }

    async fn publish(&self, receiver: &Receiver, loaded: &Loaded, event: &CloudEvent, text: Vec<u8>) -> Passed {
        let environment = &receiver.environment;
        let url = match bindings::store_url(loaded, &receiver.to, &environment.place(&loaded.revision)) {
            Ok(url) => url,
            Err(error) => return Passed::Away(error.to_string()),
        };
        let properties = BasicProperties::default()
            .with_content_type(STRUCTURED.into())
            .with_message_id(event.id.as_str().into())
            .with_type(event.kind.as_str().into())
            .with_delivery_mode(2);
        let queue = receiver.to.name.as_str();
        let mut broker = self.broker.lock().await;
        if broker.as_ref().is_none_or(|open| open.url != url || !open.connection.status().connected()) {
            *broker = None;
            let who = format!("slipway {} to {}", environment.scope, receiver.to);
            match tokio::time::timeout(PATIENCE, open(&url, queue, &who)).await {
                Ok(Ok(opened)) => *broker = Some(opened),
                Ok(Err(error)) => return Passed::Away(told(&error)),
                Err(_) => return Passed::Away(format!("it does not answer within {} s", PATIENCE.as_secs())),
            }
        }
        let Some(open) = broker.as_ref() else { return Passed::Away("the connection is gone".to_owned()) };
        let sent = async {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            open.channel.basic_publish("".into(), queue.into(), options, &text, properties).await?.await
        };
        let passed = match tokio::time::timeout(ANSWER, sent).await {
            Ok(Ok(Confirmation::Ack(None))) => return Passed::Taken,
            // Nobody knows whether the broker has it: it gets it once more.
            Ok(Err(error)) => Passed::Away(told(&error)),
            Err(_) => Passed::Away(format!("it does not confirm within {} s", ANSWER.as_secs())),
            Ok(Ok(Confirmation::Ack(Some(_)))) => Passed::Away(format!("the broker has no queue `{queue}` any more")),
            Ok(Ok(_)) => Passed::Refused("the broker does not take it".to_owned()),
        };
        // The next one begins anew, which makes a queue that is missing.
        *broker = None;
        passed
    }
}

async fn open(url: &str, queue: &str, who: &str) -> lapin::Result<Broker> {
    let properties = ConnectionProperties::default().with_connection_name(who.into());
    let connection = Connection::connect(url, properties).await?;
    declare(&connection, queue).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(Broker { url: url.to_owned(), connection, channel })
}

/// Sends the event to the instances of the release that runs, the way services call each other.
async fn post(receiver: &Receiver, loaded: &Loaded, text: Vec<u8>) -> Passed {
    let place = receiver.environment.place(&loaded.revision);
    let Some(port) = place.internal.get(&receiver.to.name) else {
        return Passed::Away("the service has no address of this release yet".to_owned());
    };
    match tokio::time::timeout(ANSWER, send(*port, &receiver.to, text)).await {
        Ok(Ok(status)) => judge(status),
        Ok(Err(reason)) => Passed::Away(reason),
        Err(_) => Passed::Refused(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

async fn send(port: u16, to: &ResourceRef, text: Vec<u8>) -> Result<StatusCode, String> {
    let plain = |error: std::io::Error| crate::socket::plain(&error);
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(plain)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("no connection: {error}"))?;
    let request = Request::post("/")
        .header(header::HOST, to.name.as_str())
        .header(header::CONTENT_TYPE, STRUCTURED)
        .body(Full::new(Bytes::from(text)))
        .map_err(|error| error.to_string())?;
    let answered = async { sender.send_request(request).await.map(|response| response.status()) };
    tokio::pin!(answered);
    tokio::select! {
        status = &mut answered => status.map_err(|error| format!("cut off: {error}")),
        ended = connection => match ended {
            Err(error) => Err(format!("cut off: {error}")),
            // The answer may have come with the end.
            Ok(()) => answered.await.map_err(|error| format!("cut off: {error}")),
        },
    }
}

/// What an answer means. Source: RFC 9110, section 15, and RFC 6585, section 4.
fn judge(status: StatusCode) -> Passed {
    match status {
        status if status.is_success() => Passed::Taken,
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS => Passed::Away(format!("it answers {status}")),
        status => Passed::Refused(format!("it answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_busy_is_asked_later_and_who_refuses_is_not() {
        assert_eq!(judge(StatusCode::NO_CONTENT), Passed::Taken);
        assert!(matches!(judge(StatusCode::SERVICE_UNAVAILABLE), Passed::Away(_)));
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS), Passed::Away(_)));
        assert_eq!(judge(StatusCode::BAD_REQUEST), Passed::Refused("it answered 400 Bad Request".to_owned()));
        assert!(matches!(judge(StatusCode::FOUND), Passed::Refused(_)));
    }
}

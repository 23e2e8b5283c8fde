//! Messages of a RabbitMQ queue: each is acknowledged once a run took it, or once it lies in the queue's dead letters.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use stack::ResourceRef;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    delivery::{Receiver, why},
    event::{CloudEvent, id},
};
use crate::{
    bindings,
    jobs::{self, Cause, Ended},
    revision::Loaded,
};

/// What happened, to a function of a queue.
const MESSAGE: &str = "slipway.queue.message";

/// Messages that wait for their next attempt, beside those that run.
const SPARE: u16 = 16;

/// How long a broker may take to let us in.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits between two tries to reach it double from the first to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long after a refused dead letter the message is given back.
const GIVE_BACK: Duration = Duration::from_secs(5);

/// Why messages are not taken any more.
enum End {
    /// The function subscribes no more.
    Left,
    /// The queue is another one now.
    Changed,
}

/// Where messages come from.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    url: String,
    queue: String,
    at_once: u16,
}

/// Takes messages of `name` for a function for as long as it subscribes, however often the broker goes away.
pub(super) async fn run(receiver: Receiver, name: ResourceRef, leave: CancellationToken) {
    let about = format!("messages of {name} for {}", receiver.to.name);
    let environment = receiver.environment.clone();
    let mut wait = FIRST_WAIT;
    loop {
        let began = std::time::Instant::now();
        match consume(&receiver, &name, &leave, &about).await {
            Ok(End::Left) => {
                environment.trouble(&about, None);
                return;
            }
            Ok(End::Changed) => wait = FIRST_WAIT,
            Err(reason) => {
                environment.trouble(&about, Some(format!("`{name}`: {reason}; it is tried again all the time")));
                wait = if began.elapsed() > LONGEST_WAIT { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            }
        }
        tokio::select! {
            () = leave.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn place(receiver: &Receiver, loaded: &Loaded, name: &ResourceRef) -> Result<Place, String> {
    let environment = &receiver.environment;
    let url = bindings::store_url(loaded, name, &environment.place(&loaded.revision));
    let url = url.map_err(|error| error.to_string())?;
    let trigger = loaded.resolved.stack.functions.get(&receiver.to.name).and_then(|function| function.on.as_ref());
    let queue = trigger.and_then(|trigger| trigger.event.clone()).unwrap_or_else(|| name.name.to_string());
    let turns = environment.functions.turns(loaded, &receiver.to.name);
    let at_once = u16::try_from(turns.available_permits()).unwrap_or(u16::MAX).max(1);
    Ok(Place { url, queue, at_once })
}

async fn consume(
    receiver: &Receiver,
    name: &ResourceRef,
    leave: &CancellationToken,
    about: &str,
) -> Result<End, String> {
    let environment = &receiver.environment;
    let mut changes = environment.watch();
    let loaded = loop {
        changes.mark_unchanged();
        if let Some(loaded) = receiver.release() {
            break loaded;
        }
        tokio::select! {
            () = leave.cancelled() => return Ok(End::Left),
            told = changes.changed() => if told.is_err() { return Ok(End::Left) },
        }
    };
    let place = place(receiver, &loaded, name)?;
    let opened = tokio::time::timeout(PATIENCE, open(receiver, &place)).await;
    let opened = opened.map_err(|_| format!("it does not answer within {} s", PATIENCE.as_secs()))?;
    let (connection, channel, mut messages) = opened.map_err(|error| told(&error))?;
    environment.trouble(about, None);
    tracing::info!(scope = %environment.scope, function = %receiver.to.name, queue = place.queue, "takes messages");
    let mut lives = JoinSet::new();
    let end = loop {
        tokio::select! {
            () = leave.cancelled() => break Ok(End::Left),
            told = changes.changed() => {
                if told.is_err() {
                    break Ok(End::Left);
                }
                let now = receiver.release().and_then(|loaded| self::place(receiver, &loaded, name).ok());
                if now.is_none_or(|now| (now.url, now.queue) != (place.url.clone(), place.queue.clone())) {
                    break Ok(End::Changed);
                }
            }
            message = messages.next() => match message {
                Some(Ok(message)) => {
                    let (receiver, name, channel) = (receiver.clone(), name.clone(), channel.clone());
                    let (queue, leave) = (place.queue.clone(), leave.clone());
                    lives.spawn(async move { handle(&receiver, &name, &queue, &channel, message, &leave).await });
                }
                Some(Err(error)) => break Err(told(&error)),
                None => break Err("the broker closed the connection".to_owned()),
            },
            Some(_) = lives.join_next() => {}
        }
    };
    if end.is_err() {
        // Their runs come to an end; the broker will give the messages to somebody else meanwhile.
        lives.detach_all();
        return end;
    }
    let _gone = channel.basic_cancel(messages.tag(), BasicCancelOptions::default()).await;
    while lives.join_next().await.is_some() {}
    let _gone = connection.close(200, "done".into()).await;
    end
}

async fn open(receiver: &Receiver, place: &Place) -> lapin::Result<(Connection, Channel, lapin::Consumer)> {
    let scope = &receiver.environment.scope;
    let who = format!("slipway {scope} {}", receiver.to);
    let properties = ConnectionProperties::default().with_connection_name(who.as_str().into());
    let connection = Connection::connect(&place.url, properties).await?;
    for queue in [place.queue.clone(), dead(&place.queue)] {
        declare(&connection, &queue).await?;
    }
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(place.at_once.saturating_add(SPARE), BasicQosOptions::default()).await?;
    let (queue, options) = (place.queue.as_str(), BasicConsumeOptions::default());
    let messages = channel.basic_consume(queue.into(), who.as_str().into(), options, FieldTable::default()).await?;
    Ok((connection, channel, messages))
}

/// Makes a durable queue unless there is one, whatever its kind.
pub(super) async fn declare(connection: &Connection, queue: &str) -> lapin::Result<()> {
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let channel = connection.create_channel().await?;
    if channel.queue_declare(queue.into(), look, FieldTable::default()).await.is_err() {
        // A look that fails closes its channel.
        let channel = connection.create_channel().await?;
        let make = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), make, FieldTable::default()).await?;
        let _gone = channel.close(200, "done".into()).await;
        return Ok(());
    }
    let _gone = channel.close(200, "done".into()).await;
    Ok(())
}

/// The queue of messages that could not be delivered.
fn dead(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Tries until a run took the message, or its attempts are used up.
async fn handle(
    receiver: &Receiver,
    name: &ResourceRef,
    queue: &str,
    channel: &Channel,
    message: Delivery,
    leave: &CancellationToken,
) {
    let event = Arc::new(event(receiver, name, queue, &message));
    let mut attempt = 1;
    let acknowledge = async |message: &Delivery| {
        if let Err(error) = message.ack(BasicAckOptions::default()).await {
            tracing::warn!(queue, "a message cannot be acknowledged and will come again: {}", told(&error));
        }
    };
    loop {
        let Some(loaded) = receiver.release() else { return give_back(&message).await };
        let retries = receiver.retries(&loaded, None);
        let job = receiver.job(loaded, Cause::Asked, Some(event.clone()));
        let prune = job.clone();
        let done = receiver.attempt(job, attempt, None).await;
        prune.prune();
        if matches!(done, Ok(Ended { code: 0, .. })) {
            return acknowledge(&message).await;
        }
        if attempt > retries {
            let why = why(&done);
            let scope = &receiver.environment.scope;
            tracing::error!(%scope, function = %receiver.to.name, event = event.id, attempt, "given up: {why}");
            match bury(channel, queue, &message, &why, attempt).await {
                Ok(()) => return acknowledge(&message).await,
                Err(reason) => {
                    tracing::warn!(%scope, queue, "a dead letter cannot be kept: {reason}");
                    tokio::time::sleep(GIVE_BACK).await;
                    return give_back(&message).await;
                }
            }
        }
        attempt += 1;
        tokio::select! {
            () = tokio::time::sleep(jobs::wait_before(attempt)) => {}
            () = leave.cancelled() => return give_back(&message).await,
        }
    }
}

/// Another consumer, or this one later, gets it.
async fn give_back(message: &Delivery) {
    let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    let _gone = message.nack(options).await;
}

async fn bury(channel: &Channel, queue: &str, message: &Delivery, why: &str, attempts: u32) -> Result<(), String> {
    let mut headers = message.properties.headers().clone().unwrap_or_default();
    headers.insert("x-slipway-why".into(), AMQPValue::LongString(why.into()));
    headers.insert("x-slipway-attempts".into(), AMQPValue::LongUInt(attempts));
    let properties: BasicProperties = message.properties.clone().with_headers(headers).with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), dead(queue).as_str().into(), options, &message.data, properties).await;
    match sent.map_err(|error| told(&error))?.await.map_err(|error| told(&error))? {
        Confirmation::Ack(None) => Ok(()),
        _ => Err(format!("the broker does not take it into `{}`", dead(queue))),
    }
}

/// A message as an event: its own when it carries one.
fn event(receiver: &Receiver, name: &ResourceRef, queue: &str, message: &Delivery) -> CloudEvent {
    let kind = message.properties.content_type().as_ref().map(ToString::to_string);
    if kind.as_deref().is_some_and(|kind| kind.starts_with("application/cloudevents+json"))
        && let Ok(event) = CloudEvent::parse(&message.data)
    {
        return event;
    }
    let source = format!("/{}/{name}", receiver.environment.scope);
    let mut event =
        CloudEvent::new(source, MESSAGE, Value::Null).about(queue).with_data(kind.as_deref(), &message.data);
    event.id = message.properties.message_id().as_ref().map_or_else(id, ToString::to_string);
    event.extensions.insert("redelivered".to_owned(), json!(message.redelivered));
    event
}

/// An error of the broker as a person says it, without an address that may hold a password.
pub(super) fn told(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => crate::socket::plain(error),
        lapin::ErrorKind::InvalidConnectionState(_) => "the connection is gone".to_owned(),
        _ => error.to_string(),
    }
}

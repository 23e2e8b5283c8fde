//! Messages over RabbitMQ.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};

use crate::{Done, variable};

async fn channel(queue: &str) -> Done<(Connection, Channel)> {
    let failed = |error: lapin::Error| format!("the broker does not answer: {error}");
    let connection =
        Connection::connect(&variable("AMQP_URL")?, ConnectionProperties::default()).await.map_err(failed)?;
    let channel = connection.create_channel().await.map_err(failed)?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.map_err(failed)?;
    Ok((connection, channel))
}

/// Sends a message; it is the broker's when this returns.
pub(crate) async fn publish(queue: &str, message: &str) -> Done {
    let failed = |error: lapin::Error| format!("the broker did not take the message: {error}");
    let (connection, channel) = channel(queue).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
    let lasting = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), message.as_bytes(), lasting)
        .await
        .map_err(failed)?;
    sent.await.map_err(failed)?;
    connection.close(200, "done".into()).await.map_err(failed)
}

/// Hands each message to `work`, one at a time, for ever; one that fails is delivered again.
pub(crate) async fn consume<F: Future<Output = Done>>(queue: &str, work: impl Fn(String) -> F) -> Done {
    let failed = |error: lapin::Error| format!("the broker broke off: {error}");
    let (_connection, channel) = channel(queue).await?;
    channel.basic_qos(1, BasicQosOptions::default()).await.map_err(failed)?;
    let mut messages = channel
        .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .map_err(failed)?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(failed)?;
        work(String::from_utf8_lossy(&message.data).into_owned()).await?;
        message.ack(BasicAckOptions::default()).await.map_err(failed)?;
    }
    Err("the broker broke off".to_owned())
}

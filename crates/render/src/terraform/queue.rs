//! Message brokers, and topics.

use serde_json::json;
use stack::{Kind, ResourceRef};

use super::{
    cloud::{Cloud, flag, label, reference, text, texts},
    database::user,
    mail, secret,
};
use crate::hcl::{self, Block};

pub(crate) fn queues(cloud: &Cloud<'_>) -> Vec<Block> {
    let queues = cloud.queues().flat_map(|(name, queue)| {
        let own = label(name);
        let version = queue.engine.split_once(':').map_or("3.13", |(_, version)| version);
        let cluster = queue.replicas > 1;
        let mut blocks = vec![hcl::resource("aws_mq_broker", &own, json!({
            "broker_name": format!("${{local.name}}-{name}"),
            "engine_type": "RabbitMQ",
            "# the oldest that Amazon MQ still runs": version.starts_with("3.12"),
            "engine_version": if version.starts_with("3.") { "3.13" } else { version },
            "auto_minor_version_upgrade": true,
            "host_instance_type": if cluster { "mq.m5.large" } else { "mq.t3.micro" },
            "deployment_mode": if cluster { "CLUSTER_MULTI_AZ" } else { "SINGLE_INSTANCE" },
            "publicly_accessible": false,
            "subnet_ids": if cluster { "= slice(aws_subnet.data[*].id, 0, 2)" } else { "= [aws_subnet.data[0].id]" },
            "security_groups": [format!("= aws_security_group.queue_{own}.id")],
            "user {}": { "username": user(cloud), "password": format!("= random_password.queue_{own}.result") },
            "logs {}": { "general": true },
        }))];
        let host = format!("trimprefix(aws_mq_broker.{own}.instances[0].endpoints[0], \"amqps://\")");
        let store = ResourceRef { kind: Kind::Queue, name: name.clone() };
        let address = format!("amqps://{}:PASSWORD@${{{host}}}/", user(cloud));
        blocks.extend(secret::of_store(cloud, &store, "broker", &address));
        let mut triggers = cloud.stack.functions.values().filter_map(|function| function.on.as_ref());
        if triggers.any(|trigger| trigger.on == store) {
            blocks.extend(secret::of_reader(cloud, &store, &user(cloud)));
        }
        blocks
    });
    queues.collect()
}

pub(crate) fn topics(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Topic) {
        let fifo = flag(extra, "fifo");
        let reference = reference(Kind::Topic, name);
        let told = cloud.extras(Kind::Mail).any(|(_, mail)| mail::told(mail).any(|(_, _, topic)| topic == reference));
        let called = text(extra, "name").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned);
        blocks.push(hcl::resource(
            "aws_sns_topic",
            &label(name),
            json!({
                "name": if fifo { format!("{called}.fifo") } else { called },
                "display_name": text(extra, "about").map(hcl::plain),
                "fifo_topic": fifo.then_some(true),
                "content_based_deduplication": fifo.then_some(true),
                "# SES may not write under AWS's own key": told,
                "kms_master_key_id": if told { cloud.key(&reference) } else { Some("alias/aws/sns".to_owned()) },
            }),
        ));
        for address in texts(extra, "to").into_iter().filter(|to| to.contains('@')) {
            blocks.push(hcl::resource(
                "aws_sns_topic_subscription",
                &format!("{}_{}", label(name), label(address)),
                json!({
                    "topic_arn": format!("= aws_sns_topic.{}.arn", label(name)),
                    "protocol": "email",
                    "endpoint": address,
                }),
            ));
        }
    }
    blocks
}

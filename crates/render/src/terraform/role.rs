//! What each program may do: what its `needs` say, what a `[role]` adds, and no more.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stack::Kind;

use super::{
    cloud::{Cloud, Shape, flag, label, text, texts},
    secret,
};
use crate::{
    hcl::{self, Block},
    program::{self, Program},
};

/// A policy document.
pub(crate) fn policy(statements: &[Value]) -> Value {
    json!({ "jsonencode()": { "Version": "2012-10-17", "Statement": statements } })
}

/// Who may take a role.
pub(crate) fn trust(service: &str) -> Value {
    policy(&[json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": service } })])
}

/// Reading, and on request writing, one bucket.
pub(crate) fn bucket(own: &str, write: bool) -> Value {
    let mut actions = vec!["s3:GetObject", "s3:ListBucket"];
    if write {
        actions.extend(["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]);
    }
    json!({
        "Effect": "Allow",
        "Action": actions,
        "Resource": [format!("= aws_s3_bucket.{own}.arn"), format!("${{aws_s3_bucket.{own}.arn}}/*")],
    })
}

/// Name of a program's role.
pub(crate) fn name(program: &Program<'_>) -> String {
    format!("{}_{}", program.kind, label(program.name))
}

/// What has to be read of the thing whose events start a function; a topic hands its events over by itself.
fn started(cloud: &Cloud<'_>, program: &Program<'_>) -> Vec<Value> {
    let function = cloud.stack.functions.get(program.name).filter(|_| program.kind == Kind::Function);
    let Some(on) = function.and_then(|function| function.on.as_ref()).map(|trigger| &trigger.on) else {
        return Vec::new();
    };
    let name = label(&on.name);
    let allow =
        |actions: &[&str], resource: String| json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
    match on.kind {
        // what it needs it may read already
        Kind::Bucket if !program.needs().contains(&on) => vec![bucket(&name, false)],
        Kind::Table => vec![allow(
            &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
            format!("= aws_dynamodb_table.{name}.stream_arn"),
        )],
        Kind::Queue => vec![
            allow(&["mq:DescribeBroker"], format!("= aws_mq_broker.{name}.arn")),
            allow(
                &["secretsmanager:GetSecretValue"],
                format!("= aws_secretsmanager_secret.{}.arn", secret::login(&name)),
            ),
        ],
        _ => Vec::new(),
    }
}

/// Reading and writing under the stack's own keys; AWS's let in whoever may do the rest.
fn unlocked(cloud: &Cloud<'_>, program: &Program<'_>) -> Option<Value> {
    let function = cloud.stack.functions.get(program.name).filter(|_| program.kind == Kind::Function);
    let from = function.and_then(|function| function.on.as_ref()).map(|trigger| &trigger.on);
    let kept = program.needs().into_iter().chain(from).filter(|need| matches!(need.kind, Kind::Bucket | Kind::Table));
    let keys: BTreeSet<String> = kept.filter_map(|need| cloud.key(&need.to_string())).collect();
    (!keys.is_empty())
        .then(|| json!({ "Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": keys }))
}

/// Reading these secrets, and the key they lie under.
fn reads(cloud: &Cloud<'_>, secrets: &[String]) -> Vec<Value> {
    let mut statements =
        vec![json!({ "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secrets })];
    statements.extend(
        cloud.key("variable").map(|key| json!({ "Effect": "Allow", "Action": "kms:Decrypt", "Resource": key })),
    );
    statements
}

fn statements(cloud: &Cloud<'_>, program: &Program<'_>) -> Vec<Value> {
    let mut statements = Vec::new();
    let own = program.reference().to_string();
    statements.extend(started(cloud, program));
    for need in program.needs() {
        let name = label(&need.name);
        let allow = |actions: &[&str], resources: Vec<String>| json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
        statements.extend(match need.kind {
            Kind::Bucket => Some(bucket(&name, true)),
            Kind::Topic => Some(allow(&["sns:Publish"], vec![format!("= aws_sns_topic.{name}.arn")])),
            Kind::Table => Some(allow(
                &[
                    "dynamodb:GetItem",
                    "dynamodb:BatchGetItem",
                    "dynamodb:Query",
                    "dynamodb:PutItem",
                    "dynamodb:UpdateItem",
                    "dynamodb:DeleteItem",
                ],
                vec![format!("= aws_dynamodb_table.{name}.arn"), format!("${{aws_dynamodb_table.{name}.arn}}/index/*")],
            )),
            Kind::Search => Some(allow(
                &["es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut", "es:ESHttpDelete"],
                vec![format!("${{aws_opensearch_domain.{name}.arn}}/*")],
            )),
            Kind::Identity => Some(allow(
                &["cognito-idp:AdminGetUser", "cognito-idp:ListUsers"],
                vec![format!("= aws_cognito_user_pool.{name}.arn")],
            )),
            Kind::Mail => Some(allow(
                &["ses:SendEmail", "ses:SendTemplatedEmail"],
                vec![
                    format!("= aws_sesv2_email_identity.{name}.arn"),
                    format!("= aws_sesv2_configuration_set.{name}.arn"),
                ],
            )),
            Kind::External => external(cloud, &need.name),
            _ => None,
        });
    }
    statements.extend(unlocked(cloud, program));
    let mut extra: Vec<&str> = Vec::new();
    for (_, role) in cloud.extras(Kind::Role) {
        let of = texts(role, "of");
        if of.iter().any(|of| *of == own || *of == format!("{}.*", program.kind)) {
            extra.extend(texts(role, "allow"));
        }
    }
    statements.extend(
        extra
            .into_iter()
            .map(|action| json!({ "Effect": "Allow", "Action": action, "Resource": resource_of(cloud, action) })),
    );
    if traced(cloud) {
        statements.push(json!({ "Effect": "Allow", "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "Resource": "*" }));
    }
    statements
}

fn external(cloud: &Cloud<'_>, name: &stack::ResourceName) -> Option<Value> {
    let (_, extra) = cloud.extras(Kind::External).find(|(known, _)| *known == name)?;
    match text(extra, "kind")? {
        "textract" => Some(json!({
            "Effect": "Allow", "Action": ["textract:AnalyzeDocument", "textract:DetectDocumentText"], "Resource": "*",
        })),
        "bedrock" => Some(json!({
            "Effect": "Allow", "Action": ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"],
            "Resource": format!("arn:aws:bedrock:${{var.region}}::foundation-model/{}*", text(extra, "model").unwrap_or_default()),
        })),
        _ => None,
    }
}

/// The narrowest resource that an action of a `[role]` is about.
fn resource_of(cloud: &Cloud<'_>, action: &str) -> Value {
    let account = "${var.region}:${data.aws_caller_identity.current.account_id}";
    let database = cloud.databases().next();
    let service = action.split(':').next().unwrap_or_default();
    match (action, database) {
        ("rds-db:connect", Some((name, database))) => {
            let id = if super::database::serverless(database) {
                format!("${{aws_rds_cluster.{}.cluster_resource_id}}", label(name))
            } else {
                format!("${{aws_db_instance.{}.resource_id}}", label(name))
            };
            format!("arn:aws:rds-db:{account}:dbuser:{id}/{}", super::database::user(cloud)).into()
        }
        (_, Some((name, database))) if service == "rds" => {
            let kind = if super::database::serverless(database) { "aws_rds_cluster" } else { "aws_db_instance" };
            format!("= {kind}.{}.arn", label(name)).into()
        }
        _ if service == "bedrock" => {
            let model = cloud.extras(Kind::External).find_map(|(_, extra)| text(extra, "model")).unwrap_or_default();
            format!("arn:aws:bedrock:${{var.region}}::foundation-model/{model}*").into()
        }
        _ if service == "ses" => match cloud.extras(Kind::Mail).next() {
            Some((name, _)) => json!([
                format!("= aws_sesv2_email_identity.{}.arn", label(name)),
                format!("arn:aws:ses:{account}:template/*"),
            ]),
            None => "*".into(),
        },
        // Textract and others have no resources
        _ => "*".into(),
    }
}

/// Whether requests are followed from part to part.
pub(crate) fn traced(cloud: &Cloud<'_>) -> bool {
    cloud.extras(Kind::Log).any(|(_, extra)| flag(extra, "traces"))
}

pub(crate) fn roles(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    match cloud.shape {
        Shape::Fargate | Shape::Lambda => {}
        Shape::Machines | Shape::Cluster => return super::machines::roles(cloud, &all_statements(cloud)),
    }
    let mut execution = Vec::new();
    for program in program::all(cloud.stack) {
        let own = name(&program);
        let task = super::function::is_task(cloud, &program);
        let service = if task { "ecs-tasks.amazonaws.com" } else { "lambda.amazonaws.com" };
        blocks.push(hcl::resource(
            "aws_iam_role",
            &own,
            json!({
                "name": format!("${{local.name}}-{}-{}", program.kind, program.name),
                "assume_role_policy": trust(service),
            }),
        ));
        let mut statements = statements(cloud, &program);
        // one secret may stand behind several names
        let secrets: BTreeSet<String> =
            super::environment::of(cloud, &program).secrets.into_iter().map(|(_, arn)| format!("= {arn}")).collect();
        let secrets: Vec<String> = secrets.into_iter().collect();
        if task {
            execution.extend(secrets);
        } else {
            statements.push(json!({
                "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": format!("${{aws_cloudwatch_log_group.{own}.arn}}:*"),
            }));
            if !secrets.is_empty() {
                statements.extend(reads(cloud, &secrets));
            }
        }
        if !statements.is_empty() {
            blocks.push(hcl::resource(
                "aws_iam_role_policy",
                &own,
                json!({
                    "name": "needs",
                    "role": format!("= aws_iam_role.{own}.id"),
                    "policy": policy(&statements),
                }),
            ));
        }
        if !task && cloud.networked() {
            blocks.push(hcl::resource(
                "aws_iam_role_policy_attachment",
                &format!("{own}_network"),
                json!({
                    "role": format!("= aws_iam_role.{own}.name"),
                    "policy_arn": "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole",
                }),
            ));
        }
    }
    if super::fargate::any(cloud) {
        execution.sort();
        execution.dedup();
        blocks.extend(task_execution(cloud, &execution));
    }
    blocks
}

/// Statements of all programs together, for machines that run them all.
fn all_statements(cloud: &Cloud<'_>) -> Vec<Value> {
    let mut whole: Vec<Value> = Vec::new();
    for program in program::all(cloud.stack) {
        for statement in statements(cloud, &program) {
            if !whole.contains(&statement) {
                whole.push(statement);
            }
        }
    }
    whole
}

fn task_execution(cloud: &Cloud<'_>, secrets: &[String]) -> Vec<Block> {
    let mut blocks = vec![
        hcl::resource(
            "aws_iam_role",
            "task_execution",
            json!({
                "name": "${local.name}-task-execution",
                "assume_role_policy": trust("ecs-tasks.amazonaws.com"),
            }),
        ),
        hcl::resource(
            "aws_iam_role_policy_attachment",
            "task_execution",
            json!({
                "role": "= aws_iam_role.task_execution.name",
                "policy_arn": "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy",
            }),
        ),
    ];
    if !secrets.is_empty() {
        blocks.push(hcl::resource(
            "aws_iam_role_policy",
            "task_execution",
            json!({
                "name": "secrets",
                "role": "= aws_iam_role.task_execution.id",
                "policy": policy(&reads(cloud, secrets)),
            }),
        ));
    }
    blocks
}

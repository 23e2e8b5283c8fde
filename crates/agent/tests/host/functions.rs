//! Functions: topics, visitors, queues, retries, dead letters, deploys and agents that are killed meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use agent::protocol::{Call, DeadLetter, Reply, Run};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::bed::{Bed, DEADLINE, eventually};

/// A service that publishes, and what it needs for that.
const PUBLISHER: &str = r#"
[service.web]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
needs = ["topic.orders"]

[topic.orders]

[route."shop.test"]
"/" = "service.web"
"#;

/// Keeps its event under its name and the event's id.
const TAKE: &str = "cmp -s - $SLIPWAY_EVENT || exit 8; cp $SLIPWAY_EVENT $SLIPWAY_DATA/$1-$CE_ID; echo took $CE_TYPE";

/// One request on a connection of its own: status, head and body.
async fn ask(address: SocketAddr, head: &str, body: &str) -> std::io::Result<(u16, String, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        Ok((status, head.to_owned(), body.to_owned()))
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Publishes to the address in a variable.
async fn publish(url: &str, headers: &str, body: &str) -> std::io::Result<(u16, String)> {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let head = format!("POST /{path} HTTP/1.1\r\nhost: {authority}{headers}");
    let (status, _, body) = ask(authority.parse().unwrap(), &head, body).await?;
    Ok((status, body))
}

/// The variables of the test service.
async fn variables(bed: &Bed) -> BTreeMap<String, String> {
    let (_, body) = bed.get("shop.test", "/env").await.unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

async fn runs(bed: &Bed) -> Vec<Run> {
    match bed.call(Call::Runs).await {
        Ok(Reply::Runs { runs }) => runs,
        other => panic!("{other:?}"),
    }
}

async fn dead(bed: &Bed) -> Vec<DeadLetter> {
    match bed.call(Call::DeadLetters).await {
        Ok(Reply::DeadLetters { letters }) => letters,
        other => panic!("{other:?}"),
    }
}

/// Waits until the runs are as wanted.
async fn until_runs(bed: &Bed, what: &str, holds: impl Fn(&[Run]) -> bool) -> Vec<Run> {
    let began = Instant::now();
    loop {
        let now = runs(bed).await;
        if holds(&now) {
            return now;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: {now:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn taken(bed: &Bed, by: &str) -> Vec<PathBuf> {
    let list = fs::read_dir(bed.folder().join("data")).unwrap().flatten().map(|entry| entry.path());
    list.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{by}-"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_topic_reaches_every_function_that_subscribes() {
    // proves S1.3, S1.23, S1.24
    let bed = Bed::new().await;
    let text = format!(
        r#"{PUBLISHER}
[function.mail]
run = "sh take.sh mail"
env = {{ GREETING = "hello" }}

[function.score]
run = "sh take.sh score"
on = {{ topic = "orders", event = "order.paid" }}

[function.match]
run = "sh take.sh match"
on = {{ service = "web", event = "job.posted" }}
"#
    );
    // The topic itself may name who gets its events.
    let text = text.replace("[topic.orders]", "[topic.orders]\nto = \"function.mail\"");
    let revision = bed.revision(&text, &[("take.sh", TAKE)], &[]).await;
    bed.deploy(&revision).await;
    let env = variables(&bed).await;
    let url = &env["ORDERS_TOPIC_URL"];
    assert_eq!(url, &env["TOPIC_URL"]);
    let (status, body) = publish(url, "", r#"{"number": 1}"#).await.unwrap();
    assert_eq!(status, 202, "{body}");
    let event = r#"{"specversion":"1.0","id":"o-2","source":"/web","type":"order.paid","data":{"number":2}}"#;
    let structured = "\r\ncontent-type: application/cloudevents+json";
    assert_eq!(publish(url, structured, event).await.unwrap().0, 202);
    let binary = "\r\nce-id: o-3\r\nce-type: order.paid\r\nce-source: /web\r\nce-subject: 3\r\ncontent-type: text/csv";
    assert_eq!(publish(url, binary, "a,b").await.unwrap().0, 202);
    eventually("both have theirs", || taken(&bed, "mail").len() == 3 && taken(&bed, "score").len() == 2).await;
    let event: serde_json::Value =
        serde_json::from_slice(&fs::read(bed.folder().join("data/score-o-3")).unwrap()).unwrap();
    assert_eq!((&event["type"], &event["data"]), (&"order.paid".into(), &"a,b".into()));
    let raised = format!("{}&type=job.posted", env["EVENTS_URL"]);
    assert_eq!(publish(&raised, "", "{}").await.unwrap().0, 202);
    eventually("a service raises events", || taken(&bed, "match").len() == 1).await;

    // Others are kept out, and mistakes are told.
    let (status, _) = publish(url.split('?').next().unwrap(), "", "{}").await.unwrap();
    assert_eq!(status, 401);
    let (status, body) = publish(&url.replace("topic.orders", "topic.other"), "", "{}").await.unwrap();
    assert!(status == 404 && body.contains("is no topic"), "{status} {body}");
    assert_eq!(publish(url, structured, "{}").await.unwrap().0, 400);
    assert_eq!(publish(&env["EVENTS_URL"], "", "{}").await.unwrap().0, 400, "it says not what happened");
    let runs = until_runs(&bed, "all are over", |runs| runs.iter().all(|run| run.code.is_some())).await;
    assert!(runs.iter().all(|run| run.code == Some(0)), "{runs:#?}");
    assert!(runs.iter().any(|run| run.event.as_deref() == Some("o-2") && run.name == "function.score"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_when_the_agent_is_killed() {
    let mut bed = Bed::new().await;
    let functions = "[function.one]\nrun = \"sh take.sh one\"\non = { topic = \"orders\" }\n\
                     [function.two]\nrun = \"sh take.sh two\"\non = { topic = \"orders\" }\n";
    let revision = bed.revision(&format!("{PUBLISHER}{functions}"), &[("take.sh", TAKE)], &[]).await;
    bed.deploy(&revision).await;
    let url = variables(&bed).await["TOPIC_URL"].clone();
    let publishing = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0..60 {
            let headers = format!("\r\nce-id: e-{number}\r\nce-type: t\r\nce-source: /x");
            // The edge holds those that come while there is no agent; one it had in hand may be lost, and is told.
            let began = Instant::now();
            match publish(&url, &headers, "{}").await {
                Ok((202, _)) => acknowledged.push(number),
                other => println!("event {number} after {:?}: {other:?}", began.elapsed()),
            }
        }
        acknowledged
    });
    while !publishing.is_finished() {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bed.kill_agent();
        bed.start_agent().await;
    }
    let acknowledged = publishing.await.unwrap();
    assert!(acknowledged.len() >= 40, "{acknowledged:?}");
    let data = bed.folder().join("data");
    let began = Instant::now();
    let missing = || {
        let all = acknowledged.iter().flat_map(|number| ["one", "two"].map(|by| format!("{by}-e-{number}")));
        all.filter(|name| !data.join(name).exists()).collect::<Vec<_>>()
    };
    while !missing().is_empty() {
        assert!(began.elapsed() < DEADLINE * 3, "{:?}\n{:#?}", missing(), runs(&bed).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{} acknowledged, {} runs", acknowledged.len(), runs(&bed).await.len());
    assert!(dead(&bed).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_goes_to_services_too_which_may_be_busy_or_refuse() {
    // proves S1.23
    let mut bed = Bed::new().await;
    let text = PUBLISHER.replace(
        "[topic.orders]",
        "[topic.orders]\nto = [\"service.web\", \"function.mail\"]\nretries = 1\nfilter = { type = \"order.paid\" }\n\n\
         [function.mail]\nrun = \"sh take.sh mail\"\n",
    );
    let revision = bed.revision(&text, &[("take.sh", TAKE)], &[]).await;
    bed.deploy(&revision).await;
    let url = variables(&bed).await["TOPIC_URL"].clone();
    let data = bed.folder().join("data");
    let posts = |id: &str| {
        let log = fs::read_to_string(data.join("posts")).unwrap_or_default();
        log.lines().filter(|line| line.starts_with(&format!("{id} application/cloudevents+json"))).count()
    };
    let send = async |id: &str, kind: &str| {
        let headers = format!("\r\nce-id: {id}\r\nce-type: {kind}\r\nce-source: /x\r\ncontent-type: application/json");
        assert_eq!(publish(&url, &headers, r#"{"number": 1}"#).await.unwrap().0, 202);
    };
    send("other", "order.seen").await;
    send("a", "order.paid").await;
    eventually("both have it", || data.join("posted-a").exists() && data.join("mail-a").exists()).await;
    let posted: serde_json::Value = serde_json::from_slice(&fs::read(data.join("posted-a")).unwrap()).unwrap();
    assert_eq!((&posted["data"]["number"], &posted["type"]), (&1.into(), &"order.paid".into()));
    assert_eq!(posts("other"), 0, "the filter holds for all");

    // who is busy is asked again, however often, also by the next agent
    fs::write(data.join("mood"), "503").unwrap();
    send("b", "order.paid").await;
    eventually("more often than `retries` says", || posts("b") > 3).await;
    let told = bed.observe().await.troubles.join("; ");
    assert!(told.contains("`service.web` waits for events of `topic.orders`: it answers 503"), "{told}");
    bed.kill_agent();
    bed.start_agent().await;
    fs::remove_file(data.join("mood")).unwrap();
    eventually("it is taken at last", || data.join("posted-b").exists()).await;

    // who refuses is asked as often as the topic says, and then it is kept
    fs::write(data.join("mood"), "422").unwrap();
    send("c", "order.paid").await;
    let began = Instant::now();
    while dead(&bed).await.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let letters = dead(&bed).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    let why = "it answered 422 Unprocessable Entity";
    assert_eq!((letter.function.as_str(), letter.attempts, letter.why.as_str()), ("service.web", 2, why));
    assert_eq!(posts("c"), 2);
    fs::remove_file(data.join("mood")).unwrap();
    bed.call(Call::Redeliver { to: "service.web".parse().unwrap() }).await.unwrap();
    eventually("it is taken later", || data.join("posted-c").exists()).await;
    while !dead(&bed).await.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again_then_kept_and_can_be_delivered_later() {
    let bed = Bed::new().await;
    let function = "[function.sour]\nrun = \"sh sour.sh\"\non = { topic = \"orders\" }\nretries = 1\n\
                    [job.match]\nrun = \"sh sour.sh\"\nschedule = \"@yearly\"\n";
    let sour = "echo attempt of $CE_ID; [ -e $SLIPWAY_DATA/sweet ] || exit 3; echo > $SLIPWAY_DATA/done-$CE_ID";
    let revision = bed.revision(&format!("{PUBLISHER}{function}"), &[("sour.sh", sour)], &[]).await;
    bed.deploy(&revision).await;
    let url = variables(&bed).await["TOPIC_URL"].clone();
    publish(&url, "\r\nce-id: x\r\nce-type: t", "{}").await.unwrap();
    until_runs(&bed, "two attempts", |runs| runs.iter().filter(|run| run.code == Some(3)).count() == 2).await;
    let began = Instant::now();
    while dead(&bed).await.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let letters = dead(&bed).await;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.function.as_str(), letter.attempts, letter.why.as_str()), ("sour", 2, "exit code 3"));
    assert_eq!(letter.event["id"], "x");

    fs::write(bed.folder().join("data/sweet"), "").unwrap();
    bed.call(Call::Redeliver { to: "function.sour".parse().unwrap() }).await.unwrap();
    eventually("it is taken at last", || bed.folder().join("data/done-x").exists()).await;
    while !dead(&bed).await.is_empty() {
        assert!(began.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // A person starts a job or a function by hand.
    let start = |name: &str, event| Call::Start { name: name.parse().unwrap(), event };
    let Ok(Reply::Started { id }) = bed.call(start("job.match", None)).await else { panic!() };
    until_runs(&bed, "the job", |runs| runs.iter().any(|run| run.id == id && run.code == Some(0))).await;
    let event = serde_json::json!({"specversion": "1.0", "id": "hand", "source": "/me", "type": "t"});
    bed.call(start("function.sour", Some(event))).await.unwrap();
    eventually("the function", || bed.folder().join("data/done-hand").exists()).await;
    let refused = bed.call(start("job.other", None)).await.unwrap_err().to_string();
    assert!(refused.contains("has no `job.other`; there are: job.match, function.sour"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_goes_on_survives_deploys_and_agents_in_its_own_release() {
    let mut bed = Bed::new().await;
    let function = "[function.long]\nrun = \"sh long.sh\"\non = { topic = \"orders\" }\n";
    let long = "echo $SLIPWAY_RELEASE > $SLIPWAY_DATA/begun; \
                while [ ! -e $SLIPWAY_DATA/go ]; do sleep 0.05; done; echo $SLIPWAY_RELEASE > $SLIPWAY_DATA/ended-$1";
    let text = format!("{PUBLISHER}{function}");
    let first = bed.revision(&text, &[("long.sh", &long.replace("$1", "first"))], &[]).await;
    bed.deploy(&first).await;
    let url = variables(&bed).await["TOPIC_URL"].clone();
    publish(&url, "", "{}").await.unwrap();
    let data = bed.folder().join("data");
    eventually("it runs", || data.join("begun").exists()).await;
    let second = bed.revision(&text, &[("long.sh", &long.replace("$1", "second"))], &[]).await;
    bed.deploy(&second).await;
    bed.kill_agent();
    bed.start_agent().await;
    fs::write(data.join("go"), "").unwrap();
    eventually("it ends in its own release", || data.join("ended-first").exists()).await;
    let runs = until_runs(&bed, "it is over", |runs| runs.iter().all(|run| run.code == Some(0))).await;
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(fs::read_to_string(data.join("ended-first")).unwrap().trim(), first.release.as_str());
    // The next event is the new release's.
    publish(&url, "", "{}").await.unwrap();
    eventually("the next runs in the new release", || data.join("ended-second").exists()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_wait_for_a_function() {
    // proves S0.4, S0.5
    let mut bed = Bed::new().await;
    let text = r#"
[function.hook]
run = "sh hook.sh"
timeout = "5s"

[route."api.test"]
"/hook" = { to = "function.hook", strip = true }
"#;
    let hook = r#"
case $CE_SUBJECT in
/fail) exit 1 ;;
/slow) exec sleep 60 ;;
/json) echo '{"statusCode": 201, "headers": {"X-Made": "yes"}, "body": "made"}' ;;
/echo) printf 'Content-Type: application/json\n\n'; cat ;;
*) echo "$CE_TYPE"; echo noise >&2 ;;
esac"#;
    let revision = bed.revision(text, &[("hook.sh", hook)], &[]).await;
    bed.deploy(&revision).await;
    let visit = async |path: &str, body: &str| {
        let head = format!("POST /hook{path} HTTP/1.1\r\nhost: api.test\r\nx-mine: 1");
        ask(bed.address, &head, body).await.unwrap()
    };
    let (status, _, body) = visit("/", "").await;
    assert_eq!((status, body.trim()), (200, "slipway.http.request"));
    let (status, head, body) = visit("/json", "").await;
    assert_eq!((status, body.as_str()), (201, "made"));
    assert!(head.to_lowercase().contains("x-made: yes"), "{head}");
    let (status, _, body) = visit("/echo?a=1", "hello").await;
    let event: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!((status, &event["data"]["body"], &event["data"]["query"]), (200, &"hello".into(), &"a=1".into()));
    assert_eq!((&event["data"]["method"], &event["data"]["headers"]["x-mine"]), (&"POST".into(), &"1".into()));
    assert_eq!(visit("/fail", "").await.0, 500);
    assert_eq!(visit("/slow", "").await.0, 504, "past its time limit");
    let began = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    let address = bed.address;
    for _ in 0..40 {
        all.spawn(async move { ask(address, "POST /hook HTTP/1.1\r\nhost: api.test", "").await.unwrap().0 });
    }
    assert!(all.join_all().await.into_iter().all(|status| status == 200));
    println!("40 visitors of a function in {:?}", began.elapsed());
    // Who comes while the agent is away waits.
    bed.kill_agent();
    let waiting = tokio::spawn(async move { ask(address, "POST /hook HTTP/1.1\r\nhost: api.test", "").await });
    bed.start_agent().await;
    assert_eq!(waiting.await.unwrap().unwrap().0, 200);
    let query = agent::LogQuery { service: Some("hook".to_owned()), ..agent::LogQuery::default() };
    let mut logs = bed.client().logs(&bed.scope, &query).await.unwrap();
    let line = logs.next().await.unwrap().unwrap();
    assert_eq!((line.stream.as_str(), line.line.as_str()), ("err", "noise"), "what it says to itself is logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_queue_are_taken_or_end_up_among_the_dead() {
    use lapin::{BasicProperties, Connection, ConnectionProperties, options::*, types::FieldTable};
    // proves S1.19: the queue's end of a pipeline
    assert!(
        std::path::Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists(),
        "this test needs RabbitMQ: apt-get install -y --no-install-recommends rabbitmq-server"
    );
    let bed = Bed::new().await;
    let text = r#"
[service.web]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
needs = ["topic.orders"]

[topic.orders]
to = "queue.mq"

[function.parse]
run = "sh parse.sh"
on = { queue = "mq", event = "resumes" }
retries = 1

[function.order]
run = "sh take.sh order"
on = { queue = "mq" }

[queue.mq]
engine = "rabbitmq:3"
"#;
    let parse = "grep -q poison $SLIPWAY_EVENT && exit 4; cp $SLIPWAY_EVENT $SLIPWAY_DATA/got-$CE_ID";
    let revision = bed.revision(text, &[("parse.sh", parse), ("take.sh", TAKE)], &[]).await;
    bed.deploy(&revision).await;
    let patience = DEADLINE * 6;
    // An event of a topic waits until the broker is there, and goes its way as it is.
    let url = variables(&bed).await["TOPIC_URL"].clone();
    let headers = "\r\nce-id: o-1\r\nce-type: order.paid\r\nce-source: /web";
    assert_eq!(publish(&url, headers, r#"{"number": 1}"#).await.unwrap().0, 202);
    let began = Instant::now();
    let connection = loop {
        let book = fs::read(bed.folder().join("services.json")).unwrap_or_default();
        let book: serde_json::Value = serde_json::from_slice(&book).unwrap_or_default();
        let of = |key: &str| book["queue.mq"][key].as_str().unwrap_or_default().to_owned();
        let url = format!("amqp://{}:{}@127.0.0.1:{}", of("user"), of("password"), book["queue.mq"]["port"]);
        if let Ok(connection) = Connection::connect(&url, ConnectionProperties::default()).await {
            break connection;
        }
        assert!(began.elapsed() < patience, "RabbitMQ does not come up\n{}", bed.agent_log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let channel = connection.create_channel().await.unwrap();
    let durable = || QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("resumes".into(), durable(), FieldTable::default()).await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for (id, text) in [("a", "good"), ("b", "poison"), ("c", "good")] {
        let properties = BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2);
        let sent = channel.basic_publish(
            "".into(),
            "resumes".into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            properties,
        );
        sent.await.unwrap().await.unwrap();
    }
    let data = bed.folder().join("data");
    let mut seen = Vec::new();
    while seen.len() < 2 || !data.join("got-a").exists() || !data.join("got-c").exists() {
        seen = runs(&bed).await;
        seen.retain(|run| run.event.as_deref() == Some("b") && run.code == Some(4));
        assert!(began.elapsed() < patience, "{:#?}\n{}", runs(&bed).await, bed.agent_log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let letter = loop {
        let got = channel.basic_get("resumes.dead".into(), BasicGetOptions { no_ack: true }).await;
        if let Ok(Some(letter)) = got {
            break letter;
        }
        assert!(began.elapsed() < patience, "no dead letter");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(letter.data, b"poison");
    let headers = letter.properties.headers().clone().unwrap();
    let why = lapin::types::AMQPValue::LongString("exit code 4".into());
    assert_eq!(headers.inner().get("x-slipway-why"), Some(&why));
    let rest = channel.queue_declare("resumes".into(), durable(), FieldTable::default()).await.unwrap();
    assert_eq!(rest.message_count(), 0, "each was acknowledged");
    let ordered = data.join("order-o-1");
    while !ordered.exists() {
        assert!(began.elapsed() < patience, "{:#?}\n{}", runs(&bed).await, bed.agent_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ordered: serde_json::Value = serde_json::from_slice(&fs::read(&ordered).unwrap()).unwrap();
    assert_eq!((&ordered["source"], &ordered["data"]["number"]), (&"/web".into(), &1.into()));
    // The server is stopped in order: it has helpers of its own.
    bed.want(&[], &[]).await;
    let began = Instant::now();
    while !bed.observe().await.services.is_empty() {
        assert!(began.elapsed() < patience);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_beside_an_instance_with_its_streams_and_its_exit_code() {
    use agent::{ExecOutput, ExecRequest, ExecTarget};
    let bed = Bed::new().await;
    let text = "[service.web]\nrun = \"WEB\"\nport = 4000\nhealth = { path = \"/health\", up = 1 }\n\
                env = { GREETING = \"hello\" }\n";
    let revision = bed.revision(text, &[("file.txt", "inside")], &[]).await;
    bed.deploy(&revision).await;
    let client = bed.client();
    let exec = async |target: ExecTarget, command: &[&str], input: &str| {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecRequest { scope: bed.scope.clone(), target, command };
        let (typed, receiver) = tokio::sync::mpsc::channel(1);
        typed.send(input.as_bytes().to_vec()).await.unwrap();
        drop(typed);
        let mut exec = client.exec(&request, receiver).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match tokio::time::timeout(DEADLINE, exec.next()).await.unwrap()? {
                ExecOutput::Out(bytes) => out.extend_from_slice(&bytes),
                ExecOutput::Err(bytes) => err.extend_from_slice(&bytes),
                ExecOutput::End(code) => {
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                    return Ok::<_, engine::target::TargetError>((code, text(out), text(err)));
                }
            }
        }
    };
    let beside = || ExecTarget::Beside("web".to_owned());
    let script = "cat file.txt; echo \" $GREETING $SLIPWAY_INSTANCE\"; cat; echo oops >&2; exit 7";
    let (code, out, err) = exec(beside(), &["sh", "-c", script], "typed").await.unwrap();
    let instance = bed.instances().await[0].id.clone();
    assert_eq!((code, out, err), (7, format!("inside hello {instance}\ntyped"), "oops\n".to_owned()));
    let (code, ..) = exec(ExecTarget::Beside(instance), &["sh", "-c", "kill -9 $$"], "").await.unwrap();
    assert_eq!(code, 137);
    let release = ExecTarget::Release { revision: revision.clone(), service: "web".parse().unwrap() };
    let (code, out, _) = exec(release, &["sh", "-c", "echo $GREETING $PWD"], "").await.unwrap();
    assert!(code == 0 && out.starts_with("hello ") && out.contains("/tree/"), "{out}");
    // A large output comes whole.
    let (code, out, _) = exec(beside(), &["head", "-c", "3000000", "/dev/zero"], "").await.unwrap();
    assert_eq!((code, out.len()), (0, 3_000_000));
    let missing = exec(beside(), &["no-such-program"], "").await.unwrap_err().to_string();
    assert!(missing.contains("program `no-such-program` was not found"), "{missing}");
    let nowhere = exec(ExecTarget::Beside("api".to_owned()), &["true"], "").await.unwrap_err().to_string();
    assert!(nowhere.contains("no instance of `api` runs on this host; there are: web-"), "{nowhere}");

    // It ends when its caller goes away.
    let marker = bed.folder().join("data/pid");
    let command = ["sh", "-c", "echo $$ > $SLIPWAY_DATA/pid; exec sleep 600"].map(str::to_owned).to_vec();
    let request = ExecRequest { scope: bed.scope.clone(), target: beside(), command };
    let (_typed, receiver) = tokio::sync::mpsc::channel(1);
    let running = client.exec(&request, receiver).await.unwrap();
    eventually("it runs", || fs::read_to_string(&marker).is_ok_and(|text| text.ends_with('\n'))).await;
    let pid: u32 = fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    drop(running);
    eventually("it ends with its caller", || observe::process::find(pid).ok().flatten().is_none()).await;
}

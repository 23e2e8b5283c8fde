//! What hosts can make real, what only warns, and what is refused.

use stack::Severity;

fn problems(hosts: &str, tables: &str) -> Vec<(Severity, String)> {
    let text = format!("app = \"shop\"\n{tables}\n[environment.live]\ntarget = \"hosts\"\nhosts = [{hosts}]\n");
    let environment = "live".parse().expect("a name");
    let resolved = stack::resolve("slipway.toml", &text, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    fleet::honours(&resolved).iter().map(|problem| (problem.severity, problem.message.clone())).collect()
}

const SERVICE: &str = "[service.api]\nrun = \"./api\"\nport = 4000\nhealth = \"/health\"\n";

#[test]
fn buckets_events_and_topics_are_served_by_hosts() {
    let tables = format!(
        "{SERVICE}size = {{ replicas = 2 }}\n[bucket.files]\n[topic.news]\n[queue.mq]\nengine = \"rabbitmq:3.12\"\n\
         [function.a]\nrun = \"./a\"\non = {{ bucket = \"files\" }}\n[function.b]\nrun = \"./b\"\non = {{ topic = \"news\" }}\n\
         [function.c]\nrun = \"./c\"\non = {{ queue = \"mq\" }}\n"
    );
    assert_eq!(problems("\"a\", \"b\"", &tables), Vec::new());
}

#[test]
fn a_topic_goes_to_functions_services_and_queues_and_to_nobody_else() {
    let tables = |to: &str| {
        format!(
            "{SERVICE}[service.worker]\nrun = \"./worker\"\n[function.a]\nrun = \"./a\"\nschedule = \"@daily\"\n\
             [queue.mq]\nengine = \"rabbitmq:3.12\"\n[topic.news]\nto = [{to}]\n"
        )
    };
    assert_eq!(problems("\"a\"", &tables("\"function.a\", \"service.api\", \"queue.mq\"")), Vec::new());
    let only =
        "topic `news` goes to `desk@example.org`, and events are delivered to functions, services and queues only";
    assert_eq!(problems("\"a\"", &tables("\"desk@example.org\"")), [(Severity::Error, only.to_owned())]);
    let deaf = "topic `news` goes to `service.worker`, which has no `port` to be called at";
    assert_eq!(problems("\"a\"", &tables("\"service.worker\"")), [(Severity::Error, deaf.to_owned())]);
    // what can never be one is refused by every target, which names what can
    let text = format!("app = \"shop\"\n{}\n[environment.live]\ntarget = \"local\"\n", tables("\"bucket.files\""));
    let refused = stack::resolve("slipway.toml", &text, &"live".parse().expect("a name")).expect_err("no target");
    let said = refused.to_string();
    assert!(["queue", "function", "service"].iter().all(|kind| said.contains(kind)), "{said}");
}

#[test]
fn a_file_of_sqlite_is_for_one_host() {
    let tables = "[database.main]\nengine = \"sqlite\"\n";
    assert_eq!(problems("\"a\"", tables), Vec::new());
    let message = "database `main` is a file of SQLite, which one host has, and `live` has 2 hosts".to_owned();
    assert_eq!(problems("\"a\", \"b\"", tables), [(Severity::Error, message)]);
}

#[test]
fn fewer_replicas_than_hosts_are_a_warning() {
    assert_eq!(problems("\"a\"", SERVICE), Vec::new());
    let message = "service `api` has one replica on 3 hosts: a lost host takes it down".to_owned();
    assert_eq!(problems("\"a\", \"b\", \"c\"", SERVICE), [(Severity::Warning, message)]);
    let two = format!("{SERVICE}size = {{ replicas = 2 }}\n");
    let message = "service `api` has 2 replicas, so some of the 3 hosts run none of it".to_owned();
    assert_eq!(problems("\"a\", \"b\", \"c\"", &two), [(Severity::Warning, message)]);
}

#[test]
fn what_an_application_cannot_run_without_is_refused() {
    let found = problems("\"a\"", "[table.sessions]\nkey = \"id\"\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].0 == Severity::Error && found[0].1 == "table `sessions`: target `hosts` cannot make one",
        "{found:?}"
    );
}

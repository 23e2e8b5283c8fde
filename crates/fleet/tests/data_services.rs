//! Which data services a host of this target runs, and which it refuses.

fn problems(tables: &str) -> Vec<String> {
    let text = format!("app = \"shop\"\n{tables}\n[environment.dev]\ntarget = \"local\"\ndata = \"seed\"\n");
    let environment = "dev".parse().expect("a name");
    let resolved = stack::resolve("slipway.toml", &text, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    fleet::honours(&resolved).iter().map(|problem| problem.message.clone()).collect()
}

#[test]
fn servers_that_can_be_run_here_need_no_address() {
    let tables = "[database.main]\nengine = \"postgres:15\"\n[cache.redis]\nengine = \"redis:7\"\n[queue.mq]\nengine = \"rabbitmq:3.12\"\n";
    assert_eq!(problems(tables), Vec::<String>::new());
}

#[test]
fn others_need_one_and_copies_are_not_made() {
    let tables = "[cache.a]\nengine = \"memcached:1\"\n[cache.b]\nengine = \"redis:7\"\nshards = 3\nreplicas = 1\n\
                  [queue.c]\nengine = \"rabbitmq:3.12\"\nreplicas = 3\n[queue.d]\nengine = \"nats:2\"\nurl = \"nats://x:1\"\n";
    let expected = [
        "cache `a` has no `url`, and target `local` starts no memcached:1 server",
        "queue `c` has 3 members, and target `local` runs one",
        "cache `b` has replicas, and target `local` runs one server",
        "cache `b` has shards, and target `local` runs one server",
    ];
    assert_eq!(problems(tables), expected);
}

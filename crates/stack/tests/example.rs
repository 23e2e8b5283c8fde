//! The whole syntax in one file, parsed and resolved for each of its environments.

use stack::{
    CommandSource, DataClass, DatabaseEngine, EnvironmentName, Kind, Migrations, Millicpu, Resolved, Source, TargetKind,
};

const FILE: &str = include_str!("fixtures/jobsprint.toml");

fn resolve(name: &str) -> Resolved {
    let name = EnvironmentName::new(name).expect("well formed");
    stack::resolve("jobsprint.toml", FILE, &name).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_example_has_no_problems() {
    let problems = stack::check("jobsprint.toml", FILE);
    assert!(problems.is_empty(), "{problems}");
    let names: Vec<String> = stack::environments(FILE).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["dev", "production", "staging"]);
}

#[test]
fn every_part_reaches_the_model() {
    let stack = stack::parse("jobsprint.toml", FILE).expect("no problems");
    let api = &stack.services["api"];
    assert_eq!(api.size.cpu.map(|cpu| (cpu.min, cpu.max)), Some((Millicpu(250), Millicpu(1000))));
    assert_eq!((api.size.replicas.min, api.size.replicas.max), (2, 10));
    assert_eq!(api.env["TIMES"], "3");
    assert_eq!(stack.services["n8n"].source, Source::Image("n8nio/n8n:1".to_owned()));
    assert_eq!(stack.services["n8n"].health.as_ref().map(|health| health.path.as_str()), Some("/healthz"));
    // two services are not built in folders, so the one that is lends its files
    let CommandSource::Service(service) = &stack.jobs["match"].command.source else { panic!("the job has no service") };
    assert_eq!(service.as_str(), "api");
    assert_eq!(stack.functions["nightly"].schedule.as_ref().map(|s| s.time_zone.as_str()), Some("Europe/Berlin"));
    assert!(matches!(stack.databases["legacy"].migrations, Some(Migrations::Command { service: Some(_), .. })));
    assert_eq!(stack.databases["main"].settings["max_connections"], "200");
    assert_eq!(stack.extras.len(), 8);
    assert_eq!(stack.variables["SMTP_PORT"].default.as_deref(), Some("587"));
    let api_route = &stack.routes[1];
    assert_eq!(api_route.paths.iter().map(|path| path.path.as_str()).collect::<Vec<_>>(), ["/ai", "/"]);
    assert!(api_route.paths[0].strip && api_route.paths[1].websocket);
}

#[test]
fn dev_is_this_machine_with_seed_data() {
    let dev = resolve("dev");
    assert_eq!((dev.environment.target, dev.environment.data), (TargetKind::Local, DataClass::Seed));
    let main = &dev.stack.databases["main"];
    assert_eq!((&main.engine, main.replicas), (&DatabaseEngine::Sqlite, 0));
    // the rest of the table stays
    assert!(main.backup.is_some() && main.objective.as_ref().is_some_and(|objective| objective.rto.is_some()));
}

#[test]
fn staging_overlays_variables_routes_and_alarms() {
    let staging = resolve("staging");
    assert_eq!(staging.environment.listen, ["0.0.0.0:80".parse().expect("an address")]);
    assert_eq!(staging.stack.variables["LOG_LEVEL"].default.as_deref(), Some("debug"));
    assert!(staging.stack.routes.iter().any(|route| route.host == "staging.jobsprint.io"));
    assert_eq!(staging.stack.alarms["memory"], "memory > 95% for 10m");
}

#[test]
fn production_overlays_one_value_and_keeps_its_neighbours() {
    let production = resolve("production");
    let api = &production.stack.services["api"];
    assert_eq!((api.size.replicas.min, api.size.replicas.max), (3, 20));
    assert!(api.size.scale_at.is_some() && api.size.memory.is_some());
    let health = api.health.as_ref().expect("declared");
    assert_eq!((health.path.as_str(), health.down), ("/healthz", 3));
    assert_eq!(production.environment.data, DataClass::Real);
    assert_eq!(production.environment.rollout.stages.len(), 3);
    assert_eq!(production.environment.overlays.len(), 1);
    assert_eq!(production.environment.overlays[0].0, Kind::Service);
}

#[test]
fn an_unknown_environment_names_those_that_exist() {
    let name = EnvironmentName::new("prodution").expect("well formed");
    let problems = stack::resolve("jobsprint.toml", FILE, &name).expect_err("no such environment");
    let text = problems.to_string();
    assert!(text.contains("unknown-environment") && text.contains("did you mean `production`"), "{text}");
    assert!(text.contains("dev, production, staging"), "{text}");
}

//! Everything wrong with a file is told in one run, each with its place, its reason and its mend.

use std::{collections::BTreeSet, fmt::Write as _};

use stack::{Problems, Severity, check};

fn codes(text: &str) -> Vec<&'static str> {
    check("slipway.toml", text).iter().map(|problem| problem.code).collect()
}

#[test]
fn a_file_with_many_problems_tells_all_of_them() {
    let problems = check("slipway.toml", include_str!("fixtures/bad.toml"));
    insta::assert_snapshot!(problems.to_string());
    for problem in &problems {
        assert!(problem.mend.is_some(), "no mend: {problem}");
        assert!(problem.span.is_some(), "no place: {problem}");
        assert!(!problem.message.ends_with('.'), "{problem}");
    }
}

#[test]
fn json_carries_lines_and_columns() {
    let problems = check("slipway.toml", "app = \"x\"\n[service.api]\nrun = \"a\"\nreplcas = 3\n");
    insta::assert_json_snapshot!(problems, @r#"
    [
      {
        "severity": "error",
        "code": "unknown-key",
        "key": "service.api.replcas",
        "message": "unknown key `replcas` in service `api`",
        "mend": "did you mean `size.replicas`?",
        "file": "slipway.toml",
        "line": 4,
        "column": 1,
        "end_line": 4,
        "end_column": 8
      }
    ]
    "#);
}

#[test]
fn toml_mistakes_are_told_with_their_place() {
    let text = "app = \"x\"\napp = \"y\"\n[service.api\nrun = node\n";
    let problems = check("slipway.toml", text);
    assert!(problems.len() >= 2, "{problems}");
    assert!(problems.iter().all(|problem| problem.code == "syntax" && problem.span.is_some()), "{problems}");
    assert!(problems.to_string().contains("slipway.toml:2:1: error[syntax]: duplicate key"), "{problems}");
}

#[test]
fn only_fewer_than_half_of_many_hosts_may_be_lost() {
    let environment = |keys: &str| codes(&format!("app = \"x\"\n[environment.production]\n{keys}\n"));
    let hosts =
        |hosts: &str, max_fail| environment(&format!("target = \"hosts\"\nhosts = [{hosts}]\nmax_fail = {max_fail}"));
    assert_eq!(hosts(r#""a", "b", "c""#, 1), Vec::<&str>::new());
    assert_eq!(hosts(r#""a", "b", "c""#, 2), ["max-fail-too-large"]);
    assert_eq!(hosts(r#""a", "b""#, 1), ["max-fail-too-large"]);
    assert_eq!(hosts(r#""a""#, 0), Vec::<&str>::new());
    assert_eq!(environment("target = \"local\"\nmax_fail = 1"), ["max-fail-unused"]);
}

#[test]
fn an_overlay_is_only_blamed_for_what_it_does() {
    let text = "app = \"x\"\n[database.main]\nengine = \"postgres:17\"\nreplicas = 2\n\
                [environment.dev]\ntarget = \"local\"\n[environment.dev.database.main]\nengine = \"sqlite\"\n";
    let problems = check("slipway.toml", text);
    assert_eq!(problems.len(), 1, "{problems}");
    let problem = problems.iter().next().expect("one");
    assert_eq!((problem.code, problem.key.as_str()), ("sqlite-replicas", "environment.dev.database.main.replicas"));
    assert!(problem.message.contains("in environment `dev`"), "{problem}");
    assert!(stack::parse("slipway.toml", text).is_ok());
}

#[test]
fn an_empty_text_in_an_overlay_takes_a_key_away() {
    let text = "app = \"x\"\n[variable]\nPW = { secret = true }\n[service.api]\ndir = \"api\"\nbuild = \"make\"\nrun = \"./api\"\n\
                [alarm]\ncpu = \"cpu > 90%\"\n[environment.dev]\ntarget = \"local\"\n\
                [environment.dev.service.api]\ndir = \"\"\nbuild = \"\"\nrun = \"\"\nimage = \"api:1\"\nenv = { X = \"\" }\n\
                [environment.dev.alarm]\ncpu = \"\"\n";
    let problems = check("slipway.toml", text);
    assert!(problems.is_empty(), "{problems}");
    let dev = stack::EnvironmentName::new("dev").expect("well formed");
    let resolved = stack::resolve("slipway.toml", text, &dev).expect("no problems");
    assert_eq!(resolved.stack.services["api"].source, stack::Source::Image("api:1".to_owned()));
    assert_eq!(resolved.stack.services["api"].env["X"], "");
    assert!(resolved.stack.alarms.is_empty());
    // in the stack itself an empty text is a mistake
    assert_eq!(codes("app = \"x\"\n[service.api]\nrun = \"\"\n"), ["empty-value"]);
}

#[test]
fn rings_are_found_wherever_they_are() {
    let text = "app = \"x\"\n\
        [service.a]\nrun = \"a\"\nneeds = [\"service.b\", \"service.c\"]\n[service.b]\nrun = \"a\"\nneeds = [\"service.c\"]\n\
        [service.c]\nrun = \"a\"\nneeds = [\"service.b\"]\n[service.d]\nrun = \"a\"\nneeds = [\"service.a\", \"service.d\"]\n";
    let problems = check("slipway.toml", text);
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        ["services need each other in a ring: `service.b` -> `service.c` -> `service.b`", "`service.d` needs itself"]
    );
}

#[test]
fn an_overlay_of_a_misspelt_resource_is_pointed_to_the_right_one() {
    let text = "app = \"x\"\n[service.api]\nrun = \"a\"\n[environment.dev]\ntarget = \"local\"\n\
                [environment.dev.service.apii]\nsize = { replicas = 2 }\n";
    let problems = check("slipway.toml", text).to_string();
    assert!(problems.contains("in environment `dev`: service `apii` has no `run`"), "{problems}");
    assert!(problems.contains("did you mean `[environment.dev.service.api]`?"), "{problems}");
}

#[test]
fn a_migration_command_says_whose_files_it_runs_in() {
    let database = "[database.main]\nengine = \"postgres:17\"\nmigrate = \"npx prisma migrate deploy\"\n";
    let one = format!("app = \"x\"\n[service.a]\nrun = \"a\"\n{database}");
    assert_eq!(codes(&one), Vec::<&str>::new());
    let two = format!("{one}[service.b]\nrun = \"b\"\n");
    assert_eq!(codes(&two), ["ambiguous-service"]);
}

#[test]
fn warnings_do_not_stop_anything() {
    let text = "app = \"x\"\n[service.api]\nrun = \"a\"\nsize = { replicas = 0 }\n";
    let problems = check("slipway.toml", text);
    assert_eq!(problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(), [Severity::Warning]);
    assert!(stack::parse("slipway.toml", text).is_ok());
}

#[test]
fn a_file_that_is_too_large_or_too_deep_is_refused() {
    assert_eq!(codes(&"#".repeat(stack::LARGEST_FILE + 1)), ["too-large"]);
    let deep = format!("app = \"x\"\nx = {}1{}\n", "[".repeat(40), "]".repeat(40));
    assert_eq!(codes(&deep), ["too-deep"]);
    let deeper = format!("x = {}", "[".repeat(100_000));
    assert!(codes(&deeper).contains(&"syntax"));
    let dotted = format!("{} = 1", vec!["a"; 50_000].join("."));
    assert!(!codes(&dotted).is_empty());
    let nested = format!("app = \"x\"\n[identity.i]\nproviders = {}1{}\n", "[".repeat(6), "]".repeat(6));
    assert_eq!(codes(&nested), ["too-deep"]);
}

#[test]
fn numbers_beyond_reason_are_refused() {
    let text = "app = \"x\"\n[service.api]\nrun = \"a\"\nport = 99999999999999999999999999\nsize = { replicas = 99999999999999999999, cpu = 1e300, memory = -1 }\n";
    let found: BTreeSet<&str> = codes(text).into_iter().collect();
    assert!(
        ["out-of-range", "bad-replicas", "bad-cpu", "bad-size"].iter().all(|code| found.contains(code)),
        "{found:?}"
    );
}

#[test]
fn a_long_ring_of_services_is_told_once_as_a_path() {
    let mut text = String::from("app = \"x\"\n");
    for n in 0..3000 {
        write!(text, "[service.s{n}]\nrun = \"a\"\nneeds = [\"service.s{}\"]\n", (n + 1) % 3000).expect("a text");
    }
    let problems = check("slipway.toml", &text);
    assert_eq!(problems.iter().filter(|problem| problem.code == "cycle").count(), 1);
}

#[test]
fn every_problem_of_a_hostile_file_costs_little() {
    let mut text = String::from("app = \"x\"\n");
    for n in 0..20_000 {
        write!(text, "[service.s{n}]\nx = 1\n").expect("a text");
    }
    let problems = check("slipway.toml", &text);
    assert!(problems.len() <= 1001, "{}", problems.len());
    assert!(problems.iter().any(|problem| problem.code == "too-many-problems"));
}

#[test]
fn problems_without_a_file_are_plain_sentences() {
    let problems = Problems::from(
        stack::Problem::error("missing-variable", "JWT_SECRET", "`JWT_SECRET` is not set")
            .with_mend("set JWT_SECRET in `.env.production`"),
    );
    assert_eq!(
        problems.to_string(),
        "error[missing-variable]: `JWT_SECRET` is not set\n  set JWT_SECRET in `.env.production`"
    );
}

#[test]
fn a_path_of_a_route_without_its_slash_is_told_where_it_goes() {
    let text = "app = \"a\"\n[service.api]\nrun = \"x\"\nport = 1\n[route.\"*\"]\n\"/\" = \"service.api\"\nv1 = \"service.api\"\n";
    let told = stack::check("slipway.toml", text).to_string();
    assert!(told.contains("did you mean `/v1`? a path starts with `/`"), "{told}");
}

#[test]
fn a_gate_that_nobody_would_pass_is_refused() {
    let gate = |keys: &str| codes(&format!("app = \"x\"\n[gate.smoke]\n{keys}\n"));
    assert_eq!(gate("when = \"after\"\nrun = \"sh smoke.sh\"\ntimeout = \"1m\""), Vec::<&str>::new());
    assert_eq!(gate("when = \"during\"\norder = [\"build\", \"switch\"]"), Vec::<&str>::new());
    assert_eq!(gate("run = \"sh smoke.sh\""), ["missing-key"]);
    assert_eq!(gate("when = \"aftr\"\nrun = \"sh smoke.sh\""), ["unknown-choice"]);
    assert_eq!(gate("when = \"during\"\nrun = \"sh smoke.sh\""), ["gate-never-passed"]);
    assert_eq!(gate("when = \"before\"\nchecks = \"all migrations are applied\""), ["gate-never-passed"]);
    assert_eq!(gate("when = \"after\"\nchecks = [\"cpu < 80%\", \"the logs\"]"), ["bad-check"]);
}

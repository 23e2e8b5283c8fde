//! Services that are images, or are built from a Dockerfile, with a real Docker engine: probes, limits, logs, drain,
//! adoption and zero downtime are those of processes.

use std::time::Duration;

use stories::{Docker, ImageStore, Load, Story, harbour_files, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A stack around one service; `service` says where its image comes from.
fn project(service: &str, tables: &str) -> Story {
    let story = Story::empty();
    let stack = format!(
        r#"app = "harbour"

[service.web]
{service}
port = 4000
health = {{ path = "/health", every = "500ms", timeout = "400ms", up = 1, down = 2 }}
drain = "2s"

[route."harbour.test"]
"/" = "service.web"

[environment.dev]
target = "local"
listen = ["{}"]

{tables}
"#,
        story.address,
    );
    story.write("slipway.toml", &stack);
    story
}

/// Ids of all running containers, sorted.
fn ids(docker: &Docker) -> Vec<String> {
    let mut ids: Vec<String> = docker.run(&["ps", "--quiet"]).lines().map(str::to_owned).collect();
    ids.sort_unstable();
    ids
}

/// How many instances are ready, and how often all were restarted.
fn ready(docker: &Docker, story: &Story) -> (usize, u64) {
    let status = docker.slipway(story, &["status", "--json"]).json();
    let instances = status["instances"].as_array().cloned().unwrap_or_default();
    let ready = instances.iter().filter(|instance| instance["state"]["is"] == "ready").count();
    (ready, instances.iter().filter_map(|instance| instance["restarts"].as_u64()).sum())
}

/// Process ids of the engine's clients: of `docker run` in the foreground, with their command lines.
fn clients(story: &Story) -> Vec<(i32, String)> {
    let home = story.home().display().to_string();
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
            (line.starts_with("docker run ") && line.contains(&home)).then_some((pid, line))
        })
        .collect()
}

#[test]
fn an_image_goes_live_and_is_replaced_under_load() {
    let docker = Docker::start();
    let story = project(
        "image = \"harbour:1\"\nsize = { replicas = 2, memory = \"96Mi\", cpu = \"500m\" }\n\
         env = { API_SECRET = \"${API_SECRET}\" }",
        "[variable]\nAPI_SECRET = { secret = true, min_length = 8 }\n",
    );
    let secret = "correct-horse-battery";
    story.write(".env", &format!("API_SECRET={secret}\n"));
    let one = docker.harbour(&story, "harbour:1", "one");
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // the limits hold inside, and no secret is in a list of processes or in the log
    assert_eq!(story.get("/memory").expect("an answer").1, (96u64 << 20).to_string());
    let clients = clients(&story);
    assert_eq!(clients.len(), 2, "{clients:?}");
    for (_, line) in &clients {
        assert!(
            line.contains("--cpus 0.500") && line.contains("--env API_SECRET ") && !line.contains(secret),
            "{line}"
        );
        assert!(line.contains(&one), "by its id: {line}");
    }
    let logs = story.slipway(&["logs"]).expect(0);
    assert!(logs.stdout.contains("harbour one starts with secret") && !logs.stdout.contains(secret), "{}", logs.stdout);

    // a tag that moved is a new release; a deploy of the same is none
    let again = docker.deploy(&story);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    let load = Load::start(story.address, "harbour.test", 4);
    until("visitors", PATIENCE, || (load.requests() > 100).then_some(()));
    for marker in ["two", "three"] {
        docker.harbour(&story, "harbour:1", marker);
        docker.deploy(&story);
        assert_eq!(story.get("/").expect("an answer"), (200, marker.to_owned()));
        let before = load.requests();
        until("visitors of the new release", PATIENCE, || (load.requests() > before + 100).then_some(()));
    }
    docker.slipway(&story, &["rollback", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.markers, ["one", "two", "three"]);
    assert!(report.uploads > 0 && report.echoes > 0 && report.goodbyes >= 2, "{report:?}");
    assert_eq!(docker.containers().len(), 2, "those of the old releases are gone: {:?}", docker.containers());

    docker.slipway(&story, &["stop", "--yes"]).expect(0);
    assert_eq!(docker.containers(), Vec::<String>::new());
}

#[test]
fn a_killed_agent_finds_its_containers_again_and_a_killed_client_leaves_none_behind() {
    let docker = Docker::start();
    let story = project("image = \"harbour:1\"\nsize = { replicas = 2 }", "");
    docker.harbour(&story, "harbour:1", "one");
    docker.deploy(&story);
    let (before, load) = (ids(&docker), Load::start(story.address, "harbour.test", 3));
    until("visitors", PATIENCE, || (load.requests() > 100).then_some(()));
    for _ in 0..3 {
        story.kill(story.agent_pid().expect("an agent"));
        let seen = load.requests();
        until("visitors without an agent", PATIENCE, || (load.requests() > seen + 50).then_some(()));
        until("both adopted", PATIENCE, || (ready(&docker, &story) == (2, 0)).then_some(()));
    }
    assert_eq!(load.stop().failures, Vec::<String>::new());
    assert_eq!(ids(&docker), before, "the very same containers");

    // a client dies: its container would hold the port and go on unseen
    let (client, _) = clients(&story).pop().expect("a client");
    story.kill(client);
    until("started again", PATIENCE, || (ready(&docker, &story) == (2, 1)).then_some(()));
    let after = ids(&docker);
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after.iter().filter(|id| before.contains(id)).count(), 1, "one is new: {before:?} {after:?}");

    // a shim dies: the container goes on under a new one
    let folder = story.home().join("apps/harbour/dev/instances");
    let shims = || -> Vec<i32> {
        let shim = |entry: std::fs::DirEntry| {
            let text = std::fs::read_to_string(entry.path().join("shim.json")).ok()?;
            serde_json::from_str::<serde_json::Value>(&text).ok()?["shim_pid"].as_i64()?.try_into().ok()
        };
        std::fs::read_dir(&folder).expect("instances").flatten().filter_map(shim).collect()
    };
    let first = shims()[0];
    story.kill(first);
    until("a new shim", PATIENCE, || (shims().len() == 2 && !shims().contains(&first)).then_some(()));
    until("ready", PATIENCE, || (ready(&docker, &story).0 == 2).then_some(()));
    assert_eq!(ids(&docker), after);

    // all of it at once, and what was forgotten meanwhile
    docker.run(&[
        "run",
        "--detach",
        "--name",
        "forgotten",
        "--label",
        &format!("slipway.home={}", story.home().join("apps/harbour/dev").display()),
        "--label",
        "slipway.instance=web-00000000-1",
        "--env",
        "HOST=0.0.0.0",
        "harbour:1",
    ]);
    docker.run(&["run", "--detach", "--name", "somebody-elses", "harbour:1"]);
    let agents_keeper = story.agent_pid().expect("an agent");
    story.kill(agents_keeper);
    for pid in shims().into_iter().chain(clients(&story).into_iter().map(|(pid, _)| pid)) {
        story.kill(pid);
    }
    until("all well again", PATIENCE, || {
        let names = docker.containers();
        let gone = !names.contains(&"forgotten".to_owned());
        (ready(&docker, &story).0 == 2 && gone && names.len() == 3).then_some(())
    });
    assert!(ids(&docker).iter().all(|id| !after.contains(id)), "the unwatched ones were replaced");
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    docker.slipway(&story, &["stop", "--everything", "--yes"]).expect(0);
    assert_eq!(docker.containers(), ["somebody-elses"]);
}

#[test]
fn a_dockerfile_is_built_when_its_context_changed_and_a_failed_build_changes_nothing() {
    let docker = Docker::start();
    let story = project("dockerfile = \"Dockerfile\"\nrun = \"/harbour\"", "");
    harbour_files(&story, &story.project().join("root"), "one");
    story.write("Dockerfile", "FROM scratch\nCOPY root /\nWORKDIR /\n");
    story.write(".dockerignore", "notes\n");
    let first = docker.deploy(&story);
    assert!(first.stderr.contains("docker build"), "{}", first.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // nothing that the build reads changed
    story.write("notes", "to do");
    let unchanged = docker.slipway(&story, &["build"]).expect(0);
    assert!(!unchanged.stderr.contains("docker build"), "{}", unchanged.stderr);

    // S4.E1: a build that fails shows its output, and the old release serves on
    story.write("Dockerfile", "FROM scratch\nCOPY root /\nCOPY missing /\n");
    let failed = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("missing") && failed.stderr.contains("untouched"), "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    story.write("Dockerfile", "FROM scratch\nCOPY root /\nWORKDIR /\n");
    story.write("root/marker.txt", "two");
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));

    // both releases have an image with a name, which `docker image prune` leaves alone
    docker.run(&["image", "prune", "--force"]);
    docker.slipway(&story, &["rollback", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // an image that somebody removed is built again, and what cannot be built again is named
    docker.slipway(&story, &["stop", "--yes"]).expect(0);
    for image in docker.run(&["image", "ls", "--quiet", "slipway/harbour"]).lines() {
        docker.run(&["image", "rm", "--force", image]);
    }
    let gone = docker.slipway(&story, &["deploy", "--release", "#2", "--yes"]).expect(1);
    assert!(gone.stderr.contains("is not there any more; build the release again"), "{}", gone.stderr);
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
}

#[test]
fn containers_and_processes_are_one_stack() {
    let docker = Docker::start();
    let plain = Story::empty();
    let program = plain.binary("harbour").display().to_string();
    drop(plain);
    let story = project(
        "image = \"harbour:1\"\nneeds = [\"service.plain\", \"database.main\"]",
        &format!(
            "[service.plain]\ndir = \"plain\"\nout = [\"marker.txt\", \"faults.txt\"]\nrun = \"{program}\"\nport = 4001\n\
             health = \"/health\"\n\n[database.main]\nengine = \"sqlite\"\n"
        ),
    );
    story.write("plain/marker.txt", "from the process");
    story.write("plain/faults.txt", "none");
    docker.harbour(&story, "harbour:1", "from the container");
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "from the container".to_owned()));
    // its address is on the host's loopback, so the container shares the host's network
    assert_eq!(story.get("/neighbour").expect("an answer"), (200, "from the process".to_owned()));
    let networks = docker.run(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", &docker.containers()[0]]);
    assert_eq!(networks, "host");

    let load = Load::start(story.address, "harbour.test", 2);
    docker.harbour(&story, "harbour:1", "from another container");
    docker.deploy(&story);
    assert_eq!(story.get("/neighbour").expect("an answer"), (200, "from the process".to_owned()));
    assert_eq!(load.stop().failures, Vec::<String>::new());
}

#[test]
fn a_migration_and_a_job_run_in_the_image_of_their_service() {
    let docker = Docker::start();
    // the host has no program `/harbour`
    let story = project(
        "image = \"harbour:1\"",
        "[database.main]\nengine = \"sqlite\"\nmigrate = \"/harbour tick\"\n\n\
         [job.bell]\nservice = \"web\"\nrun = \"/harbour tick\"\nschedule = \"* * * * *\"\n",
    );
    docker.harbour(&story, "harbour:1", "one");
    docker.deploy(&story);
    let runs = story.home().join("apps/harbour/dev/runs.jsonl");
    let run = until("a run of the job", Duration::from_secs(90), || {
        std::fs::read_to_string(&runs).ok().filter(|runs| runs.contains("job.bell"))
    });
    assert!(run.contains("\"code\":0"), "{run}");
    let log = std::fs::read_dir(story.home().join("apps/harbour/dev/logs/bell")).expect("its log").flatten();
    let log: String = log.map(|file| std::fs::read_to_string(file.path()).expect("text")).collect();
    assert!(log.contains("tick of one"), "{log}");
    assert_eq!(docker.containers().len(), 1, "nothing is left but the service: {:?}", docker.containers());

    // a migration that fails keeps the old release
    story.write(
        "slipway.toml",
        &story.read("slipway.toml").replace("migrate = \"/harbour tick\"", "migrate = \"/nothing\""),
    );
    let failed = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("/nothing"), "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}

#[test]
fn a_service_without_a_health_path_is_ready_when_something_listens_in_its_container() {
    let docker = Docker::start();
    let story = project("image = \"harbour:1\"\nstop = \"1s\"", "");
    let stack = story.read("slipway.toml");
    let without: Vec<&str> = stack.lines().filter(|line| !line.starts_with("health")).collect();
    story.write("slipway.toml", &without.join("\n"));
    docker.harbour(&story, "harbour:1", "one");
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // the engine's own listener accepts visitors for a port where nobody is
    story.write(
        "slipway.toml",
        &without.join("\n").replace("port = 4000", "port = 4000\nrun = \"/harbour tick\"\nstart = \"2s\""),
    );
    let failed = docker.slipway(&story, &["deploy", "--yes"]);
    assert_ne!(failed.code, 0, "{}", failed.stderr);
    assert!(failed.stderr.contains("exited with code 0"), "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // one that does not end when it is told to is ended all the same, and its container with it
    let mut visitor = std::net::TcpStream::connect(story.address).expect("a connection");
    let request = b"GET /work?ms=60000 HTTP/1.1\r\nHost: harbour.test\r\n\r\n";
    std::io::Write::write_all(&mut visitor, request).expect("a request");
    let began = std::time::Instant::now();
    docker.slipway(&story, &["stop", "--yes"]).expect(0);
    assert_eq!(docker.containers(), Vec::<String>::new());
    assert!(began.elapsed() > Duration::from_secs(1) && began.elapsed() < Duration::from_secs(20));
    drop(visitor);
}

#[test]
fn an_image_of_a_private_store_is_fetched_by_its_digest() {
    let docker = Docker::start();
    let images = ImageStore::start();
    let name = format!("{}/harbour:1", images.address);
    let story = project(&format!("image = \"{name}\""), "");
    docker.run(&["login", "--username", "pilot", "--password", "harbour-pilot", &images.address]);
    let publish = |marker: &str| {
        docker.harbour(&story, &name, marker);
        docker.run(&["push", "--quiet", &name]);
        let digest = docker.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &name]);
        docker.run(&["image", "rm", "--force", &name]);
        digest
    };
    let digests = ["one", "two"].map(|marker| {
        let digest = publish(marker);
        docker.deploy(&story);
        assert_eq!(story.get("/").expect("an answer"), (200, marker.to_owned()));
        let (_, line) = clients(&story).into_iter().find(|(_, line)| line.contains(&digest)).expect("by its digest");
        assert!(line.contains("@sha256:"), "{line}");
        digest
    });

    // a deploy of the same changes nothing, and one after the tag has moved in the store brings the new image
    let same = ids(&docker);
    docker.deploy(&story);
    assert_eq!(ids(&docker), same);
    docker.harbour(&story, &name, "three");
    docker.run(&["push", "--quiet", &name]);
    docker.run(&["tag", &digests[1], &name]);
    docker.deploy(&story);
    assert_eq!(story.get("/").expect("an answer"), (200, "three".to_owned()));
    docker.slipway(&story, &["rollback", "--yes"]).expect(0);

    // the old image is gone from this machine: it is fetched again before anything changes, though the tag has moved
    docker.run(&["image", "rm", "--force", &digests[0]]);
    docker.slipway(&story, &["deploy", "--release", "#1", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // a store that is away is no reason not to deploy what is here
    docker.run(&["logout", &images.address]);
    docker.run(&["tag", &digests[0], &name]);
    story.write("slipway.toml", &story.read("slipway.toml").replace("drain = \"2s\"", "drain = \"1s\""));
    let offline = docker.deploy(&story);
    assert!(offline.stderr.contains("not pulled") && offline.stderr.contains("docker login"), "{}", offline.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // nobody may read it, or there is none
    story.write("slipway.toml", &story.read("slipway.toml").replace("harbour:1\"", "harbour:9\""));
    let refused = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(refused.stderr.contains("docker login"), "{}", refused.stderr);
    docker.run(&["login", "--username", "pilot", "--password", "harbour-pilot", &images.address]);
    let missing = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(missing.stderr.contains("check the image's name and tag"), "{}", missing.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}

#[test]
fn what_is_missing_is_named_with_its_mend() {
    let docker = Docker::start();
    let story = project("image = \"localhost:1/harbour:1\"", "");
    let missing = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(missing.stderr.contains("localhost:1/harbour:1"), "{}", missing.stderr);
    assert!(missing.stderr.contains("check the network and the image's name"), "{}", missing.stderr);

    let foreign = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    story.write("foreign/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let context = story.project().join("foreign").display().to_string();
    docker.run(&["build", "--quiet", "--platform", &format!("linux/{foreign}"), "--tag", "foreign:1", &context]);
    story.write("slipway.toml", &story.read("slipway.toml").replace("localhost:1/harbour:1", "foreign:1"));
    let wrong = docker.slipway(&story, &["deploy", "--yes"]).expect(1);
    assert!(wrong.stderr.contains(&format!("built for {foreign}")), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("--platform linux/"), "{}", wrong.stderr);

    let refused = |command: &mut std::process::Command| {
        let output = command.output().expect("slipway starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let silent = refused(story.command(&["build"]).env("DOCKER_HOST", "unix:///tmp/no-engine-listens-here"));
    assert!(silent.contains("systemctl start docker"), "{silent}");
    let none = refused(story.command(&["build"]).env("PATH", "/nowhere"));
    assert!(none.contains("no container engine") && none.contains("apt-get install docker.io"), "{none}");
}

//! Two hosts with a Docker engine each run one stack of images from a private store, of images built on the laptop and
//! of plain processes; none of what is done to them costs a request, and neither host nor engine has to be told twice.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use stories::{Docker, Hosts, ImageStore, Load, Outcome, Story, harbour_files, until, visit};

const LONG: Duration = Duration::from_secs(90);
const HOSTS: [usize; 2] = [0, 1];

/// Hosts, a laptop with an engine of its own, and an image store that asks for a password.
struct World {
    story: Story,
    hosts: Hosts,
    docker: Docker,
    images: ImageStore,
}

impl World {
    fn start() -> Self {
        let hosts = Hosts::start_with_engines(2);
        let docker = Docker::start();
        let images = ImageStore::start_at(hosts.gateway());
        let mut story = Story::empty();
        story.address = hosts.edge(0);
        let world = Self { story, hosts, docker, images };
        world.docker.run(&["login", "--username", "pilot", "--password", "harbour-pilot", &world.images.address]);
        world.story.write("slipway.toml", &world.stack());
        fs::copy(world.story.binary("harbour"), world.story.project().join("harbour")).expect("a copy");
        world.story.write("faults.txt", "none");
        world.story.write("Dockerfile", "FROM scratch\nCOPY root /\nWORKDIR /\n");
        world.release("one");
        world.hosts.add(&world.story);
        world
    }

    fn stack(&self) -> String {
        let health = r#"health = { path = "/health", every = "500ms", timeout = "400ms", up = 1, down = 2 }"#;
        format!(
            r#"app = "harbour"

[service.web]
image = "{}/harbour:1"
port = 4000
{health}
drain = "2s"
size = {{ replicas = 2, memory = "64Mi", cpu = "500m" }}
needs = ["queue.mq", "bucket.files", "service.plain"]

[service.built]
dockerfile = "Dockerfile"
run = "/harbour"
port = 4001
{health}
size = {{ replicas = 2 }}

[service.plain]
dir = "."
out = ["marker.txt", "faults.txt", "harbour"]
run = "./harbour"
port = 4002
{health}
size = {{ replicas = 2 }}

[function.filed]
service = "web"
run = "/harbour take"
on = {{ bucket = "files" }}

[function.posted]
service = "built"
run = "/harbour take"
on = {{ queue = "mq", event = "letters" }}

[queue.mq]
engine = "rabbitmq:3"

[bucket.files]

[route."harbour.test"]
"/" = "service.web"

[route."built.test"]
"/" = "service.built"

[route."plain.test"]
"/" = "service.plain"

[environment.production]
target = "hosts"
hosts = [{}]
"#,
            self.images.address,
            self.hosts.listed()
        )
    }

    /// Makes another release of all three: a new image in the store, under the same name; other files; another context.
    fn release(&self, marker: &str) {
        let name = format!("{}/harbour:1", self.images.address);
        self.docker.harbour(&self.story, &name, &format!("{marker} from the store"));
        self.docker.run(&["push", "--quiet", &name]);
        harbour_files(&self.story, &self.story.project().join("root"), &format!("{marker} from the laptop"));
        self.story.write("marker.txt", &format!("{marker} without an engine"));
    }

    fn slipway(&self, arguments: &[&str]) -> Outcome {
        self.hosts.slipway_with(&self.docker, &self.story, arguments)
    }

    /// What a visitor of a host's edge gets.
    fn get(&self, index: usize, name: &str, path: &str) -> Option<String> {
        let answer = visit(self.hosts.edge(index), name, path);
        answer.ok().filter(|(status, _)| *status == 200).map(|(_, body)| body.trim().to_owned())
    }

    /// What the instance of `web` on a host itself answers.
    fn ask(&self, index: usize, path: &str) -> Option<String> {
        let port = self.port(index)?;
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n' >&3 && cat <&3"
        );
        let answer = self.hosts.run(index, &format!("timeout 20 bash -c \"{script}\"")).stdout;
        let good = answer.split(' ').nth(1) == Some("200");
        answer.split_once("\r\n\r\n").filter(|_| good).map(|(_, body)| body.trim().to_owned())
    }

    /// Where the instance of `web` on a host listens.
    fn port(&self, index: usize) -> Option<u64> {
        let instances = fs::read_dir(self.data(index).with_file_name("instances")).ok()?.flatten();
        let read = |path: PathBuf| serde_json::from_str::<Value>(&fs::read_to_string(path).ok()?).ok();
        let records = instances.filter_map(|entry| read(entry.path().join("instance.json")));
        let mut web = records.filter(|record| record["service"] == "web" && record["ready"] == true);
        web.next()?["port"].as_u64()
    }

    /// Host and port of the instances of a service that are ready.
    fn instances(&self, service: &str) -> Vec<(usize, u64)> {
        let status: Value = serde_json::from_str(&self.slipway(&["status", "--json"]).stdout).unwrap_or_default();
        let instances = status["instances"].as_array().cloned().unwrap_or_default();
        let ready = instances.iter().filter(|one| one["service"] == service && one["state"]["is"] == "ready");
        let place = |one: &Value| {
            let host = one["host"].as_str()?;
            let index = HOSTS.into_iter().find(|index| self.hosts.address(*index).to_string() == host)?;
            Some((index, one["port"].as_u64()?))
        };
        ready.filter_map(place).collect()
    }

    /// Services of the containers on a host, sorted.
    fn containers(&self, index: usize) -> Vec<String> {
        let listed = self.hosts.ask(index, "docker ps --format '{{.Names}}'");
        let service =
            |name: &str| Some(name.strip_prefix("slipway-harbour-production-")?.split('-').next()?.to_owned());
        let mut found: Vec<String> = listed.lines().filter_map(service).collect();
        found.sort();
        found
    }

    #[track_caller]
    fn serves(&self, marker: &str) {
        for index in HOSTS {
            let kinds = [("harbour", "from the store"), ("built", "from the laptop"), ("plain", "without an engine")];
            for (name, from) in kinds {
                let expected = format!("{marker} {from}");
                let mut seen = None;
                let is = || {
                    seen = self.get(index, &format!("{name}.test"), "/");
                    (seen.as_ref() == Some(&expected)).then_some(())
                };
                let what = format!("`{expected}` at the edge of host {index}");
                until(&what, LONG, is);
            }
        }
    }

    fn data(&self, index: usize) -> PathBuf {
        self.hosts.root(index).join("var/lib/slipway/apps/harbour/production/data")
    }

    /// Megabytes of the image that was built on the laptop.
    fn image_size(&self) -> f64 {
        let sizes = self.docker.run(&["image", "ls", "--quiet", "slipway/harbour"]);
        let newest = sizes.lines().next().expect("an image").to_owned();
        let size = self.docker.run(&["image", "inspect", "--format", "{{.Size}}", &newest]);
        size.parse::<f64>().expect("bytes") / 1e6
    }

    /// What functions noted of their events on any host.
    fn notes(&self) -> Vec<String> {
        let folders = HOSTS.into_iter().filter_map(|index| fs::read_dir(self.data(index)).ok());
        let files = folders.flat_map(|folder| folder.flatten().map(|entry| entry.path()));
        let notes =
            files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("took-")));
        notes.filter_map(|path| fs::read_to_string(path).ok().filter(|note| !note.is_empty())).collect()
    }
}

/// What a deploy says that it sent.
fn sent(said: &str) -> &str {
    said.lines().find(|line| line.contains(" sent ")).unwrap_or(" nothing")
}

// proves issue 3, 5 (containers), 6 (functions) and 8 (queues) over real hosts; S3.6, S2.8
#[test]
fn images_and_processes_are_one_fleet() {
    let began = std::time::Instant::now();
    let told = |what: &str| println!("{what} after {:.1?}", began.elapsed());
    let world = World::start();
    told("hosts and engines");
    a_store_that_lets_a_host_not_in_refuses_the_deploy(&world);
    world.slipway(&["deploy", "--yes"]).expect(0);
    told("a first release");
    every_host_runs_every_kind(&world);
    events_start_functions_in_containers(&world);
    told("functions");
    a_queue_serves_both_hosts(&world);
    told("a queue");
    neither_a_deploy_nor_a_drained_host_costs_a_request(&world);
    told("deploy, rollback and drain under load");
    an_engine_that_lost_everything_gets_it_again(world);
    told("everything");
}

fn a_store_that_lets_a_host_not_in_refuses_the_deploy(world: &World) {
    let refused = world.slipway(&["deploy", "--yes"]).expect(1).stderr;
    assert!(refused.contains("docker login"), "{refused}");
    for index in HOSTS {
        assert_eq!(world.containers(index), [""; 0], "nothing was begun");
        let login = format!("docker login --username pilot --password harbour-pilot {} 2>&1", world.images.address);
        world.hosts.ask(index, &login);
    }
}

fn every_host_runs_every_kind(world: &World) {
    world.serves("one");
    for index in HOSTS {
        assert_eq!(world.containers(index), ["built", "web"], "on host {index}");
        assert_eq!(world.hosts.processes(index, "harbour").len(), 3, "two in containers and one without");
        let images = world.hosts.ask(index, "docker inspect --format '{{.Config.Image}}' $(docker ps -q)");
        assert!(images.lines().any(|image| image.contains("/harbour@sha256:")), "by its digest: {images}");
        assert_eq!(world.ask(index, "/memory").as_deref(), Some("67108864"), "its limit holds on host {index}");
        let cpu = world.hosts.ask(index, "docker inspect --format '{{.HostConfig.NanoCpus}}' $(docker ps -q)");
        assert!(cpu.lines().any(|cpu| cpu == "500000000"), "{cpu}");
        // what one image needs is on the host's loopback, and the other has a network of its own
        let networks = world.hosts.ask(index, "docker inspect --format '{{.HostConfig.NetworkMode}}' $(docker ps -q)");
        assert!(networks.contains("host") && networks.contains("default"), "{networks}");
    }
    assert_eq!(world.get(1, "harbour.test", "/neighbour").as_deref(), Some("one without an engine"));
    let lines = world.slipway(&["logs", "web"]).expect(0).stdout;
    let starts = lines.lines().filter(|line| line.contains("harbour one from the store starts")).count();
    assert_eq!(starts, 2, "of both hosts: {lines}");
}

fn events_start_functions_in_containers(world: &World) {
    let bucket = world.get(0, "harbour.test", "/bucket").expect("how the bucket is reached");
    let [endpoint, name, key, secret] = bucket.split(' ').collect::<Vec<_>>()[..] else { panic!("{bucket}") };
    let mut upload = world.hosts.in_network(0);
    upload.args(["curl", "--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3"]);
    upload.args(["--user", &format!("{key}:{secret}"), "--data-binary", "a resume", "--request", "PUT"]);
    upload.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    upload.arg(format!("{endpoint}/{name}/resumes/a.txt"));
    let upload = upload.stdout(Stdio::piped()).output().expect("curl; apt-get install curl");
    assert!(upload.status.success(), "{}", String::from_utf8_lossy(&upload.stderr));
    until("a letter", LONG, || world.get(1, "harbour.test", "/letters/add"));
    let mut notes = Vec::new();
    until("a function for the file and one for the letter", LONG, || {
        notes = world.notes();
        (notes.len() >= 2).then_some(())
    });
    notes.sort();
    let filed = "slipway.bucket.object-created resumes/a.txt by one from the store under docker-init";
    let posted = "slipway.queue.message letters by one from the laptop under docker-init";
    assert_eq!(notes, [filed, posted]);
    until("only services are left", LONG, || {
        HOSTS.into_iter().all(|index| world.containers(index) == ["built", "web"]).then_some(())
    });
}

fn a_queue_serves_both_hosts(world: &World) {
    let add = |index: usize| {
        until("a letter", LONG, || world.ask(index, "/letters/add?queue=parcels"));
    };
    // the first host keeps the queue; the second publishes through the private link
    let broker = |index: usize| world.hosts.run(index, "pgrep -x beam.smp").stdout;
    let before = broker(0);
    assert!(!before.trim().is_empty() && broker(1).trim().is_empty(), "one broker, on the first host");
    for _ in 0..5 {
        add(1);
    }
    // its agent is killed meanwhile, and a release is deployed
    world.hosts.ask(0, "kill -9 $(systemctl show --property MainPID --value slipway)");
    add(1);
    add(0);
    world.release("two");
    let said = world.slipway(&["deploy", "--yes"]).expect(0).stderr;
    println!("another image of {:.1} MB and another marker:{}", world.image_size(), sent(&said));
    world.serves("two");
    add(1);
    assert_eq!(broker(0), before, "neither touches the broker");
    let taken = (0..8).filter(|_| world.ask(0, "/letters/take?queue=parcels").as_deref() == Some("true")).count();
    assert_eq!(taken, 8, "what was confirmed on one host is there on the other");
    assert_eq!(world.ask(0, "/letters/take?queue=parcels").as_deref(), Some("false"));
}

fn neither_a_deploy_nor_a_drained_host_costs_a_request(world: &World) {
    let loads = [("harbour.test", 0), ("built.test", 1)].map(|(name, index)| {
        let load = Load::start(world.hosts.edge(index), name, 2);
        until("visitors", LONG, || (load.requests() > 20).then_some(()));
        load
    });
    world.release("three");
    world.slipway(&["deploy", "--yes"]).expect(0);
    world.serves("three");
    world.slipway(&["rollback", "--yes"]).expect(0);
    world.serves("two");
    world.slipway(&["host", "drain", &world.hosts.destination(1)]).expect(0);
    until("all containers on the host that is left", LONG, || {
        (world.containers(0) == ["built", "built", "web", "web"] && world.containers(1).is_empty()).then_some(())
    });
    world.slipway(&["host", "undrain", &world.hosts.destination(1)]).expect(0);
    until("one of each on each host", LONG, || {
        HOSTS.into_iter().all(|index| world.containers(index) == ["built", "web"]).then_some(())
    });
    for load in loads {
        let report = load.stop();
        assert_eq!(report.failures, Vec::<String>::new(), "of {} requests", report.requests);
        println!("{} requests, {} uploads, the slowest {:?}", report.requests, report.uploads, report.slowest);
    }
}

/// The images of the machines are gone with their power.
fn an_engine_that_lost_everything_gets_it_again(mut world: World) {
    world.hosts.reboot(1);
    until("the second host's containers", LONG, || (world.containers(1) == ["built", "web"]).then_some(()));
    until("all of them ready", LONG, || {
        ["web", "built", "plain"].into_iter().all(|name| world.instances(name).len() == 2).then_some(())
    });
    world.serves("two");
}

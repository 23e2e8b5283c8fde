//! The `harbour` application on hosts.

use std::net::SocketAddr;

use super::Hosts;
use crate::Story;

impl Hosts {
    /// A project that deploys `harbour`, under an app's name, on all hosts, with so many replicas. Visitors ask for
    /// `<app>.test`; the story's address is that of the first host.
    pub fn harbour(&self, app: &str, replicas: u32) -> Story {
        let mut story = Story::empty();
        story.address = self.edge(0);
        let stack = format!(
            r#"app = "{app}"

[service.web]
dir = "."
out = ["marker.txt", "faults.txt", "harbour"]
run = "./harbour"
port = 4000
health = {{ path = "/health", every = "500ms", timeout = "400ms", up = 1, down = 2 }}
drain = "2s"
size = {{ replicas = {replicas} }}

[route."{app}.test"]
"/" = "service.web"

[environment.production]
target = "hosts"
hosts = [{}]
"#,
            self.listed()
        );
        story.write("slipway.toml", &stack);
        story.write("marker.txt", "one");
        story.write("faults.txt", "none");
        std::fs::copy(story.binary("harbour"), story.project().join("harbour")).expect("a copy of the application");
        story
    }

    /// Where visitors reach a host's edge.
    pub fn edge(&self, index: usize) -> SocketAddr {
        SocketAddr::from((self.address(index), 80))
    }

    /// Makes all machines hosts.
    #[track_caller]
    pub fn add(&self, story: &Story) {
        let destinations: Vec<String> = (0..self.count()).map(|index| self.destination(index)).collect();
        let mut arguments = vec!["host", "add", "--yes"];
        arguments.extend(destinations.iter().map(String::as_str));
        self.slipway(story, &arguments).expect(0);
    }

    /// Processes of an application on a host: pid and user of each, sorted.
    pub fn processes(&self, index: usize, name: &str) -> Vec<(u32, String)> {
        let listed = self.run(index, &format!("ps -o pid=,user:40= -C {name}")).stdout;
        let pair = |line: &str| {
            let (pid, user) = line.trim().split_once(' ')?;
            Some((pid.parse().ok()?, user.trim().to_owned()))
        };
        let mut found: Vec<_> = listed.lines().filter_map(pair).collect();
        found.sort_unstable();
        found
    }
}

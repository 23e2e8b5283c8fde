//! Servers that can be installed on a host, and what installs them.

/// What installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian, Ubuntu and their like.
    Apt,
    /// Fedora, Amazon Linux 2023 and their like.
    Dnf,
}

/// A server that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// A container engine.
    Docker,
    /// `PostgreSQL`.
    Postgresql,
    /// Redis.
    Redis,
    /// `RabbitMQ`.
    Rabbitmq,
}

impl Manager {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "apt-get" => Some(Self::Apt),
            "dnf" => Some(Self::Dnf),
            _ => None,
        }
    }
}

impl Package {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Docker, Self::Postgresql, Self::Redis, Self::Rabbitmq];

    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|package| package.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{name}` cannot be installed; use one of {names}")
        })
    }

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    /// The script that installs it. The agent runs servers of its own, so the ones that a package starts are stopped;
    /// a container engine is started.
    pub fn script(self, manager: Manager) -> String {
        let install = match (manager, self) {
            (Manager::Apt, _) => {
                let name = match self {
                    Self::Docker => "docker.io",
                    Self::Postgresql => "postgresql",
                    Self::Redis => "redis-server",
                    Self::Rabbitmq => "rabbitmq-server",
                };
                format!(
                    "export DEBIAN_FRONTEND=noninteractive\napt-get update -q\n\
                     apt-get install -y -q --no-install-recommends {name}"
                )
            }
            (Manager::Dnf, Self::Docker) => any_of(&["docker", "moby-engine"]),
            (Manager::Dnf, Self::Postgresql) => {
                any_of(&["postgresql-server", "postgresql16-server", "postgresql15-server"])
            }
            (Manager::Dnf, Self::Redis) => any_of(&["redis6", "redis", "valkey"]),
            (Manager::Dnf, Self::Rabbitmq) => any_of(&["rabbitmq-server"]),
        };
        let services: &[&str] = match self {
            Self::Docker => {
                return format!("{install}\nif [ -d /run/systemd/system ]; then systemctl enable --now docker; fi");
            }
            Self::Postgresql => &["postgresql"],
            Self::Redis => &["redis-server", "redis", "redis6", "valkey"],
            Self::Rabbitmq => &["rabbitmq-server"],
        };
        let stop = format!(
            "if [ -d /run/systemd/system ]; then for one in {}; do systemctl disable --now $one >/dev/null 2>&1 || :; done; fi",
            services.join(" ")
        );
        format!("{install}\n{stop}")
    }
}

/// One of several names, as distributions differ.
fn any_of(names: &[&str]) -> String {
    let tries: Vec<String> = names.iter().map(|name| format!("dnf install -y -q {name}")).collect();
    tries.join(" || ")
}

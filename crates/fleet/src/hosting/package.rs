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

    /// Its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
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

    /// What a distribution calls it: the first of these that its repositories have. `distribution` is as in `amzn 2023`.
    ///
    /// Sources: Amazon Linux 2023 release notes, "All AL2023 packages" (`docker`, `postgresql15-server` to
    /// `postgresql17-server`, `redis6`, `valkey`; RabbitMQ is not among them); Fedora Packages (`moby-engine`,
    /// `postgresql-server`, `valkey`, which took the place of `redis` in Fedora 41, `rabbitmq-server`); Debian 12.
    pub fn packages(self, manager: Manager, distribution: &str) -> &'static [&'static str] {
        let amazon = distribution.starts_with("amzn");
        match (manager, self) {
            (Manager::Apt, Self::Docker) => &["docker.io"],
            (Manager::Apt, Self::Postgresql) => &["postgresql"],
            (Manager::Apt, Self::Redis) => &["redis-server"],
            (_, Self::Rabbitmq) => &["rabbitmq-server"],
            (Manager::Dnf, Self::Docker) if amazon => &["docker"],
            (Manager::Dnf, Self::Docker) => &["moby-engine", "docker-ce"],
            (Manager::Dnf, Self::Postgresql) if amazon => {
                &["postgresql15-server", "postgresql16-server", "postgresql17-server"]
            }
            (Manager::Dnf, Self::Postgresql) => &["postgresql-server"],
            (Manager::Dnf, Self::Redis) if amazon => &["redis6", "valkey"],
            (Manager::Dnf, Self::Redis) => &["redis", "valkey"],
        }
    }

    /// The script that installs it. The agent runs servers of its own, so the ones that a package starts are stopped, and
    /// the user is made that they run as; a container engine is started.
    pub fn script(self, manager: Manager, distribution: &str) -> String {
        let packages = self.packages(manager, distribution);
        let install = match manager {
            Manager::Apt => format!(
                "export DEBIAN_FRONTEND=noninteractive\napt-get update -q\n\
                 apt-get install -y -q --no-install-recommends {}",
                packages.join(" ")
            ),
            Manager::Dnf => dnf(packages, self.name()),
        };
        let services: &[&str] = match self {
            Self::Docker => {
                return format!("{install}\nif [ -d /run/systemd/system ]; then systemctl enable --now docker; fi");
            }
            Self::Postgresql => &["postgresql"],
            Self::Redis => &["redis-server", "redis", "redis6", "valkey"],
            Self::Rabbitmq => &["rabbitmq-server"],
        };
        let user = match self {
            Self::Postgresql => "postgres",
            other => other.name(),
        };
        format!(
            "{install}\nif [ -d /run/systemd/system ]; then for one in {}; do systemctl disable --now $one >/dev/null 2>&1 || :; done; fi\n\
             getent passwd {user} >/dev/null || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}",
            services.join(" ")
        )
    }
}

/// Installs the first of these that its repositories have.
fn dnf(packages: &[&str], name: &str) -> String {
    format!(
        "for one in {}; do\n  if [ -n \"$(dnf -q repoquery $one)\" ]; then found=$one; break; fi\ndone\n\
         if [ -z \"$found\" ]; then\n  echo \"its repositories have no package of {name} ({}); add one that has, or use a server \
         elsewhere by its url\" >&2\n  exit 1\nfi\ndnf install -y -q $found",
        packages.join(" "),
        packages.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_has_its_own_names() {
        let names = |manager, distribution| {
            Package::ALL.map(|package| package.packages(manager, distribution).join("|")).join(" ")
        };
        assert_eq!(names(Manager::Apt, "debian 12"), "docker.io postgresql redis-server rabbitmq-server");
        assert_eq!(
            names(Manager::Dnf, "amzn 2023"),
            "docker postgresql15-server|postgresql16-server|postgresql17-server redis6|valkey rabbitmq-server"
        );
        assert_eq!(
            names(Manager::Dnf, "fedora 42"),
            "moby-engine|docker-ce postgresql-server redis|valkey rabbitmq-server"
        );
    }
}

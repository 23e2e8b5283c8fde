//! What the environment says, checked before anything starts: every problem at once.

use std::path::PathBuf;

use crate::output::Level;

/// Fewest characters of `ADMIN_TOKEN`.
const TOKEN_LENGTH: usize = 32;

/// How this program runs.
#[derive(Clone)]
pub(crate) struct Settings {
    /// `HOST`, default `127.0.0.1`.
    pub(crate) host: String,
    /// `PORT`, default 4000.
    pub(crate) port: u16,
    /// `DATABASE_URL`, as in `sqlite:///var/lib/harbour.sqlite`.
    pub(crate) database: String,
    /// `ADMIN_TOKEN`: whoever has it may remove entries.
    pub(crate) admin_token: String,
    /// `SLIPWAY_DATA`, default `data`: uploads lie below it.
    pub(crate) data: PathBuf,
    /// `LOG_LEVEL`, default `info`.
    pub(crate) level: Level,
    /// `HARBOUR_NAME`.
    pub(crate) name: String,
    /// Who answers: release, version, environment and instance, as far as they are known.
    pub(crate) identity: Identity,
}

/// What tells this process from another.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Identity {
    pub(crate) release: String,
    pub(crate) version: String,
    pub(crate) environment: String,
    pub(crate) instance: String,
}

impl Settings {
    /// Reads them with `get`; fails with a line for each that is missing or wrong. Values are not shown.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut wrong = Vec::new();
        let text = |name: &str| get(name).filter(|value| !value.is_empty());
        let or = |name: &str, default: &str| text(name).unwrap_or_else(|| default.to_owned());
        let database = text("DATABASE_URL").unwrap_or_else(|| {
            wrong.push("DATABASE_URL is missing: set it, for example to sqlite://harbour.sqlite".to_owned());
            String::new()
        });
        let admin_token =
            text("ADMIN_TOKEN").filter(|token| token.chars().count() >= TOKEN_LENGTH).unwrap_or_else(|| {
                wrong.push(format!("ADMIN_TOKEN is missing or short: set at least {TOKEN_LENGTH} characters"));
                String::new()
            });
        let port = or("PORT", "4000").parse().unwrap_or_else(|_| {
            wrong.push("PORT is not a port: set a number from 1 to 65535".to_owned());
            0
        });
        let level = Level::parse(&or("LOG_LEVEL", "info")).unwrap_or_else(|| {
            wrong.push("LOG_LEVEL is none of debug, info, warn, error".to_owned());
            Level::Info
        });
        if !wrong.is_empty() {
            return Err(format!("the environment is not complete\n  {}", wrong.join("\n  ")));
        }
        Ok(Self {
            host: or("HOST", "127.0.0.1"),
            port,
            database,
            admin_token,
            data: or("SLIPWAY_DATA", "data").into(),
            level,
            name: or("HARBOUR_NAME", "Port of Slipway"),
            identity: Identity {
                release: or("SLIPWAY_RELEASE", "unreleased").chars().take(12).collect(),
                version: or("SLIPWAY_VERSION", env!("CARGO_PKG_VERSION")),
                environment: or("SLIPWAY_ENVIRONMENT", "by hand"),
                instance: or("SLIPWAY_INSTANCE", "this process"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_variable_is_named_at_once_and_no_value_shown() {
        let read = |name: &str| match name {
            "PORT" => Some("http".to_owned()),
            "ADMIN_TOKEN" => Some("hunter2".to_owned()),
            "LOG_LEVEL" => Some("loud".to_owned()),
            _ => None,
        };
        let reason = Settings::read(read).err().unwrap();
        for name in ["DATABASE_URL", "ADMIN_TOKEN", "PORT", "LOG_LEVEL"] {
            assert!(reason.contains(name), "{reason}");
        }
        assert!(!reason.contains("hunter2"));
    }

    #[test]
    fn a_release_is_shown_by_its_first_twelve_digits() {
        let read = |name: &str| match name {
            "DATABASE_URL" => Some("sqlite://x".to_owned()),
            "ADMIN_TOKEN" => Some("t".repeat(32)),
            "SLIPWAY_RELEASE" => Some("3f9c2a1b".repeat(8)),
            _ => None,
        };
        let settings = Settings::read(read).unwrap_or_else(|reason| panic!("{reason}"));
        assert_eq!(settings.identity.release, "3f9c2a1b3f9c");
        assert_eq!((settings.port, settings.host.as_str()), (4000, "127.0.0.1"));
    }
}

//! What a user may set, read once and completely: defaults, then the file, then the environment
//! (`THROUGHLINE_*`), then flags. All mistakes are reported together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::Config;
use engine::moment::duration_ns;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::Value;

/// Settings shared by `run` and `backfill`. Durations are written `10s`, `15m`, `500ms`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// TOML file with any of these settings, dashes written as underscores.
    #[arg(long, env = "THROUGHLINE_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder or URL of the tables.
    #[arg(long, value_name = "URI")]
    pub tables: Option<String>,
    /// Name of this correlator in the tables' progress [default: live]
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Name of the cluster, part of every path's identity [default: default]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Length of a window [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub window: Option<String>,
    /// How far before a window its rows are read [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub guard: Option<String>,
    /// How long after its end a window may still change [default: 15m]
    #[arg(long, value_name = "DURATION")]
    pub lateness: Option<String>,
    /// How long after its end a window's provisional rows are computed [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub settle: Option<String>,
    /// Bound on the difference of two nodes' clocks [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub skew: Option<String>,
    /// After which time live connections are reported again [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub active_timeout: Option<String>,
    /// How often the raw tables are looked at [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub poll: Option<String>,
}

/// Everything that is wrong with the settings, at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong settings:\n  {}", .0.join("\n  "))]
pub struct Mistakes(pub Vec<String>);

/// Settings that a file and the environment may hold.
const KEYS: [&str; 10] = [
    "tables",
    "job",
    "cluster",
    "window",
    "guard",
    "lateness",
    "settle",
    "skew",
    "active_timeout",
    "poll",
];

/// The settings in force.
///
/// # Errors
/// With every mistake found, in the file, the environment and the flags.
pub fn read(flags: &Flags) -> Result<Config, Mistakes> {
    let mut figment = Figment::new();
    if let Some(file) = &flags.config {
        figment = figment.merge(Toml::file_exact(file));
    }
    let figment = figment
        .merge(Env::prefixed("THROUGHLINE_").only(&KEYS))
        .merge(Serialized::defaults(given(flags)));
    match figment.extract::<BTreeMap<String, Value>>() {
        Ok(found) => check(&found),
        Err(e) => Err(Mistakes(e.into_iter().map(|e| e.to_string()).collect())),
    }
}

fn check(found: &BTreeMap<String, Value>) -> Result<Config, Mistakes> {
    let mut reader = Reader { found, mistakes: Vec::new() };
    let settings = reader.settings();
    let config = Config {
        tables: reader.text("tables").unwrap_or_else(|| reader.missing("tables")),
        job: reader.text("job").unwrap_or_else(|| "live".to_owned()),
        settings,
        poll: Duration::from_nanos(reader.positive("poll", join::SECOND).unsigned_abs()),
    };
    for key in found.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        reader.mistakes.push(format!("{key}: no such setting"));
    }
    if reader.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(reader.mistakes)) }
}

fn given(flags: &Flags) -> BTreeMap<&'static str, &str> {
    let values = [
        &flags.tables,
        &flags.job,
        &flags.cluster,
        &flags.window,
        &flags.guard,
        &flags.lateness,
        &flags.settle,
        &flags.skew,
        &flags.active_timeout,
        &flags.poll,
    ];
    KEYS.into_iter().zip(values).filter_map(|(key, value)| Some((key, value.as_deref()?))).collect()
}

/// Reads one setting after another and keeps the mistakes.
struct Reader<'a> {
    found: &'a BTreeMap<String, Value>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self) -> join::Settings {
        let default = join::Settings::default();
        let window_ns = self.positive("window", default.window_ns);
        if window_ns % join::SECOND != 0 {
            self.mistakes.push("window: must be whole seconds".to_owned());
        }
        join::Settings {
            cluster: self.text("cluster").unwrap_or(default.cluster),
            window_ns,
            guard_ns: self.duration("guard", default.guard_ns),
            lateness_ns: self.duration("lateness", default.lateness_ns),
            settle_ns: self.duration("settle", default.settle_ns),
            skew_ns: self.duration("skew", default.skew_ns),
            active_timeout_ns: self.duration("active_timeout", default.active_timeout_ns),
            ..default
        }
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.found.get(key)? {
            Value::String(_, text) if !text.is_empty() => Some(text.clone()),
            Value::Num(_, number) => number.to_i128().map(|number| number.to_string()),
            _ => {
                self.mistakes.push(format!("{key}: must be a text"));
                None
            }
        }
    }

    fn missing(&mut self, key: &str) -> String {
        self.mistakes
            .push(format!("{key}: is needed (--{key} or THROUGHLINE_{})", key.to_uppercase()));
        String::new()
    }

    fn duration(&mut self, key: &str, default_ns: i64) -> i64 {
        let Some(text) = self.text(key) else {
            return default_ns;
        };
        match duration_ns(&text) {
            Some(ns) if ns >= 0 => ns,
            _ => {
                self.mistakes
                    .push(format!("{key}: {text:?} is no duration such as 10s, 15m, 500ms"));
                default_ns
            }
        }
    }

    fn positive(&mut self, key: &str, default_ns: i64) -> i64 {
        let ns = self.duration(key, default_ns);
        if ns == 0 {
            self.mistakes.push(format!("{key}: must be longer than nothing"));
            return default_ns;
        }
        ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags { tables: Some("t".into()), ..Flags::default() }
    }

    #[test]
    fn defaults_are_those_of_the_join() {
        let config = read(&flags()).unwrap();
        assert_eq!(config.settings, join::Settings::default());
        assert_eq!((config.job.as_str(), config.poll), ("live", Duration::from_secs(1)));
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "window = \"2s\"\nlateness = \"20s\"\n").unwrap();
        let flags =
            Flags { config: Some(file.path().to_owned()), window: Some("3s".into()), ..flags() };
        let settings = read(&flags).unwrap().settings;
        assert_eq!(settings.window_ns, 3 * join::SECOND);
        assert_eq!(settings.lateness_ns, 20 * join::SECOND);
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "wimdow = \"2s\"\n").unwrap();
        let flags = Flags {
            config: Some(file.path().to_owned()),
            window: Some("1500ms".into()),
            guard: Some("soon".into()),
            poll: Some("0s".into()),
            ..Flags::default()
        };
        let Mistakes(mistakes) = read(&flags).unwrap_err();
        let about: Vec<_> = mistakes.iter().map(|m| m.split(':').next().unwrap()).collect();
        assert_eq!(about, ["window", "guard", "tables", "poll", "wimdow"]);
    }
}

//! What a user may set, read once and completely: defaults, then the file, then the environment
//! (`THROUGHLINE_*`), then flags. All mistakes are reported together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use engine::Config;
use engine::maintain::Policy;
use engine::moment::duration_ns;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::Value;

/// Settings shared by `run`, `backfill` and `maintain`. Durations are written `10s`, `15m`, `500ms`.
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
    /// The longest request that is followed whole: of pods that served one longer than the guard,
    /// earlier rows are read too [default: 10m]
    #[arg(long, value_name = "DURATION")]
    pub slow_back: Option<String>,
    /// Pods whose earlier rows are read for one window [default: 32]
    #[arg(long, value_name = "NUMBER")]
    pub slow_pods: Option<String>,
    /// Exchanges that are read of one of these pods [default: 20000]
    #[arg(long, value_name = "NUMBER")]
    pub slow_exchanges: Option<String>,
    /// How long after its end a window may still change [default: 15m]
    #[arg(long, value_name = "DURATION")]
    pub lateness: Option<String>,
    /// How long after its end a window's provisional rows are computed [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub settle: Option<String>,
    /// How long after its end a window's rows are revised, where new ones came [default: 1m,3m,7m]
    #[arg(long, value_name = "DURATION,...")]
    pub revise: Option<String>,
    /// Bound on the difference of two nodes' clocks [default: 100ms]
    #[arg(long, value_name = "DURATION")]
    pub skew: Option<String>,
    /// After which time live connections are reported again [default: 60s]
    #[arg(long, value_name = "DURATION")]
    pub active_timeout: Option<String>,
    /// How often the raw tables are looked at [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub poll: Option<String>,
    /// Threads that decide a window; the rows are the same for any number [default: all cores]
    #[arg(long, value_name = "NUMBER")]
    pub threads: Option<String>,
}

/// Settings of `run` alone.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LiveFlags {
    /// Memory for the raw rows of the newest windows, which stay sorted and linked for every stage
    /// of these, MiB, 0 for none [default: 1024]
    #[arg(long, value_name = "MIB")]
    pub raw_memory: Option<String>,
}

/// Settings of `run` and `maintain` about what is kept.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UpkeepFlags {
    /// Days that raw rows are kept, by the hour of their event time [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub raw_days: Option<String>,
    /// Days that derived rows are kept, by the hour of their window [default: 180]
    #[arg(long, value_name = "DAYS")]
    pub derived_days: Option<String>,
    /// How long files and log entries stay that the tables do without: longer than any reader takes
    /// [default: 48h]
    #[arg(long, value_name = "DURATION")]
    pub keep: Option<String>,
    /// How often the tables are maintained, 0s for never [default: 10m]
    #[arg(long, value_name = "DURATION")]
    pub maintain_every: Option<String>,
}

/// What maintains the tables, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    pub policy: Policy,
    /// None is never.
    pub every: Option<Duration>,
}

/// Everything that is wrong with the settings, at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong settings:\n  {}", .0.join("\n  "))]
pub struct Mistakes(pub Vec<String>);

const MIB: usize = 1 << 20;

/// Settings that a file and the environment may hold.
const KEYS: [&str; 20] = [
    "tables",
    "job",
    "cluster",
    "window",
    "guard",
    "slow_back",
    "slow_pods",
    "slow_exchanges",
    "lateness",
    "settle",
    "revise",
    "skew",
    "active_timeout",
    "poll",
    "threads",
    "raw_memory",
    "raw_days",
    "derived_days",
    "keep",
    "maintain_every",
];

/// The settings in force.
///
/// # Errors
/// With every mistake found, in the file, the environment and the flags.
pub fn read(flags: &Flags) -> Result<Config, Mistakes> {
    read_with_upkeep(flags, &UpkeepFlags::default()).map(|(config, _)| config)
}

/// The settings in force of what keeps the tables small.
///
/// # Errors
/// As [`read`].
pub fn read_with_upkeep(flags: &Flags, upkeep: &UpkeepFlags) -> Result<(Config, Upkeep), Mistakes> {
    read_live(flags, &LiveFlags::default(), upkeep)
}

/// All settings in force.
///
/// # Errors
/// As [`read`].
pub fn read_live(
    flags: &Flags,
    live: &LiveFlags,
    upkeep: &UpkeepFlags,
) -> Result<(Config, Upkeep), Mistakes> {
    let mut figment = Figment::new();
    if let Some(file) = &flags.config {
        figment = figment.merge(Toml::file_exact(file));
    }
    let figment = figment
        .merge(Env::prefixed("THROUGHLINE_").only(&KEYS))
        .merge(Serialized::defaults(given(flags, live, upkeep)));
    match figment.extract::<BTreeMap<String, Value>>() {
        Ok(found) => check(&found),
        Err(e) => Err(Mistakes(e.into_iter().map(|e| e.to_string()).collect())),
    }
}

fn check(found: &BTreeMap<String, Value>) -> Result<(Config, Upkeep), Mistakes> {
    let mut reader = Reader { found, mistakes: Vec::new() };
    let settings = reader.settings();
    let tables = reader.text("tables").unwrap_or_else(|| reader.missing("tables"));
    let default = Config::new(tables);
    let config = Config {
        job: reader.text("job").unwrap_or_else(|| "live".to_owned()),
        settings,
        poll: Duration::from_nanos(reader.positive("poll", join::SECOND).unsigned_abs()),
        raw_bytes_max: reader.number("raw_memory", default.raw_bytes_max / MIB).saturating_mul(MIB),
        ..default
    };
    let upkeep = reader.upkeep();
    for key in found.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        reader.mistakes.push(format!("{key}: no such setting"));
    }
    if reader.mistakes.is_empty() { Ok((config, upkeep)) } else { Err(Mistakes(reader.mistakes)) }
}

fn given<'a>(
    flags: &'a Flags,
    live: &'a LiveFlags,
    upkeep: &'a UpkeepFlags,
) -> BTreeMap<&'static str, &'a str> {
    let values = [
        &flags.tables,
        &flags.job,
        &flags.cluster,
        &flags.window,
        &flags.guard,
        &flags.slow_back,
        &flags.slow_pods,
        &flags.slow_exchanges,
        &flags.lateness,
        &flags.settle,
        &flags.revise,
        &flags.skew,
        &flags.active_timeout,
        &flags.poll,
        &flags.threads,
        &live.raw_memory,
        &upkeep.raw_days,
        &upkeep.derived_days,
        &upkeep.keep,
        &upkeep.maintain_every,
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
        let default = Config::new("").settings;
        let window_ns = self.positive("window", default.window_ns);
        if window_ns % join::SECOND != 0 {
            self.mistakes.push("window: must be whole seconds".to_owned());
        }
        join::Settings {
            cluster: self.text("cluster").unwrap_or(default.cluster),
            window_ns,
            guard_ns: self.duration("guard", default.guard_ns),
            slow: self.slow(default.slow),
            lateness_ns: self.duration("lateness", default.lateness_ns),
            settle_ns: self.duration("settle", default.settle_ns),
            revise_after_ns: self.durations("revise", default.revise_after_ns),
            skew_ns: self.duration("skew", default.skew_ns),
            active_timeout_ns: self.duration("active_timeout", default.active_timeout_ns),
            threads: self.count("threads", "threads", default.threads),
            ..default
        }
    }

    fn slow(&mut self, default: join::SlowLimits) -> join::SlowLimits {
        join::SlowLimits {
            back_ns: self.duration("slow_back", default.back_ns),
            pods: self.number("slow_pods", default.pods),
            exchanges: self.number("slow_exchanges", default.exchanges),
        }
    }

    fn upkeep(&mut self) -> Upkeep {
        let default = Policy::default();
        let keep_ns = self.duration("keep", ns_of(default.keep));
        let every_ns = self.duration("maintain_every", 600 * join::SECOND);
        let policy = Policy {
            raw_days: self.count("raw_days", "days", default.raw_days),
            derived_days: self.count("derived_days", "days", default.derived_days),
            keep: Duration::from_nanos(keep_ns.unsigned_abs()),
            ..default
        };
        let every = (every_ns > 0).then(|| Duration::from_nanos(every_ns.unsigned_abs()));
        Upkeep { policy, every }
    }

    fn count<N: FromStr + Default + PartialOrd>(&mut self, key: &str, of: &str, default: N) -> N {
        let Some(text) = self.text(key) else {
            return default;
        };
        match text.parse::<N>() {
            Ok(count) if count > N::default() => count,
            _ => {
                self.mistakes.push(format!("{key}: {text:?} is no number of {of} from 1 on"));
                default
            }
        }
    }

    fn number(&mut self, key: &str, default: usize) -> usize {
        let Some(text) = self.text(key) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.mistakes.push(format!("{key}: {text:?} is no number"));
            default
        })
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

    /// A list, which may be empty.
    fn durations(&mut self, key: &str, default_ns: Vec<i64>) -> Vec<i64> {
        if !self.found.contains_key(key) {
            return default_ns;
        }
        if matches!(self.found.get(key), Some(Value::String(_, text)) if text.is_empty()) {
            return Vec::new();
        }
        let text = self.text(key).unwrap_or_default();
        let read = |part: &str| duration_ns(part.trim()).filter(|ns| *ns > 0);
        let Some(mut list) = text.split(',').map(read).collect::<Option<Vec<i64>>>() else {
            self.mistakes.push(format!("{key}: {text:?} is no list of durations such as 1m,3m,7m"));
            return default_ns;
        };
        list.sort_unstable();
        list
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

fn ns_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

//! Configuration, read once and completely at the start: defaults, then a TOML file, then the
//! environment (`THROUGHLINE_*`), then flags. All mistakes are reported together.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// What a user may write, in any of the sources.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Name of this node, as Kubernetes knows it.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where batches go, such as http://10.0.0.5:4319.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collector: Option<String>,
    /// cgroup v2 subtree of this node's pods.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_root: Option<PathBuf>,
    /// Traffic to this remote address is counted and not reported. May be repeated.
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<String>>,
    /// The kernel programs; by default looked for beside this binary.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<PathBuf>,
    /// Time between heartbeats; a window waits for one of each node [default: 2s].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<String>,
    /// Live connections and translations are repeated this often [default: 60s].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_timeout: Option<String>,
    /// An answered request without a byte for this long is shipped [default: 2s].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<String>,
    /// Time between dumps of the connection tracking table [default: 30s].
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conntrack_interval: Option<String>,
    /// Memory for records that wait for the collector [default: 64MiB].
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<String>,
}

const SETTINGS: &[&str] = &[
    "node",
    "collector",
    "cgroup_root",
    "exclude",
    "programs",
    "heartbeat_interval",
    "active_timeout",
    "sweep",
    "conntrack_interval",
    "memory_max",
];

/// What the agent runs by.
#[derive(Clone, Debug)]
pub struct Config {
    pub node: String,
    /// Nothing when records are printed instead.
    pub collector: Option<String>,
    pub cgroup_root: Option<PathBuf>,
    pub excluded: HashSet<(IpAddr, u16)>,
    pub programs: PathBuf,
    pub heartbeat_interval: Duration,
    pub active_timeout: Duration,
    pub sweep: Duration,
    pub conntrack_interval: Duration,
    pub memory_max: usize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(Vec<String>);

/// The sources, joined.
///
/// # Errors
/// When a source cannot be read or names a setting that does not exist.
pub fn gather(file: Option<&Path>, flags: &Settings) -> Result<Settings, Mistakes> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        if !file.is_file() {
            return Err(Mistakes(vec![format!("--config {}: no such file", file.display())]));
        }
        figment = figment.merge(Toml::file(file));
    }
    // The prefix is shared with the other binaries: names that are not the agent's are not mistakes.
    let environment = Env::prefixed("THROUGHLINE_")
        .only(SETTINGS)
        .map(|name| name.as_str().replace('_', "-").to_lowercase().into());
    figment
        .merge(environment)
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|errors| Mistakes(errors.into_iter().map(|error| error.to_string()).collect()))
}

impl Settings {
    /// # Errors
    /// Every mistake in the settings at once. `exports` tells whether a collector is needed.
    pub fn check(self, exports: bool) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        if exports && self.collector.is_none() {
            mistakes.push("--collector is needed, such as http://10.0.0.5:4319".to_owned());
        }
        if self.node.as_deref().is_none_or(str::is_empty) {
            mistakes.push("--node is needed: the node's name in Kubernetes".to_owned());
        }
        if let Some(root) = &self.cgroup_root
            && !root.is_dir()
        {
            mistakes.push(format!("--cgroup-root {}: no such directory", root.display()));
        }
        let mut excluded = HashSet::new();
        for text in self.exclude.unwrap_or_default() {
            match text.parse::<SocketAddr>() {
                Ok(address) => {
                    excluded.insert((address.ip().to_canonical(), address.port()));
                }
                Err(_) => mistakes.push(format!("--exclude {text}: expected IP:PORT")),
            }
        }
        excluded.extend(self.collector.as_deref().and_then(collector_address));
        let mut time = |flag: &str, value: Option<String>, default: &str| {
            let text = value.unwrap_or_else(|| default.to_owned());
            duration(&text).unwrap_or_else(|| {
                mistakes.push(format!("{flag} {text}: expected a duration such as 500ms or 10s"));
                Duration::ZERO
            })
        };
        let heartbeat_interval = time("--heartbeat-interval", self.heartbeat_interval, "2s");
        let active_timeout = time("--active-timeout", self.active_timeout, "60s");
        let sweep = time("--sweep", self.sweep, "2s");
        let conntrack_interval = time("--conntrack-interval", self.conntrack_interval, "30s");
        let memory = self.memory_max.unwrap_or_else(|| "64MiB".to_owned());
        let memory_max = size(&memory).unwrap_or_else(|| {
            mistakes.push(format!("--memory-max {memory}: expected a size such as 64MiB"));
            0
        });
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        Ok(Config {
            node: self.node.unwrap_or_default(),
            collector: self.collector,
            cgroup_root: self.cgroup_root,
            excluded,
            programs: self.programs.unwrap_or_else(default_programs),
            heartbeat_interval,
            active_timeout,
            sweep,
            conntrack_interval,
            memory_max,
        })
    }
}

/// The agent's own traffic to the collector is not what it is here to report.
fn collector_address(uri: &str) -> Option<(IpAddr, u16)> {
    let authority = uri.split("://").nth(1)?.trim_end_matches('/');
    let address: SocketAddr = authority.parse().ok()?;
    Some((address.ip().to_canonical(), address.port()))
}

/// Beside the binary where it is installed, or where `agent-ebpf/build.sh` puts them.
pub fn default_programs() -> PathBuf {
    const NAME: &str = "throughline-programs";
    let binary = std::env::current_exe().unwrap_or_default();
    let folder = binary.parent().unwrap_or(Path::new("."));
    let installed = folder.join(NAME);
    let built = folder.join("../bpf").join(NAME);
    if !installed.is_file() && built.is_file() { built } else { installed }
}

/// `500ms`, `10s`, `15m` or `1h`; zero is no interval.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

/// `1048576`, `512KiB`, `64MiB` or `1GiB`.
fn size(text: &str) -> Option<usize> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units_alone() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("15m"), Some(Duration::from_secs(900)));
        for wrong in ["", "10", "s", "1.5s", "10 s", "0s", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("64MB"), None);
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let settings = Settings {
            exclude: Some(vec!["nonsense".to_owned()]),
            sweep: Some("soon".to_owned()),
            ..Settings::default()
        };
        let mistakes = settings.check(true).expect_err("four mistakes").to_string();
        for flag in ["--collector", "--node", "--exclude nonsense", "--sweep soon"] {
            assert!(mistakes.contains(flag), "{flag} in {mistakes}");
        }
    }

    #[test]
    fn flags_go_before_the_file() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "node = \"from-file\"\nsweep = \"7s\"\n").expect("a file");
        let flags = Settings { node: Some("from-flag".to_owned()), ..Settings::default() };
        let settings = gather(Some(&file), &flags).expect("settings");
        assert_eq!(settings.node.as_deref(), Some("from-flag"));
        assert_eq!(settings.sweep.as_deref(), Some("7s"));
    }

    #[test]
    fn the_collector_is_excluded_by_itself() {
        let settings = Settings {
            node: Some("node-1".to_owned()),
            collector: Some("http://10.89.0.3:4319".to_owned()),
            ..Settings::default()
        };
        let config = settings.check(true).expect("a configuration");
        assert!(config.excluded.contains(&(IpAddr::from([10, 89, 0, 3]), 4319)));
    }
}

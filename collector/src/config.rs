//! Configuration: defaults, then a TOML file, then `THROUGHLINE_*`, then flags. Read once, at the
//! start, completely: every mistake is reported, not only the first.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::format::Format as LogFormat;
use crate::limits;

/// Ranges of addresses that clusters use: RFC 1918, carrier-grade NAT, unique local, loopback.
const CLUSTER_CIDRS: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fd00::/8",
    "127.0.0.0/8",
    "::1/128",
];
/// Two hours of a collector that takes 1 MiB a second of rows.
const SPOOL_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Settings as written, each as a flag of `run`, a key of the file, and a variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Name of this collector, in its rows and commits; two collectors never share one
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Folder where admitted batches wait for their commit; an ACK means they are on disk here
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<PathBuf>,
    /// Folder or object store URL that holds the tables
    #[arg(long, value_name = "PATH-or-URI")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<String>,
    /// OTLP traces over gRPC [default: 0.0.0.0:4317]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_grpc: Option<String>,
    /// OTLP traces over HTTP [default: 0.0.0.0:4318]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<String>,
    /// Throughline agents [default: 0.0.0.0:4319]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Access logs by syslog, UDP and TCP [default: 0.0.0.0:5514]
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<String>,
    /// What syslog senders write: ingress-nginx, envoy, kong [default: ingress-nginx]
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog_format: Option<String>,
    /// Access log to follow, and its format where it is not ingress-nginx; may be given again
    #[arg(long, value_name = "[FORMAT=]FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tail: Vec<String>,
    /// What to watch: a kubeconfig, `in-cluster`, or `off` [default: off]
    #[arg(long, value_name = "KUBECONFIG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<String>,
    /// Addresses that may be stored; all others become tokens [default: private ranges]
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cluster_cidr: Vec<String>,
    /// Secret of 32 bytes behind tokens; made at the first start [default: in the spool's folder]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key_file: Option<PathBuf>,
    /// Longest wait between spool and tables [default: 2s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_interval: Option<String>,
    /// How often the Kubernetes watch says how far it is current [default: 2s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<String>,
    /// Largest OTLP/HTTP body in bytes, also after decompression [default: 4194304]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_body_max: Option<usize>,
    /// Bytes in the spool above which senders are told to come back [default: 8 GiB]
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_max: Option<u64>,
}

const KEYS: [&str; 16] = [
    "name",
    "spool",
    "tables",
    "otlp_grpc",
    "otlp_http",
    "agent",
    "syslog",
    "syslog_format",
    "tail",
    "kubernetes",
    "cluster_cidr",
    "hash_key_file",
    "commit_interval",
    "heartbeat_interval",
    "http_body_max",
    "spool_max",
];

/// Settings as used.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub name: String,
    pub spool: PathBuf,
    pub tables: String,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub agent: SocketAddr,
    pub syslog: SocketAddr,
    pub syslog_format: LogFormat,
    pub tail: Vec<Tailed>,
    pub kubernetes: Kubernetes,
    pub cluster_cidrs: Vec<IpNet>,
    pub hash_key_file: PathBuf,
    pub commit_interval: Duration,
    pub heartbeat_interval: Duration,
    pub http_body_max: usize,
    pub spool_max: u64,
}

/// A log file that is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Tailed {
    pub format: LogFormat,
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kubernetes {
    Off,
    InCluster,
    Kubeconfig(PathBuf),
}

/// All that is wrong, one a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the configuration:\n{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

/// Puts the sources together and checks the result.
///
/// # Errors
/// With every mistake that was found.
pub fn load(file: Option<PathBuf>, flags: &Written) -> Result<Config, Mistakes> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    let written: Written = figment
        .merge(Env::prefixed("THROUGHLINE_").only(&KEYS))
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|errors| Mistakes(errors.into_iter().map(|error| error.to_string()).collect()))?;
    check(&written)
}

fn check(written: &Written) -> Result<Config, Mistakes> {
    let mut mistakes = Vec::new();
    let name = written.name.clone().unwrap_or_else(|| "collector".to_owned());
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    {
        mistakes.push(format!("name: {name:?} must be letters, digits, `-` and `.`"));
    }
    let spool = written.spool.clone().unwrap_or_else(|| {
        mistakes.push("spool: say in which folder batches are kept (--spool)".to_owned());
        PathBuf::new()
    });
    let tables = written.tables.clone().unwrap_or_else(|| {
        mistakes.push("tables: say where the tables are (--tables)".to_owned());
        String::new()
    });
    let mut address = |key: &str, value: &Option<String>, port: u16| {
        let default = SocketAddr::from(([0, 0, 0, 0], port));
        let Some(value) = value else { return default };
        value.parse().unwrap_or_else(|_| {
            mistakes.push(format!("{key}: {value:?} is no IP:PORT"));
            default
        })
    };
    let otlp_grpc = address("otlp_grpc", &written.otlp_grpc, 4317);
    let otlp_http = address("otlp_http", &written.otlp_http, 4318);
    let agent = address("agent", &written.agent, 4319);
    let syslog = address("syslog", &written.syslog, 5514);
    let mut interval = |key: &str, value: &Option<String>, default: Duration| {
        let Some(value) = value else { return default };
        duration(value).unwrap_or_else(|| {
            mistakes.push(format!("{key}: {value:?} is no duration such as 500ms, 2s or 1m"));
            default
        })
    };
    let commit_interval =
        interval("commit_interval", &written.commit_interval, Duration::from_secs(2));
    let heartbeat_interval =
        interval("heartbeat_interval", &written.heartbeat_interval, Duration::from_secs(2));
    let mut format = |key: &str, name: &str| {
        LogFormat::named(name).unwrap_or_else(|| {
            let known = LogFormat::ALL.map(LogFormat::name).join(", ");
            mistakes.push(format!("{key}: {name:?} is none of {known}"));
            LogFormat::default()
        })
    };
    let syslog_format = written.syslog_format.as_deref();
    let syslog_format = syslog_format.map_or(LogFormat::default(), |f| format("syslog_format", f));
    let tailed = |text: &String| match text.split_once('=') {
        Some((name, path)) => Tailed { format: format("tail", name), path: path.into() },
        None => Tailed { format: LogFormat::default(), path: text.into() },
    };
    let tail = written.tail.iter().map(tailed).collect();
    let cluster_cidrs = cidrs(&written.cluster_cidr, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    Ok(Config {
        name,
        hash_key_file: written.hash_key_file.clone().unwrap_or_else(|| spool.join("hash-key")),
        spool,
        tables,
        otlp_grpc,
        otlp_http,
        agent,
        syslog,
        syslog_format,
        tail,
        kubernetes: match written.kubernetes.as_deref() {
            None | Some("off") => Kubernetes::Off,
            Some("in-cluster") => Kubernetes::InCluster,
            Some(path) => Kubernetes::Kubeconfig(PathBuf::from(path)),
        },
        cluster_cidrs,
        commit_interval,
        heartbeat_interval,
        http_body_max: written.http_body_max.unwrap_or(limits::HTTP_BYTES_MAX),
        spool_max: written.spool_max.unwrap_or(SPOOL_BYTES_MAX),
    })
}

fn cidrs(written: &[String], mistakes: &mut Vec<String>) -> Vec<IpNet> {
    let defaults = CLUSTER_CIDRS.map(str::to_owned);
    let texts = if written.is_empty() { &defaults[..] } else { written };
    let mut ranges = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(range) => ranges.push(range),
            Err(_) => mistakes.push(format!("cluster_cidr: {text:?} is no range of addresses")),
        }
    }
    ranges
}

/// `500ms`, `10s`, `15m`, `1h`; more than nothing.
fn duration(text: &str) -> Option<Duration> {
    let duration: jiff::SignedDuration = text.parse().ok()?;
    duration.try_into().ok().filter(|duration: &Duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Written {
        Written { spool: Some("/s".into()), tables: Some("/t".into()), ..Written::default() }
    }

    #[test]
    fn two_folders_are_all_that_must_be_said() {
        let config = check(&minimal()).unwrap();
        assert_eq!(config.agent.port(), 4319);
        assert_eq!(config.commit_interval, Duration::from_secs(2));
        assert_eq!(config.hash_key_file, PathBuf::from("/s/hash-key"));
        assert_eq!(config.kubernetes, Kubernetes::Off);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let written = Written {
            name: Some("a/b".into()),
            syslog: Some("5514".into()),
            commit_interval: Some("soon".into()),
            tail: vec!["apache=/var/log/access.log".into()],
            cluster_cidr: vec!["10.0.0.0/40".into()],
            ..Written::default()
        };
        let Mistakes(mistakes) = check(&written).unwrap_err();
        let keys: Vec<_> = mistakes.iter().map(|line| line.split(':').next().unwrap()).collect();
        let expected =
            ["name", "spool", "tables", "syslog", "commit_interval", "tail", "cluster_cidr"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_followed_file_may_say_its_format() {
        let tail = vec!["/a/access.log".into(), "kong=/b/access.log".into()];
        let config = check(&Written { tail, ..minimal() }).unwrap();
        assert_eq!(
            config.tail,
            [
                Tailed { format: LogFormat::IngressNginx, path: "/a/access.log".into() },
                Tailed { format: LogFormat::Kong, path: "/b/access.log".into() },
            ]
        );
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("15m", Some(900_000)),
            ("0s", None),
            ("-1s", None),
            ("5", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("collector.toml");
        std::fs::write(&file, "name = \"from-file\"\nspool = \"/s\"\ntables = \"/t\"\n").unwrap();
        let flags = Written { name: Some("from-flag".into()), ..Written::default() };
        assert_eq!(load(Some(file.clone()), &flags).unwrap().name, "from-flag");
        assert_eq!(load(Some(file), &Written::default()).unwrap().name, "from-file");
    }
}

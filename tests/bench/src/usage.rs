//! What a process has used: CPU time, wall time, memory at its peak.
//!
//! Read from `/proc/self`: what `getrusage` says, in clock ticks of 10 ms, without unsafe code.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The bars are for this many cores.
pub(crate) const CORES: usize = 2;

/// Linux tells CPU times to programs in ticks of this length.
const TICK_S: f64 = 0.01;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) wall_s: f64,
    /// In user space and in the kernel, all threads.
    pub(crate) cpu_s: f64,
    pub(crate) peak_rss_mib: f64,
}

/// A moment from which on usage is counted.
pub(crate) struct Meter {
    started: Instant,
    cpu_s: f64,
}

impl Meter {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { started: Instant::now(), cpu_s: cpu_s()? })
    }

    pub(crate) fn read(&self) -> anyhow::Result<Usage> {
        Ok(Usage {
            wall_s: self.started.elapsed().as_secs_f64(),
            cpu_s: cpu_s()? - self.cpu_s,
            peak_rss_mib: peak_rss_mib()?,
        })
    }
}

fn cpu_s() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?;
    // The second field is the name in brackets, and may hold spaces.
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("CPU times in /proc/self/stat")?;
    Ok((user + system) * TICK_S)
}

fn peak_rss_mib() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no VmHWM")?.parse()?;
    Ok(kib / 1_024.0)
}

/// A program held to the first cores of the machine.
pub(crate) fn on_cores(program: impl Into<PathBuf>) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(format!("0-{}", CORES - 1)).arg(program.into());
    command
}

/// A verb of this very program, as a process of its own.
pub(crate) fn of_ours() -> anyhow::Result<Command> {
    Ok(on_cores(std::env::current_exe().context("find this program")?))
}

/// Runs a command to its end and reads the last line that it prints as JSON.
pub(crate) fn answer<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    let output = command.stderr(Stdio::inherit()).output().context("start a process")?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().with_context(|| format!("{command:?} said nothing"))?;
    serde_json::from_str(last).with_context(|| format!("read what {command:?} said: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time_and_waiting_takes_none() {
        let meter = Meter::start().unwrap();
        let mut sum = 0_u64;
        while meter.read().unwrap().cpu_s < 0.05 {
            sum = (0..100_000).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        let used = meter.read().unwrap();
        assert!(used.wall_s > 0.0 && used.peak_rss_mib > 1.0, "{used:?} {sum}");
    }
}

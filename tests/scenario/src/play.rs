//! Plays a transcript: statements fill the world, watermark moves run stages, expectations compare.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use join::schedule::{self, Due, Next};
use join::watermark::Watermark;
use join::{SECOND, Settings, Stage, WindowRows};
use tables::Heartbeat;

use crate::Outcome;
use crate::render::{self, Labels, Manner};
use crate::repeat::unrolled;
use crate::statement;
use crate::words::{T0_NS, Words, moment, span};
use crate::world::World;

/// An agent reports this often.
const HEARTBEAT_NS: i64 = 2 * SECOND;
const IDLE_AFTER_NS: i64 = 30 * SECOND;
/// Rows shown of those that nobody asked for; the first ones say what is wrong.
const LINES_LEFT_MAX: usize = 12;

struct Play {
    world: World,
    settings: Settings,
    watermark: Watermark,
    next: Next,
    /// What stands in the tables for each window, by its start, and how many raw rows there were
    /// when it was written.
    standing: BTreeMap<i64, (WindowRows, usize)>,
    /// What each stage wrote since it was last asked for, by the stage's code.
    written: BTreeMap<&'static str, Vec<WindowRows>>,
    /// Rows that came after their window was final, by raw table.
    too_late: BTreeMap<&'static str, usize>,
    /// Raw rows of each table that a watermark move has passed already.
    arrived: BTreeMap<&'static str, usize>,
    /// Raw rows of log lines that were shown already.
    shown: (usize, usize),
    labels: Labels,
    never: Vec<String>,
    failures: Vec<String>,
}

pub(crate) fn play(text: &str) -> anyhow::Result<Outcome> {
    let (number, title) = heading(text)?;
    let mut play = Play {
        world: World::new()?,
        settings: Settings::default(),
        watermark: Watermark::default(),
        next: Next { provisional_ns: T0_NS, revised_ns: T0_NS, final_ns: T0_NS },
        standing: BTreeMap::new(),
        written: BTreeMap::new(),
        too_late: BTreeMap::new(),
        arrived: BTreeMap::new(),
        shown: (0, 0),
        labels: Labels::default(),
        never: Vec::new(),
        failures: Vec::new(),
    };
    let lines = unrolled(text)?;
    let mut rest = &lines[..];
    while let [(number, line), after @ ..] = rest {
        rest = after;
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words = Words::read(line);
        let at = || format!("line {number}: {line}");
        if words.at(0)? == "expect" {
            let length = rest.iter().take_while(|(_, l)| l.starts_with("  ")).count();
            let expected: Vec<&str> = rest[..length].iter().map(|(_, l)| &l[2..]).collect();
            rest = &rest[length..];
            play.expect(*number, &words, &expected).with_context(at)?;
        } else {
            play.step(&words).with_context(at)?;
        }
    }
    play.nothing_left();
    Ok(Outcome { number, title, failures: play.failures })
}

/// `# 1. Retries of an ingress`: the first line of every transcript.
pub(crate) fn heading(text: &str) -> anyhow::Result<(u32, String)> {
    let line = text.lines().next().unwrap_or_default();
    let heading = line.strip_prefix("# ").and_then(|l| l.split_once(". "));
    let (number, title) = heading.context("the first line is no `# NUMBER. TITLE`")?;
    Ok((number.parse()?, title.to_owned()))
}

impl Play {
    fn step(&mut self, words: &Words<'_>) -> anyhow::Result<()> {
        match words.at(0)? {
            "set" => {
                for (key, value) in [
                    ("lateness", &mut self.settings.lateness_ns),
                    ("skew", &mut self.settings.skew_ns),
                ] {
                    if let Some(text) = words.option(key) {
                        *value = span(text)?;
                    }
                }
                Ok(())
            }
            "watermark" => self.move_watermark(moment(words.at(1)?)?),
            "never" => {
                self.never.extend(words.rest(1).iter().map(|w| (*w).to_owned()));
                Ok(())
            }
            _ => statement::apply(&mut self.world, words),
        }
    }

    /// Heartbeats of all live agents up to a moment arrive then; what is due is computed.
    fn move_watermark(&mut self, to_ns: i64) -> anyhow::Result<()> {
        for (table, events_ns) in self.world.events() {
            let known = self.arrived.insert(table, events_ns.len()).unwrap_or(0);
            let is_late = |event_ns: &&i64| **event_ns < self.next.final_ns;
            let late = events_ns[known..].iter().filter(is_late).count();
            if late > 0 {
                *self.too_late.entry(table).or_default() += late;
            }
        }
        let from_ns = self.world.now_ns;
        let mut at_ns = from_ns;
        while at_ns < to_ns {
            at_ns = (at_ns + HEARTBEAT_NS).min(to_ns);
            self.world.now_ns = at_ns;
            self.heartbeats(at_ns);
            if let Some(watermark_ns) = self.watermark.advance() {
                self.run_due(watermark_ns);
            }
        }
        Ok(())
    }

    fn heartbeats(&mut self, to_ns: i64) {
        let nodes: Vec<String> = self.world.agents.keys().cloned().collect();
        for node in nodes {
            let mut agent = self.world.agents[&node].clone();
            let to_ns = agent.stops_ns.map_or(to_ns, |stop| stop.min(to_ns));
            while agent.covered_ns < to_ns {
                let end_ns = (agent.covered_ns + HEARTBEAT_NS).min(to_ns);
                let covered = agent.covered_ns..end_ns;
                let lost = |l: &&crate::world::Loss| covered.contains(&l.at_ns);
                let lost = agent.losses.iter().filter(lost).map(|l| l.count).sum();
                let epoch = agent.epochs.iter().rfind(|(at, _)| *at < end_ns);
                let epoch_ns = epoch.map_or(0, |(_, epoch)| *epoch);
                let origin = self.world.origin("agent", &node, end_ns);
                let row = Heartbeat {
                    covered_from_ns: agent.covered_ns,
                    covered_to_ns: end_ns,
                    lost_kernel: lost,
                    clock_epoch_ns: epoch_ns,
                    clock_boot_ns: end_ns,
                    clock_wall_ns: end_ns + epoch_ns,
                    manifest_id: "m1".into(),
                    idle_after_ns: IDLE_AFTER_NS,
                    ..Heartbeat::from_origin(&origin)
                };
                self.watermark.observe(&row);
                self.world.arrived.heartbeats.push(row);
                agent.covered_ns = end_ns;
            }
            self.world.agents.insert(node, agent);
        }
    }

    fn run_due(&mut self, watermark_ns: i64) {
        let length_ns = self.settings.window_ns;
        for due in schedule::due(watermark_ns, &self.next, &self.settings) {
            let at_ns = due.at_ns();
            match due {
                Due::Provisional(_) => self.next.provisional_ns = at_ns + length_ns,
                Due::Revised(_) => self.next.revised_ns = at_ns + length_ns,
                Due::Final(_) => self.next.final_ns = at_ns + length_ns,
            }
            let starts: Vec<i64> = match due {
                Due::Revised(_) => schedule::revised_at(at_ns, &self.settings).collect(),
                _ => vec![at_ns],
            };
            for start_ns in starts {
                self.write(due.stage(), start_ns);
            }
        }
    }

    /// Computes one window. A revision writes what changed, and nothing where no raw row came.
    fn write(&mut self, stage: Stage, start_ns: i64) {
        let raw_rows = self.world.raw_rows();
        let windows = start_ns..start_ns + self.settings.window_ns;
        let before = self.standing.get(&start_ns);
        if stage == Stage::Revised && before.is_none_or(|(_, known)| *known == raw_rows) {
            return;
        }
        let observations = self.world.read(&windows, &self.settings);
        let computed = join::correlate(windows, stage, &observations, &self.settings);
        self.check_for_all(&computed);
        for rows in computed {
            let written = match self.standing.get(&start_ns) {
                Some((before, _)) if stage == Stage::Revised => changed(before, &rows),
                _ => rows.clone(),
            };
            self.written.entry(stage.code()).or_default().push(written);
            self.standing.insert(start_ns, (rows, raw_rows));
        }
    }

    /// What must hold for every row of every transcript.
    fn check_for_all(&mut self, rows: &[WindowRows]) {
        for hop in rows.iter().flat_map(|window| &window.hops) {
            if hop.network_ns.is_some_and(|ns| ns < 0) || hop.end_ns < hop.start_ns {
                self.failures.push(format!("   a negative latency at {}", hop.kind));
            }
        }
        for window in rows.iter().filter(|_| !self.never.is_empty()) {
            let text = format!("{window:?}");
            let told = self.never.iter().filter(|secret| text.contains(secret.as_str()));
            self.failures.extend(told.map(|secret| format!("   a row tells {secret}")));
        }
    }

    /// `expect P|R|F [counted]`: what this stage wrote since it was last asked for; several stages
    /// must each have written the same. `expect raw`: the rows that the lines above became.
    fn expect(
        &mut self,
        number: usize,
        words: &Words<'_>,
        expected: &[&str],
    ) -> anyhow::Result<()> {
        let manner = if words.has("counted") { Manner::Counted } else { Manner::Each };
        for &what in words.rest(1).iter().filter(|what| **what != "counted") {
            let blocks = match what {
                "raw" => self.raw_blocks(),
                "late" => {
                    let late = std::mem::take(&mut self.too_late).into_iter();
                    late.map(|(table, count)| format!("FAIL_TOO_LATE {table}: {count}\n")).collect()
                }
                "P" | "R" | "F" => {
                    let written = self.written.get_mut(what).map(std::mem::take);
                    let written = written.unwrap_or_default();
                    let labels = &mut self.labels;
                    written.iter().flat_map(|rows| render::blocks(rows, labels, manner)).collect()
                }
                other => bail!("nothing writes {other}"),
            };
            let blocks = if manner == Manner::Counted { render::counted(blocks) } else { blocks };
            let found: String = blocks.concat();
            let found: Vec<&str> = found.lines().collect();
            if found != expected {
                self.failures.push(difference(number, what, expected, &found));
            }
        }
        Ok(())
    }

    fn raw_blocks(&mut self) -> Vec<String> {
        let (logs, refused) = self.shown;
        let (all_logs, all_refused) =
            (&self.world.arrived.access_logs, &self.world.arrived.quarantine);
        self.shown = (all_logs.len(), all_refused.len());
        for row in &all_logs[logs..] {
            let text = format!("{row:?}");
            let told = self.never.iter().filter(|secret| text.contains(secret.as_str()));
            self.failures.extend(told.map(|secret| format!("   a raw row tells {secret}")));
        }
        let logs = all_logs[logs..].iter().map(render::raw);
        logs.chain(all_refused[refused..].iter().map(render::quarantined)).collect()
    }

    /// Rows that no expectation asked for are rows that are not expected.
    fn nothing_left(&mut self) {
        let late = self.too_late.iter();
        let mut left: Vec<String> = late
            .map(|(table, count)| format!("   not asked for: FAIL_TOO_LATE {table}: {count}"))
            .collect();
        for (stage, windows) in std::mem::take(&mut self.written) {
            for rows in &windows {
                let blocks = render::blocks(rows, &mut self.labels, Manner::Each);
                let lines = blocks.iter().flat_map(|block| block.lines());
                left.extend(lines.map(|line| format!("   not asked for in {stage}: {line}")));
            }
        }
        let more = left.len().saturating_sub(LINES_LEFT_MAX);
        left.truncate(LINES_LEFT_MAX);
        if more > 0 {
            left.push(format!("   and {more} lines more"));
        }
        self.failures.extend(left);
    }
}

/// Rows that are not in the tables yet as they are now.
fn changed(before: &WindowRows, now: &WindowRows) -> WindowRows {
    let mut changed = now.clone();
    let plain =
        |path: &tables::Path| tables::Path { stage: String::new(), revision: 0, ..path.clone() };
    changed.paths.retain(|path| !before.paths.iter().any(|b| plain(b) == plain(path)));
    let kept = |id: &str| changed.paths.iter().any(|path| path.path_id == id);
    changed.hops.retain(|hop| kept(&hop.path_id));
    let plain = |row: &tables::Ambiguous| tables::Ambiguous {
        stage: String::new(),
        revision: 0,
        ..row.clone()
    };
    changed.ambiguous.retain(|row| !before.ambiguous.iter().any(|b| plain(b) == plain(row)));
    changed
}

/// Expected lines that did not come with `-`, lines that were not expected with `+`.
fn difference(number: usize, what: &str, expected: &[&str], found: &[&str]) -> String {
    let mut text = format!("   line {number}, {what}:");
    let mut found_left = found.to_vec();
    for line in expected {
        match found_left.iter().position(|f| f == line) {
            Some(at) => {
                found_left.remove(at);
            }
            None => text += &format!("\n   - {line}"),
        }
    }
    for line in &found_left {
        text += &format!("\n   + {line}");
    }
    if text.lines().count() == 1 {
        text += "\n   the same lines in another order:";
        for line in found {
            text += &format!("\n   + {line}");
        }
    }
    text
}

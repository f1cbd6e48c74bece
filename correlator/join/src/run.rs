//! A run of windows in order: rows come in, slabs are kept as long as they are needed, each window
//! is decided from what is in its sight.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clock::Steps;
use crate::columns::{Columns, Heartbeat};
use crate::comparison::{Clocks, Known};
use crate::coverage::Coverage;
use crate::link::nat::{Bindings, Translations};
use crate::link::{Evidence, View};
use crate::ownership::Ownership;
use crate::path::{self, Paths};
use crate::relay::Relays;
use crate::rows::{self, Scope};
use crate::sight::Sight;
use crate::skew::SAMPLE_GAP_NS_MAX;
use crate::slabs::Slabs;
use crate::window::{ReadRange, range_of_stage, window_index, window_start};
use crate::{Settings, Stage, WindowBatches, WindowRows};

/// Computes windows of one stage, one after another.
pub struct Run {
    settings: Settings,
    stage: Stage,
    slabs: Slabs,
    bindings: Bindings,
    evidence: BTreeMap<u32, Evidence>,
    clocks: BTreeMap<u32, Clocks>,
    /// Owners by how many versions of objects they were made from.
    owners: BTreeMap<usize, Ownership>,
}

impl Run {
    pub fn new(stage: Stage, settings: &Settings) -> Self {
        Self {
            slabs: Slabs::new(settings),
            settings: settings.clone(),
            stage,
            bindings: Bindings::default(),
            evidence: BTreeMap::new(),
            clocks: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Adds rows, each once. Exchanges, spans, lines and ends of connections whose event time is
    /// not in `rows` are left out.
    ///
    /// Before [`Self::window`] is asked for a window, everything of its
    /// [`read_range`](crate::window::read_range) must have been added.
    pub fn add(&mut self, columns: Columns, rows: &Range<i64>) {
        let brings_objects = !columns.objects.is_empty();
        self.slabs.add(columns, rows);
        self.bindings.add(&mut self.slabs.bindings);
        if brings_objects {
            let by_object = |o: &tables::ClusterObject| {
                let (kind, uid) = (o.kind.clone(), o.uid.clone());
                (kind, uid, o.event_ns, o.resource_version.clone(), o.change.clone())
            };
            self.slabs.objects.sort_by_cached_key(by_object);
            self.owners.clear();
        }
    }

    /// The rows of the window that starts at `start_ns`.
    pub fn window(&mut self, start_ns: i64) -> WindowRows {
        self.decide(start_ns, rows::structs).unwrap_or_default()
    }

    /// The same in columns: what a window of many requests is written from.
    pub fn batches(&mut self, start_ns: i64) -> Option<WindowBatches> {
        self.decide(start_ns, rows::batches)
    }

    fn decide<T>(&mut self, start_ns: i64, write: impl Fn(&Scope<'_>, &Paths) -> T) -> Option<T> {
        let time = start_ns..start_ns + self.settings.window_ns;
        let range = range_of_stage(time.clone(), self.stage, &self.settings);
        let window = self.index(start_ns);
        let first = self.index(range.rows.start);
        let last = self.index(range.requests.end - 1).max(window + 1);
        self.link(first, window, last);
        let upto = self.know_owners(&range);
        let owners = self.owners.get(&upto)?;
        let coverage = self.coverage(&range);
        let agents = self.heartbeats(&range).filter(|h| h.is_agent);
        let steps = Steps::new(agents.map(|h| (h.node, h.covered_to_ns, h.clock_epoch_ns)));
        let clocks = self.clocks_near(window)?;
        let nat = Translations::new(&self.bindings, &range.connections, clocks);
        let tail = Evidence::new(&View {
            slabs: &self.slabs,
            owners,
            nat,
            settings: &self.settings,
            window: window + 1,
            until_ns: range.rows.end,
        });
        let sight = Sight {
            slabs: &self.slabs,
            settings: &self.settings,
            owners,
            coverage: &coverage,
            steps: &steps,
            nat,
            stage: self.stage,
            window,
            time,
            rows: range.rows.clone(),
            horizon_ns: range.requests.end,
            evidence: &self.evidence,
            tail: &tail,
            first,
            last,
        };
        let relays = Relays::decide(&sight);
        let paths = path::build(&sight, &relays);
        Some(write(&Scope { sight: &sight, relays: &relays }, &paths))
    }

    /// Drops what no window from this one on looks at.
    pub fn forget_before(&mut self, start_ns: i64) {
        let time = start_ns..start_ns + self.settings.window_ns;
        let range = range_of_stage(time, self.stage, &self.settings);
        let first = self.index(range.rows.start).saturating_sub(2);
        self.slabs.forget_before(first);
        self.evidence = self.evidence.split_off(&first);
        self.clocks = self.clocks.split_off(&first);
        self.bindings.forget_before(range.connections.start);
        let sampled_from_ns = i64::from(first) * self.settings.window_ns - SAMPLE_GAP_NS_MAX;
        self.slabs.heartbeats.retain(|h| h.event_ns >= sampled_from_ns);
    }

    fn index(&self, ns: i64) -> u32 {
        let start_ns = window_start(ns, &self.settings);
        u32::try_from(window_index(start_ns, &self.settings).max(0)).unwrap_or(u32::MAX)
    }

    /// Finds what exact keys say, in the windows where it is not known yet. Each window's links
    /// look at the windows beside it as far as any later window will.
    fn link(&mut self, first: u32, window: u32, last: u32) {
        for changed in self.slabs.seal(first.saturating_sub(1)..last + 1) {
            for beside in changed.saturating_sub(1)..changed + 2 {
                self.evidence.remove(&beside);
                self.clocks.remove(&beside);
            }
        }
        for window in first..=window {
            self.clocks.entry(window).or_insert_with(|| Clocks::new(window));
        }
        for window in first..=window {
            if self.evidence.contains_key(&window) {
                continue;
            }
            let start_ns = i64::from(window) * self.settings.window_ns;
            let time = start_ns..start_ns + self.settings.window_ns;
            let range = range_of_stage(time, self.stage, &self.settings);
            let upto = self.know_owners(&range);
            let Some(owners) = self.owners.get(&upto) else { continue };
            let Some(clocks) = self.clocks_near(window) else { continue };
            let evidence = Evidence::new(&View {
                slabs: &self.slabs,
                owners,
                nat: Translations::new(&self.bindings, &range.connections, clocks),
                settings: &self.settings,
                window,
                until_ns: range.rows.end,
            });
            self.evidence.insert(window, evidence);
        }
    }

    fn clocks_near(&self, window: u32) -> Option<Known<'_>> {
        let clocks = self.clocks.get(&window)?;
        Some(Known { clocks, slabs: &self.slabs, settings: &self.settings })
    }

    /// Reads the versions of objects that were seen before the end of a range.
    fn know_owners(&mut self, range: &ReadRange) -> usize {
        let objects = self.slabs.objects.iter().filter(|o| o.event_ns < range.cluster.end);
        let visible: Vec<&tables::ClusterObject> = objects.collect();
        let (names, settings) = (&mut self.slabs.names, &self.settings);
        let new = || Ownership::new(&visible, names, settings);
        self.owners.entry(visible.len()).or_insert_with(new);
        visible.len()
    }

    fn coverage(&self, range: &ReadRange) -> Coverage {
        Coverage::new(self.heartbeats(range))
    }

    fn heartbeats<'a>(&'a self, range: &'a ReadRange) -> impl Iterator<Item = &'a Heartbeat> {
        self.slabs.heartbeats.iter().filter(|h| {
            range.heartbeats.contains(&h.event_ns) && h.covered_from_ns < range.rows.end
        })
    }
}

//! A run of windows in order: rows come in, slabs are kept as long as they are needed, each window
//! is decided from what is in its sight.
//!
//! For each window: [`Run::add`], then [`Run::earlier`] and [`Run::reach_back`] until nothing more is
//! asked for, then [`Run::window`] or [`Run::batches`].
//!
//! A run may also be kept while time goes on: rows are added as they come, late ones too, and windows
//! are asked for in any order and stage ([`Run::turn_to`]). What rows say that came later is found
//! out anew; the rest stays.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clock::NodeClocks;
use crate::columns::{Columns, Heartbeat};
use crate::comparison::{Clocks, Known};
use crate::coverage::Coverage;
use crate::link::nat::{Bindings, Translations};
use crate::link::{Evidence, View};
use crate::ownership::Ownership;
use crate::path::{self, Paths};
use crate::relay::Relays;
use crate::rows::{self, Scope};
use crate::sight::{Counterparts, Sight};
use crate::skew::SAMPLE_GAP_NS_MAX;
use crate::slabs::Slabs;
use crate::slow::{Earlier, Lane, needs};
use crate::window::{self, ReadRange, range_of_stage, window_index, window_start};
use crate::{Batches, Settings, Stage, WindowRows};

/// Computes windows, one after another.
pub struct Run {
    settings: Settings,
    stage: Stage,
    slabs: Slabs,
    bindings: Bindings,
    evidence: BTreeMap<u32, Evidence>,
    clocks: BTreeMap<u32, Clocks>,
    /// Event times of heartbeats that came since clocks were read.
    heard: Option<Range<i64>>,
    /// Owners by how many versions of objects they were made from.
    owners: BTreeMap<usize, Ownership>,
    /// Of the window in hand, where it has requests longer than the guard.
    lane: Option<Lane>,
    /// What was decided when it asked for nothing more.
    decided: Option<(i64, Relays, Paths)>,
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
            heard: None,
            owners: BTreeMap::new(),
            lane: None,
            decided: None,
        }
    }

    /// Makes windows from here on those of a stage.
    pub fn turn_to(&mut self, stage: Stage) {
        self.stage = stage;
        self.lane = None;
        self.decided = None;
    }

    /// Adds rows, each once. Exchanges, spans, lines and ends of connections whose event time is
    /// not in `rows` are left out.
    ///
    /// Before [`Self::window`] is asked for a window, everything of its
    /// [`read_range`](crate::window::read_range) must have been added.
    pub fn add(&mut self, mut columns: Columns, rows: &Range<i64>) {
        let brings_objects = !columns.objects.is_empty();
        self.slabs.rename(&mut columns);
        self.hear(&columns);
        let changed_ns = self.first_linked_by(&columns);
        self.slabs.add(columns, rows);
        self.forget_links(changed_ns);
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

    /// Bytes that it holds, about.
    pub fn bytes(&self) -> usize {
        self.slabs.bytes() + self.bindings.bytes()
    }

    /// The rows of the window that starts at `start_ns`.
    pub fn window(&mut self, start_ns: i64) -> WindowRows {
        self.decide(start_ns, rows::structs).unwrap_or_default()
    }

    /// The same for a window of many requests: hops and paths are handed over in columns, batch by
    /// batch in the order of their tables, and the other tables' rows are answered.
    pub fn batches(&mut self, start_ns: i64, take: impl FnMut(Batches)) -> Option<WindowRows> {
        self.decide(start_ns, |scope, paths| rows::batches(scope, paths, take))
    }

    fn decide<T>(
        &mut self,
        start_ns: i64,
        write: impl FnOnce(&Scope<'_>, &Paths) -> T,
    ) -> Option<T> {
        let known = self.decided.take().filter(|(of_ns, ..)| *of_ns == start_ns);
        let written = self.look(start_ns, |sight| {
            let (relays, paths) = known.map_or_else(|| decided(sight), |(_, r, p)| (r, p));
            write(&Scope { sight, relays: &relays }, &paths)
        });
        self.lane = None;
        written
    }

    /// What the window still needs from before its range: of pods that served requests of its paths
    /// then. None where that is nothing, or more than is read back.
    pub fn earlier(&mut self, start_ns: i64) -> Option<Earlier> {
        let time = start_ns..start_ns + self.settings.window_ns;
        let range = range_of_stage(time, self.stage, &self.settings);
        if self.lane.as_ref().is_none_or(|lane| lane.of_ns != start_ns) {
            let slab = self.slabs.slab(self.index(start_ns))?;
            if !slab.has_request_since_before(range.rows.start) {
                return None;
            }
            let until = self.index(range.rows.start).saturating_sub(1);
            self.lane = Some(Lane::new(start_ns, until));
        }
        if let Some(lane) = &mut self.lane {
            lane.close_round();
        }
        let (relays, paths, needs) = self.look(start_ns, |sight| {
            let (relays, paths) = decided(sight);
            let needs = needs(sight, &paths);
            (relays, paths, needs)
        })?;
        let (names, settings) = (&self.slabs.names, &self.settings);
        let asked = self.lane.as_mut()?.ask(needs, &range, names, settings);
        if asked.is_none() {
            self.decided = Some((start_ns, relays, paths));
        }
        asked
    }

    /// Adds rows that [`Self::earlier`] asked for last, each once; what it did not ask for is left
    /// out.
    pub fn reach_back(&mut self, mut columns: Columns) {
        let Some(lane) = &mut self.lane else { return };
        self.slabs.rename(&mut columns);
        lane.keep_asked(&mut columns, self.settings.slow.exchanges);
        let held = self.slabs.exchange_front(lane.until, std::mem::take(&mut lane.front));
        self.slabs.add(columns, &lane.rows());
        lane.front = self.slabs.exchange_front(lane.until, held);
        lane.evidence.clear();
    }

    /// Looks at a window as far as is known now.
    fn look<T>(&mut self, start_ns: i64, see: impl FnOnce(&Sight<'_>) -> T) -> Option<T> {
        let time = start_ns..start_ns + self.settings.window_ns;
        let range = range_of_stage(time.clone(), self.stage, &self.settings);
        let window = self.index(start_ns);
        let first = self.index(range.rows.start);
        let last = self.index(range.long.end - 1).max(window + 1);
        self.listen();
        self.link(first, window, last);
        let upto = self.know_owners(&range);
        let mut lane = self.lane.take().filter(|lane| lane.of_ns == start_ns).unwrap_or_default();
        let held = self.slabs.exchange_front(lane.until, std::mem::take(&mut lane.front));
        self.link_lane(&mut lane, first, &range, upto);
        let seen = self.see(Window { time, range, window, first, last, upto }, &lane, see);
        lane.front = self.slabs.exchange_front(lane.until, held);
        self.lane = Some(lane).filter(|lane| lane.of_ns == start_ns);
        seen
    }

    fn see<T>(
        &self,
        Window { time, range, window, first, last, upto }: Window,
        lane: &Lane,
        see: impl FnOnce(&Sight<'_>) -> T,
    ) -> Option<T> {
        let owners = self.owners.get(&upto)?;
        let heartbeats = || self.heartbeats(&range).chain(&lane.heartbeats);
        let coverage = Coverage::new(heartbeats());
        let clocks = self.clocks_near(window)?;
        let reached_back;
        let node_clocks = if lane.heartbeats.is_empty() {
            clocks.set()
        } else {
            reached_back = NodeClocks::new(heartbeats(), &self.slabs.names);
            &reached_back
        };
        let nat = Translations::new(&self.bindings, &range.connections, clocks);
        let nat = nat.with_earlier(lane.first.map(|_| &lane.bindings));
        let tail = Evidence::new(&View {
            slabs: &self.slabs,
            owners,
            nat,
            node_clocks,
            settings: &self.settings,
            window: window + 1,
            until_ns: range.rows.end,
        });
        let near = (first..=window).map(|window| self.evidence.get(&window));
        let evidence: Vec<Option<&Evidence>> = near.chain([Some(&tail)]).collect();
        let reached = lane.reached(&self.slabs);
        let sight = Sight {
            slabs: &self.slabs,
            settings: &self.settings,
            owners,
            coverage: &coverage,
            node_clocks,
            nat,
            stage: self.stage,
            window,
            time,
            rows: range.rows.clone(),
            calls_until_ns: range.requests.end,
            horizon_ns: range.long.end,
            evidence: &evidence,
            first,
            last,
            reached: &reached,
            counterparts: Counterparts::default(),
        };
        Some(see(&sight.with_counterparts()))
    }

    /// Drops what no window from this one on looks at.
    pub fn forget_before(&mut self, start_ns: i64) {
        let time = start_ns..start_ns + self.settings.window_ns;
        let range = range_of_stage(time, self.stage, &self.settings);
        let first = self.index(range.rows.start).saturating_sub(1);
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

    /// Event time of the first row whose end may be linked otherwise now that these rows are there:
    /// bindings and objects count for all windows whose rows end after them.
    fn first_linked_by(&self, columns: &Columns) -> Option<i64> {
        let bindings = columns.bindings.iter().map(|b| b.event_ns);
        let seen = columns.objects.iter().map(|o| o.event_ns - self.settings.propagation_ns);
        bindings.chain(seen).min()
    }

    /// Drops links that rest on too little: of windows whose rows end after `changed_ns`.
    fn forget_links(&mut self, changed_ns: Option<i64>) {
        let Some(changed_ns) = changed_ns else { return };
        let from = self.index(changed_ns - window::ahead_ns(&self.settings));
        self.evidence.split_off(&from);
    }

    /// Takes note of heartbeats that are to be added.
    fn hear(&mut self, columns: &Columns) {
        for beat in &columns.heartbeats {
            let heard = self.heard.get_or_insert(beat.event_ns..beat.event_ns);
            *heard = heard.start.min(beat.event_ns)..heard.end.max(beat.event_ns);
        }
    }

    /// Reads the clocks anew of which heartbeats came. Where these say nothing else of a window's
    /// rows, what was found with the help of its clocks stays.
    fn listen(&mut self) {
        let Some(heard) = self.heard.take() else { return };
        let ahead_ns = window::ahead_ns(&self.settings);
        for (window, clocks) in &mut self.clocks {
            let end_ns = i64::from(window + 1) * self.settings.window_ns;
            let known = Known { clocks, slabs: &self.slabs, settings: &self.settings };
            let Some(set) = known.set_anew(&heard) else { continue };
            if !clocks.take(set, end_ns + ahead_ns) {
                self.evidence.remove(window);
            }
        }
    }

    /// Finds what exact keys say, in the windows where it is not known yet. Each window's links
    /// look at the windows beside it as far as any later window will.
    fn link(&mut self, first: u32, window: u32, last: u32) {
        for changed in self.slabs.seal(first.saturating_sub(1)..last + 1, self.settings.threads) {
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
                node_clocks: clocks.set(),
                settings: &self.settings,
                window,
                until_ns: range.rows.end,
            });
            self.evidence.insert(window, evidence);
        }
    }

    /// Finds the same in the windows that the slow lane read of, and in the one between them and the
    /// range.
    fn link_lane(&mut self, lane: &mut Lane, near: u32, range: &ReadRange, upto: usize) {
        if lane.pods.is_empty() {
            return;
        }
        let first = self.slabs.first().min(lane.until);
        lane.first = Some(first);
        self.slabs.seal(first..lane.until, self.settings.threads);
        let (Some(owners), Some(clocks)) = (self.owners.get(&upto), self.clocks_near(near)) else {
            return;
        };
        let heartbeats = self.heartbeats(range).chain(&lane.heartbeats);
        let node_clocks = NodeClocks::new(heartbeats, &self.slabs.names);
        for window in first..near {
            let start_ns = i64::from(window) * self.settings.window_ns;
            let time = start_ns..start_ns + self.settings.window_ns;
            let until_ns = range_of_stage(time, self.stage, &self.settings).rows.end;
            let nat = Translations::new(&self.bindings, &range.connections, clocks);
            let view = View {
                slabs: &self.slabs,
                owners,
                nat: nat.with_earlier(Some(&lane.bindings)),
                node_clocks: &node_clocks,
                settings: &self.settings,
                window,
                until_ns,
            };
            lane.evidence.entry(window).or_insert_with(|| Evidence::new(&view));
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
        let upto = visible.len();
        if !self.owners.contains_key(&upto) {
            let owners = Ownership::new(&visible, &mut self.slabs.names, &self.settings);
            self.slabs.place_pods(owners.pods());
            self.owners.insert(upto, owners);
        }
        upto
    }

    fn heartbeats<'a>(&'a self, range: &'a ReadRange) -> impl Iterator<Item = &'a Heartbeat> {
        self.slabs.heartbeats.iter().filter(|h| {
            range.heartbeats.contains(&h.event_ns) && h.covered_from_ns < range.rows.end
        })
    }
}

/// A window that is looked at.
struct Window {
    time: Range<i64>,
    range: ReadRange,
    window: u32,
    first: u32,
    last: u32,
    /// Which owners are known.
    upto: usize,
}

fn decided(sight: &Sight<'_>) -> (Relays, Paths) {
    let relays = Relays::decide(sight);
    let paths = path::build(sight, &relays);
    (relays, paths)
}

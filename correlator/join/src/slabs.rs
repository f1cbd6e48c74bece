//! The slabs that are held, and the names that their rows share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::Settings;
use crate::columns::{AccessLog, Attempt, Binding, Columns, Exchange, Heartbeat, Span};
use crate::id::OddIds;
use crate::names::{Name, Names};
use crate::slab::{ExchangeId, LogId, RowId, Slab, SpanId};

/// A text of 36 characters with what leads to it.
const BYTES_OF_TEXT: usize = 128;

/// A pod as its agent of the API server tells of it, and the same as an owner of addresses.
const BYTES_OF_OBJECT: usize = 2_048;

/// Adjacent slabs, and what is not kept by window.
#[derive(Debug)]
pub(crate) struct Slabs {
    window_ns: i64,
    /// Window of the first slab, counted since the epoch.
    first: u32,
    slabs: VecDeque<Slab>,
    pub(crate) names: Names,
    pub(crate) odd_ids: OddIds,
    places: Places,
    /// Sightings of NAT bindings.
    pub(crate) bindings: Vec<Binding>,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) objects: Vec<tables::ClusterObject>,
}

/// Slabs before those that are held.
#[derive(Debug, Default)]
pub(crate) struct Front {
    first: u32,
    slabs: VecDeque<Slab>,
}

impl Front {
    pub(crate) fn drop_exchanges_of(&mut self, pods: &BTreeSet<Name>) {
        for slab in &mut self.slabs {
            slab.keep_exchanges(|e| e.pod.is_none_or(|pod| !pods.contains(&pod)));
        }
    }
}

/// Places by pod, or by namespace on a node. A pod has one as soon as anything names it, so that
/// what is linked to it does not rest on whether its exchanges have come.
#[derive(Debug, Default)]
struct Places {
    /// By the number of the pod's name: it is asked for every exchange and every span.
    of_pod: Vec<Option<u32>>,
    pods: Vec<(Name, u32)>,
    of_namespace: BTreeMap<(Name, i64), u32>,
    count: u32,
}

impl Places {
    fn of(&mut self, exchange: &Exchange) -> u32 {
        match exchange.pod {
            Some(pod) => self.of_pod(pod),
            None => {
                let namespace = (exchange.node, exchange.netns_cookie);
                *self.of_namespace.entry(namespace).or_insert_with(|| next(&mut self.count))
            }
        }
    }

    fn of_pod(&mut self, pod: Name) -> u32 {
        if self.of_pod.len() <= pod.index() {
            self.of_pod.resize(pod.index() + 1, None);
        }
        *self.of_pod[pod.index()].get_or_insert_with(|| {
            let place = next(&mut self.count);
            self.pods.push((pod, place));
            place
        })
    }
}

fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}

impl Slabs {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            window_ns: settings.window_ns,
            first: 0,
            slabs: VecDeque::new(),
            names: Names::default(),
            odd_ids: OddIds::default(),
            places: Places::default(),
            bindings: Vec::new(),
            heartbeats: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// Makes the names and ids of rows those of the slabs, once and before they are added.
    pub(crate) fn rename(&mut self, columns: &mut Columns) {
        columns.rename(&mut self.names);
        self.odd_ids.take(std::mem::take(&mut columns.odd_ids));
    }

    /// Adds rows. Those of the slabs' tables with an event time outside `rows` are left out.
    pub(crate) fn add(&mut self, mut columns: Columns, rows: &Range<i64>) {
        self.bindings.append(&mut columns.bindings);
        self.heartbeats.append(&mut columns.heartbeats);
        self.objects.append(&mut columns.objects);
        let mut exchanges = columns.exchanges;
        exchanges.retain(|exchange| rows.contains(&exchange.end_ns));
        exchanges.iter_mut().for_each(|exchange| exchange.place = self.places.of(exchange));
        self.part(exchanges, |exchange| exchange.end_ns, Slab::add_exchanges);
        let mut spans = columns.spans;
        spans.retain(|span| rows.contains(&span.end_ns));
        self.place_pods(spans.iter().filter_map(|span| span.pod));
        self.part(spans, |span| span.end_ns, Slab::add_spans);
        for mut log in columns.access_logs {
            if rows.contains(&log.event_ns) {
                self.place_pods(log.pod);
                let attempts = log.attempts.start as usize..log.attempts.end as usize;
                let slab = self.slab_at(log.event_ns);
                let from = slab.attempts.len() as u32;
                slab.attempts.extend_from_slice(&columns.attempts[attempts]);
                log.attempts = from..slab.attempts.len() as u32;
                slab.access_logs.push(log);
            }
        }
        for row in columns.malformed.into_iter().filter(|m| rows.contains(&m.event_ns)) {
            self.slab_at(row.event_ns).malformed.push(row);
        }
        for row in columns.endings.into_iter().filter(|e| rows.contains(&e.event_ns)) {
            self.slab_at(row.event_ns).endings.push(row);
        }
    }

    /// Gives pods places that have none.
    pub(crate) fn place_pods(&mut self, pods: impl IntoIterator<Item = Name>) {
        for pod in pods {
            self.places.of_pod(pod);
        }
    }

    /// Bytes of all rows, and of what is found of them, about.
    pub(crate) fn bytes(&self) -> usize {
        let slabs: usize = self.slabs.iter().map(Slab::bytes).sum();
        slabs
            + self.odd_ids.len() * BYTES_OF_TEXT
            + self.names.texts().count() * BYTES_OF_TEXT
            + self.heartbeats.len() * size_of::<Heartbeat>()
            + self.objects.len() * BYTES_OF_OBJECT
    }

    /// Gives rows to the slabs that their times lie in. What is read at once is mostly of one.
    fn part<T: Copy>(
        &mut self,
        mut rows: Vec<T>,
        time_ns: impl Fn(&T) -> i64,
        add: impl Fn(&mut Slab, Vec<T>),
    ) {
        while let Some(first) = rows.first() {
            let window = time_ns(first).div_euclid(self.window_ns);
            let is_its = |row: &T| time_ns(row).div_euclid(self.window_ns) == window;
            let others: Vec<T> = rows.iter().filter(|row| !is_its(row)).copied().collect();
            rows.retain(is_its);
            // Rows are kept as they were read for up to a window.
            rows.shrink_to_fit();
            let slab = self.slab_at(window * self.window_ns);
            add(slab, std::mem::replace(&mut rows, others));
        }
    }

    /// The slab that an event time lies in, made where it is not there.
    fn slab_at(&mut self, event_ns: i64) -> &mut Slab {
        let index = event_ns.div_euclid(self.window_ns);
        let window = u32::try_from(index.max(0)).unwrap_or(u32::MAX);
        if self.slabs.is_empty() {
            self.first = window;
        }
        while window < self.first {
            self.slabs.push_front(Slab::default());
            self.first -= 1;
        }
        let position = (window - self.first) as usize;
        while self.slabs.len() <= position {
            self.slabs.push_back(Slab::default());
        }
        let slab = &mut self.slabs[position];
        slab.open();
        slab
    }

    /// Sorts and indexes the slabs of these windows that got rows since.
    pub(crate) fn seal(&mut self, windows: Range<u32>, threads: usize) -> Vec<u32> {
        let mut sealed = Vec::new();
        for window in windows {
            let Some(at) = window.checked_sub(self.first) else { continue };
            let slab = self.slabs.get_mut(at as usize).filter(|slab| !slab.is_sealed());
            if let Some(slab) = slab {
                slab.seal(&self.names, threads);
                sealed.push(window);
            }
        }
        sealed
    }

    pub(crate) fn forget_before(&mut self, window: u32) {
        while self.first < window && self.slabs.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Puts other slabs in the place of those before a window, and answers these.
    pub(crate) fn exchange_front(&mut self, before: u32, front: Front) -> Front {
        let mut taken = Front { first: self.first, slabs: VecDeque::new() };
        while self.first < before {
            let Some(slab) = self.slabs.pop_front() else { break };
            taken.slabs.push_back(slab);
            self.first += 1;
        }
        if front.slabs.is_empty() {
            return taken;
        }
        let end = front.first + u32::try_from(front.slabs.len()).unwrap_or(u32::MAX);
        while self.first > end {
            self.slabs.push_front(Slab::default());
            self.first -= 1;
        }
        for slab in front.slabs.into_iter().rev() {
            self.slabs.push_front(slab);
            self.first -= 1;
        }
        taken
    }

    /// Window of the first slab.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn slab(&self, window: u32) -> Option<&Slab> {
        self.slabs.get(window.checked_sub(self.first)? as usize)
    }

    fn of(&self, id: RowId) -> &Slab {
        &self.slabs[(id.window - self.first) as usize]
    }

    pub(crate) fn exchange(&self, id: ExchangeId) -> &Exchange {
        &self.of(id).exchanges[id.row as usize]
    }

    /// Whether an exchange may be reported again, without a look at its row.
    pub(crate) fn may_go_on(&self, id: ExchangeId) -> bool {
        self.of(id).may_go_on(id.row)
    }

    pub(crate) fn span(&self, id: SpanId) -> &Span {
        &self.of(id).spans[id.row as usize]
    }

    pub(crate) fn log(&self, id: LogId) -> &AccessLog {
        &self.of(id).access_logs[id.row as usize]
    }

    pub(crate) fn attempts(&self, id: LogId) -> &[Attempt] {
        let slab = self.of(id);
        slab.attempts(&slab.access_logs[id.row as usize].attempts)
    }

    pub(crate) fn place_of_pod(&self, pod: Name) -> Option<u32> {
        self.places.of_pod.get(pod.index()).copied().flatten()
    }

    /// Every pod that has a place.
    pub(crate) fn places_of_pods(&self) -> impl Iterator<Item = (Name, u32)> + '_ {
        self.places.pods.iter().copied()
    }

    pub(crate) fn places(&self) -> u32 {
        self.places.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Observations;

    #[test]
    fn pod_has_its_place_from_the_first_row_that_names_it() {
        let pod = || Some("pod-1".to_owned());
        let span = tables::Span { pod_uid: pod(), ..tables::Span::default() };
        let exchange = tables::Exchange {
            pod_uid: pod(),
            role: "server".into(),
            local_ip: "10.0.0.1".into(),
            remote_ip: "10.0.0.2".into(),
            ..tables::Exchange::default()
        };
        let mut slabs = Slabs::new(&Settings::default());
        let mut add = |rows: Observations| {
            let mut columns = Columns::from_rows(&rows).unwrap();
            slabs.rename(&mut columns);
            slabs.add(columns, &(0..1));
            let pod = slabs.names.name("pod-1");
            slabs.place_of_pod(pod).zip(Some(slabs.places()))
        };
        let told = add(Observations { spans: vec![span], ..Observations::default() });
        assert_eq!(told, Some((0, 1)), "by a span");
        let seen = add(Observations { exchanges: vec![exchange], ..Observations::default() });
        assert_eq!(seen, told, "the same with its exchanges");
    }
}

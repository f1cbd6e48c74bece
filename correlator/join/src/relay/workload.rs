//! How the processes of a workload work: its pods run the same code, so that all of them show what
//! few requests of one of them do not.
//!
//! Each is found when it is asked for first, once for all pods of the workload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::names::Name;
use crate::relay::company::{self, Company};
use crate::relay::set_clock;
use crate::sight::Sight;
use crate::slab::RowId;

/// So many requests without a contradiction show that a process serves each on one thread.
const BOUND_EXCHANGES_MIN: usize = 8;

/// How one process works.
#[derive(Debug, Default)]
pub(super) struct Habits {
    pub(super) requests: usize,
    pub(super) threads: BTreeSet<u32>,
    /// A request or a call was answered on another thread than it began on, or a thread served two
    /// requests at once.
    pub(super) is_free: bool,
}

impl Habits {
    /// Every request is served by one thread that does nothing else meanwhile, as far as enough
    /// requests show.
    pub(super) fn is_bound(&self) -> bool {
        !self.is_free && self.requests >= BOUND_EXCHANGES_MIN
    }
}

/// How all processes of a workload work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// All together serve each request on one thread, as far as enough requests show.
    pub(super) is_bound: bool,
    /// And some process on several.
    pub(super) is_bound_on_several: bool,
}

/// The workloads in sight.
pub(super) struct Workloads<'a> {
    sight: &'a Sight<'a>,
    all: Vec<Workload>,
    /// By place: which of all it is of.
    of_place: Vec<usize>,
}

/// One of them; a place of no known workload is one by itself.
#[derive(Default)]
struct Workload {
    places: Vec<u32>,
    ways: OnceLock<Ways>,
    company: OnceLock<Company>,
}

impl<'a> Workloads<'a> {
    pub(super) fn new(sight: &'a Sight<'a>) -> Self {
        let mut of_pod: Vec<Option<(Name, Name)>> = vec![None; sight.slabs.places() as usize];
        for (pod, place) in sight.slabs.places_of_pods() {
            let pod = sight.owners.pod(pod);
            of_pod[place as usize] = pod.and_then(|pod| Some((pod.namespace, pod.workload?)));
        }
        let mut known: BTreeMap<(Name, Name), usize> = BTreeMap::new();
        let (mut all, mut of_place) = (Vec::<Workload>::new(), Vec::new());
        for (place, workload) in (0..).zip(of_pod) {
            let next = all.len();
            let at = workload.map_or(next, |workload| *known.entry(workload).or_insert(next));
            if at == next {
                all.push(Workload::default());
            }
            all[at].places.push(place);
            of_place.push(at);
        }
        Self { sight, all, of_place }
    }

    pub(super) fn ways(&self, place: u32) -> Ways {
        let workload = self.of(place);
        *workload.ways.get_or_init(|| {
            let places = workload.places.iter();
            let all: Vec<Habits> =
                places.flat_map(|&place| habits(self.sight, place).into_values()).collect();
            let requests: usize = all.iter().map(|h| h.requests).sum();
            let is_bound = requests >= BOUND_EXCHANGES_MIN && all.iter().all(|h| !h.is_free);
            let several = |h: &Habits| h.threads.len() > 1;
            Ways { is_bound, is_bound_on_several: is_bound && all.iter().any(several) }
        })
    }

    /// How often its requests are served beside others.
    pub(super) fn company(&self, place: u32) -> Company {
        let workload = self.of(place);
        *workload.company.get_or_init(|| {
            let of_place =
                |&place: &u32| Company::new(self.sight, company::servers(self.sight, place));
            workload.places.iter().map(of_place).fold(Company::default(), Company::and)
        })
    }

    fn of(&self, place: u32) -> &Workload {
        &self.all[self.of_place[place as usize]]
    }
}

/// What the windows in sight show of the processes of a place. What was served at once is not seen
/// in stamps that may be of two clocks.
pub(super) fn habits(sight: &Sight<'_>, place: u32) -> BTreeMap<u32, Habits> {
    let mut habits: BTreeMap<u32, Habits> = BTreeMap::new();
    let mut busy_until: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for window in sight.first_of(place)..sight.window + 2 {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        let visible = sight.view().visible(window);
        let is_seen = |row: &&u32| {
            (**row as usize) < visible && sight.is_last_word(RowId { window, row: **row })
        };
        for &row in slab.servers(place).iter().filter(is_seen) {
            let row = &slab.exchanges[row as usize];
            if set_clock::doubt_of(sight, row).is_some() {
                continue;
            }
            let busy = busy_until.entry((row.process, row.thread)).or_insert(i64::MIN);
            let overlaps = row.start_ns < *busy;
            *busy = (*busy).max(row.end_ns);
            let of_process = habits.entry(row.process).or_default();
            of_process.requests += 1;
            of_process.threads.insert(row.thread);
            of_process.is_free |=
                overlaps || row.response_thread().is_some_and(|t| t != row.thread);
        }
        for &row in slab.clients(place).iter().filter(is_seen) {
            let row = &slab.exchanges[row as usize];
            habits.entry(row.process).or_default().is_free |=
                row.response_thread().is_some_and(|t| t != row.thread);
        }
    }
    habits
}

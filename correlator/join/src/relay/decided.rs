//! What caused the calls of one place: its spans first, then its lines or its threads, each as far
//! as requests that were not seen leave it sure.

use crate::columns::Exchange;
use crate::link::Parent;
use crate::link::proxy::{Lines, Told};
use crate::reason::Reason;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::half::{self, HalfCalls};
use crate::relay::place::Scene;
use crate::relay::set_clock::SetClock;
use crate::relay::thread::Threads;
use crate::relay::{Cause, Made, by_span};
use crate::sight::Sight;
use crate::skew::Jump;
use crate::slab::ExchangeId;

/// A span's stamps come from the SDK, an exchange's from the kernel; both lie on one node's clock.
const SPAN_TOLERANCE_NS: i64 = 2_000_000;

/// What was decided of one place.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// By server, then start.
    pub(super) made: Vec<Made>,
    /// Causes of the other calls.
    pub(super) others: Vec<(ExchangeId, Cause)>,
    /// The place, where it is one that passes requests on to others.
    pub(super) proxy: Option<u32>,
    /// What its lines tell, where it writes any.
    pub(super) told: Option<Told>,
    /// Who may have made the calls there that were half seen.
    pub(super) suspected: Option<half::Place>,
}

impl Decided {
    pub(super) fn new(
        sight: &Sight<'_>,
        scene: &Scene,
        lines: &Lines,
        elsewhere: &Elsewhere<'_>,
        half: &HalfCalls,
    ) -> Self {
        let Scene { place, servers, clients } = scene;
        let proxy = Some(*place).filter(|&place| lines.is_proxy(place));
        let half = half.of(*place);
        let tell = || Told::new(sight, servers, clients, lines, half, *place);
        let told = lines.of(*place).map(|_| tell());
        let suspected = half::Place::new(sight, half, scene, told.as_ref());
        let mut decided = Self { proxy, told, suspected, ..Self::default() };
        let mut context = Context::new(sight, scene, elsewhere);
        for (index, &call) in clients.iter().enumerate() {
            let cause = match (context.cause_by_span(call), &decided.told) {
                (Some(cause), _) => cause,
                (None, Some(told)) if decided.proxy.is_some() => {
                    cause_in_proxy(told, context.doubt(call).why(), index)
                }
                (None, _) => context.cause_by_thread(call),
            };
            match context.doubt_more_than_time(call, cause) {
                Cause::Parent(Parent { server, by }) => {
                    let start_ns = sight.exchange(call).start_ns;
                    decided.made.push(Made { server, start_ns, call, by });
                }
                cause => decided.others.push((call, cause)),
            }
        }
        decided.made.sort_unstable();
        decided
    }
}

/// What a proxy's lines say of the cause of one of its calls.
fn cause_in_proxy(told: &Told, doubt: Option<Reason>, call: usize) -> Cause {
    match (told.parents[call], doubt) {
        (Some(parent), Some(why)) if parent.by == Reason::OkContainment => {
            return Cause::Undecided { candidates: vec![parent.server], why };
        }
        (Some(parent), _) => return Cause::Parent(parent),
        (None, _) => {}
    }
    match told.undecided.get(&call) {
        Some(candidates) if !candidates.is_empty() => {
            let why = doubt.unwrap_or(Reason::AmbigTimeOnly);
            Cause::Undecided { candidates: candidates.clone(), why }
        }
        // A proxy makes no calls of its own accord.
        _ => Cause::Orphan(doubt.unwrap_or(Reason::FailOrphan)),
    }
}

/// What decides beside the links.
pub(super) struct Context<'a> {
    pub(super) sight: &'a Sight<'a>,
    scene: &'a Scene,
    elsewhere: &'a Elsewhere<'a>,
    set_clock: SetClock<'a>,
    /// Made when the first call asks.
    threads: Option<Threads<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        sight: &'a Sight<'a>,
        scene: &'a Scene,
        elsewhere: &'a Elsewhere<'a>,
    ) -> Self {
        Self { sight, scene, elsewhere, set_clock: SetClock::new(sight, scene), threads: None }
    }

    pub(super) fn cause_by_span(&mut self, call: ExchangeId) -> Option<Cause> {
        let sight = self.sight;
        let callee = sight.server_of(call)?;
        let server = by_span::cause_of_call(sight, self.scene.place, callee)?;
        if server == callee {
            return None;
        }
        let begins_inside =
            sight.exchange(server).start_ns <= sight.exchange(call).start_ns + SPAN_TOLERANCE_NS;
        Some(if begins_inside {
            Cause::Parent(Parent { server, by: Reason::OkExactId })
        } else {
            self.against_ids(call, server)
        })
    }

    /// The request that ids name came after the call: it may be theirs or one that was being served.
    fn against_ids(&mut self, call: ExchangeId, named: ExchangeId) -> Cause {
        let mut candidates = match self.cause_without_ids(call) {
            Cause::Parent(parent) => vec![parent.server],
            Cause::Undecided { candidates, .. } => candidates,
            Cause::Root | Cause::Orphan(_) => Vec::new(),
        };
        if !candidates.contains(&named) {
            candidates.push(named);
        }
        Cause::Undecided { candidates, why: Reason::ConflictIdVsTuple }
    }

    /// By thread and containment, and by spans whose requests times alone tell.
    pub(super) fn cause_by_thread(&mut self, call: ExchangeId) -> Cause {
        let (sight, place) = (self.sight, self.scene.place);
        let cause = self.cause_without_ids(call);
        let callee = sight.server_of(call);
        let likely = callee.and_then(|s| by_span::likely_cause_of_call(sight, place, s));
        match (&cause, likely) {
            (Cause::Undecided { candidates, .. }, Some(server)) if candidates.contains(&server) => {
                Cause::Parent(Parent { server, by: Reason::OkContainment })
            }
            _ => cause,
        }
    }

    pub(super) fn cause_without_ids(&mut self, call: ExchangeId) -> Cause {
        let (doubt, callee) = (self.doubt(call), self.sight.server_of(call));
        self.threads().cause(call, callee, doubt)
    }

    pub(super) fn threads(&mut self) -> &mut Threads<'a> {
        let place = self.scene.place;
        let is_explained = |call: &Exchange| {
            self.elsewhere.unseen.is_asked(place, call.start_ns) || !self.set_clock.is_sure_at(call)
        };
        let new = || Threads::new(self.sight, self.scene, self.elsewhere, is_explained);
        self.threads.get_or_insert_with(new)
    }

    /// What times decided is in doubt where the node's clock was set, and what they left undecided
    /// may have a better reason.
    fn doubt_more_than_time(&mut self, call: ExchangeId, cause: Cause) -> Cause {
        let sight = self.sight;
        let is_exact = matches!(&cause, Cause::Parent(p) if p.by == Reason::OkExactId);
        if is_exact {
            return cause;
        }
        if let Some(jump) = self.set_clock.doubt(call, &cause) {
            let candidates = self.served_by_either_clock(sight.exchange(call).start_ns, jump);
            return match candidates[..] {
                [] => Cause::Orphan(Reason::FailClockStep),
                _ => Cause::Undecided { candidates, why: Reason::AmbigSkewUnknown },
            };
        }
        match cause {
            Cause::Undecided { candidates, why: Reason::AmbigTimeOnly }
                if sight
                    .server_of(call)
                    .is_some_and(|callee| by_span::has_twin_parents(sight, callee)) =>
            {
                Cause::Undecided { candidates, why: Reason::AmbigDupTraceId }
            }
            cause => cause,
        }
    }

    /// Requests that may have been served at a moment, stamped by the clock that stamped it or by the
    /// one before or after.
    fn served_by_either_clock(&mut self, at_ns: i64, jump: Jump) -> Vec<ExchangeId> {
        let (sight, scene) = (self.sight, self.scene);
        let threads = self.threads();
        let may_be = |id: &ExchangeId| {
            let server = sight.exchange(*id);
            jump.of(at_ns).into_iter().any(|at| {
                server.start_ns <= *at.end()
                    && *at.start() <= server.upper_ns()
                    && !threads.is_surely_over(*id, *at.start(), jump)
            })
        };
        scene.servers.iter().copied().filter(may_be).collect()
    }

    /// Why more requests may have been served at the call's begin than were seen.
    fn doubt(&self, call: ExchangeId) -> Doubt {
        let row = self.sight.exchange(call);
        let lost = self.sight.coverage.whole(Some(row.node), row.start_ns, row.end_ns).err();
        let is_too_old = row.start_ns < self.sight.known_from(self.scene.place);
        let is_asked = self.elsewhere.unseen.is_asked(self.scene.place, row.start_ns);
        let known = is_too_old
            .then_some(Reason::MissingBeyondGuard)
            .or(is_asked.then_some(Reason::MissingLate));
        Doubt { lost, known }
    }
}

/// Why a request that was not seen may have been served.
#[derive(Clone, Copy)]
pub(super) struct Doubt {
    /// Events were lost, or nobody watched.
    pub(super) lost: Option<Reason>,
    /// One is known of, or was not read.
    pub(super) known: Option<Reason>,
}

impl Doubt {
    pub(super) fn why(self) -> Option<Reason> {
        self.lost.or(self.known)
    }

    /// Whether nothing but a loss of events speaks for such a request.
    pub(super) fn is_of_loss(self) -> bool {
        self.lost == Some(Reason::MissingLostEvents) && self.known.is_none()
    }
}

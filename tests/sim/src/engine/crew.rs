//! Threads of a pod: which one reads, calls and answers.

use crate::chance::Chance;
use crate::dials::Threads;
use crate::observation::PodId;

/// The threads of one pod's process.
#[derive(Clone, Debug)]
pub(super) struct Crew {
    kind: Threads,
    pub(super) process: u32,
    idle: Vec<u32>,
    hired: u32,
}

/// Threads that share the work where any may do any of it.
const FREE_THREADS: usize = 6;

impl Crew {
    pub(super) fn new(kind: Threads, pod: PodId) -> Self {
        Self { kind, process: 10_000 + pod * 600, idle: Vec::new(), hired: 0 }
    }

    /// The thread that reads a request.
    pub(super) fn begin(&mut self, chance: &mut Chance) -> u32 {
        match self.kind {
            Threads::Loop => self.process,
            Threads::Free => self.any(chance),
            Threads::Bound | Threads::Mixed => self.idle.pop().unwrap_or_else(|| {
                self.hired += 1;
                self.process + self.hired
            }),
        }
    }

    /// The thread that makes the next system call for a request that `serving` has read.
    pub(super) fn next(&mut self, serving: u32, chance: &mut Chance) -> u32 {
        if self.kind == Threads::Free { self.any(chance) } else { serving }
    }

    pub(super) fn end(&mut self, serving: u32) {
        if matches!(self.kind, Threads::Bound | Threads::Mixed) {
            self.idle.push(serving);
        }
    }

    fn any(&self, chance: &mut Chance) -> u32 {
        self.process + 1 + chance.below(FREE_THREADS) as u32
    }
}

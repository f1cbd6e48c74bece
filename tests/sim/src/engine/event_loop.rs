//! The time as a proxy knows it: taken once an iteration of its event loop, so that whatever comes
//! later in the iteration is stamped early.

use super::Simulation;
use crate::chance::{hash, unit};
use crate::dials::Ingress;

const LOOP: u64 = 0x1009;

/// Most iterations are this short.
const ITERATION_NS: f64 = 60_000.0;

/// One in so many is held up, by this much on average. In 2,000 requests of an nginx that shared two
/// cores with a cluster, three lines were off by 1 ms to 2.7 ms more than their rounding.
const HELD_UP: f64 = 0.002;
const HELD_UP_NS: f64 = 1_000_000.0;
const HELD_UP_NS_MAX: f64 = 4_000_000.0;

/// Moments of a request that a proxy stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamped {
    Begin,
    End,
    TryBegin,
    TryEnd,
}

impl Simulation {
    /// What an nginx takes a moment for; `leg` tells tries of one request apart. An Envoy looks at the
    /// clock each time.
    pub(super) fn loop_ns(&self, (request, leg): (u64, u32), what: Stamped, ns: i64) -> i64 {
        if self.dials.ingress == Ingress::Envoy {
            return ns;
        }
        let draw = |which: u64| {
            let parts = [LOOP, request, u64::from(leg), what as u64, which];
            unit(hash(self.dials.seed, &parts))
        };
        let held_up_ns = match draw(0) < HELD_UP {
            true => (-HELD_UP_NS * (1.0 - draw(1)).ln()).min(HELD_UP_NS_MAX),
            false => 0.0,
        };
        ns - (draw(2) * ITERATION_NS + held_up_ns) as i64
    }
}

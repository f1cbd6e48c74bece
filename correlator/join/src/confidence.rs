//! How sure a class of evidence is. Base values of the design's stages; the least sure link of a
//! path decides its verdict.

use crate::reason::Reason;

/// A path with a link below this is not complete.
pub(crate) const COMPLETE_MIN: f64 = 0.97;

pub(crate) fn of(reason: Reason) -> f64 {
    match reason {
        Reason::OkTupleSeq => 0.99999,
        Reason::OkTupleOrdinal => 0.9995,
        Reason::OkExactId => 0.9999,
        Reason::OkNatChain | Reason::OkThread => 0.999,
        Reason::OkUpstreamUnique => 0.99,
        Reason::OkContainment => 0.98,
        _ => 0.0,
    }
}

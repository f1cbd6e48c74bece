//! What is known of a place by other rows than its own exchanges.

use crate::relay::unseen::Unseen;
use crate::relay::workload::Workloads;
use crate::sight::Sight;

pub(super) struct Elsewhere<'a> {
    pub(super) unseen: Unseen,
    pub(super) workloads: Workloads<'a>,
}

impl<'a> Elsewhere<'a> {
    pub(super) fn new(sight: &'a Sight<'a>) -> Self {
        Self { unseen: Unseen::new(sight), workloads: Workloads::new(sight) }
    }
}

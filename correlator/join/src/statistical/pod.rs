//! The open requests of one pod, and the groups of those that are in doubt.

use super::chain::NodeId;
use super::group::Group;
use super::timeline::Timelines;
use super::walked::Walked;

const NO_GROUP: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Pod {
    /// Request by slot.
    pub(super) open: Vec<u32>,
    /// Node by slot; says nothing where the slot is of a group.
    pub(super) agreed: Vec<NodeId>,
    group_of: Vec<u32>,
    pub(super) groups: Vec<Group>,
}

impl Pod {
    pub(super) fn open(&mut self, request: u32, node: NodeId) {
        self.open.push(request);
        self.agreed.push(node);
        self.group_of.push(NO_GROUP);
    }

    pub(super) fn slot_of(&self, request: u32) -> Option<u32> {
        self.open.iter().position(|r| *r == request).map(|slot| slot as u32)
    }

    /// Index of the group that a slot is of.
    pub(super) fn group_of(&self, slot: u32) -> Option<usize> {
        let group = self.group_of[slot as usize];
        (group != NO_GROUP).then_some(group as usize)
    }

    /// Slots in no group, with their nodes.
    pub(super) fn sure(&self) -> impl Iterator<Item = (u32, NodeId)> {
        let sure = (0u32..).zip(self.agreed.iter().zip(&self.group_of));
        sure.filter(|(_, (_, group))| **group == NO_GROUP).map(|(slot, (node, _))| (slot, *node))
    }

    /// Takes a group out; the last one takes its index.
    pub(super) fn take(&mut self, group: usize) -> Group {
        let taken = self.groups.swap_remove(group);
        for slot in &taken.slots {
            self.group_of[*slot as usize] = NO_GROUP;
        }
        if let Some(moved) = self.groups.get(group) {
            for slot in &moved.slots {
                self.group_of[*slot as usize] = group as u32;
            }
        }
        taken
    }

    /// Puts a group back in parts, less what its hypotheses agree on; one hypothesis is no group.
    pub(super) fn put(&mut self, mut group: Group, walked: &mut Walked, timelines: &Timelines) {
        for (slot, node) in group.release() {
            self.agreed[slot as usize] = node;
            self.group_of[slot as usize] = NO_GROUP;
        }
        if group.len() == 1 {
            group.lattice.settle(1, walked, timelines);
            return;
        }
        for part in group.part() {
            for slot in &part.slots {
                self.group_of[*slot as usize] = self.groups.len() as u32;
            }
            self.groups.push(part);
        }
    }

    /// Forgets a slot that is in no group; the last one takes its place.
    pub(super) fn close(&mut self, slot: u32) {
        let last = self.open.len() as u32 - 1;
        if let Some(group) = self.group_of(last) {
            let slots = &mut self.groups[group].slots;
            slots.iter_mut().filter(|s| **s == last).for_each(|s| *s = slot);
        }
        self.open.swap_remove(slot as usize);
        self.agreed.swap_remove(slot as usize);
        self.group_of.swap_remove(slot as usize);
    }

    /// What is still in doubt stays so.
    pub(super) fn finish(&mut self, walked: &mut Walked, timelines: &Timelines) {
        for group in self.groups.drain(..) {
            let hypotheses = group.len();
            group.lattice.settle(hypotheses, walked, timelines);
        }
    }
}

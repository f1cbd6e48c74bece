//! Counting of what could not be stored: the reader of a ring buffer never learns of it by itself.

use core::mem::MaybeUninit;

use agent_ebpf::abi::{Owner, Tuple, counter};
use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::maps::{COUNTERS, EVENTS, UNFOLLOWED};

#[inline(always)]
pub fn count(index: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the slot belongs to this CPU, and the map outlives the program.
        unsafe { *value += 1 };
    }
}

/// Counts a call that no exchange is made of, by owner: the agent knows whose are its own. What
/// stays inside a pod by a loopback address is no hop of the cluster.
#[inline(always)]
pub fn unfollowed(owner: &Owner, tuple: &Tuple) {
    if tuple.is_loopback() {
        return;
    }
    match UNFOLLOWED.get_ptr_mut(owner) {
        // SAFETY: the slot belongs to this CPU and stays valid during this program.
        Some(value) => unsafe { *value += 1 },
        // Full of other owners it would still make room, so there is nothing left to do if not.
        None => drop(UNFOLLOWED.insert(owner, 1u64, 0)),
    }
}

/// Hands a record to the agent, or counts that there was no room for it.
#[inline(always)]
pub fn emit<T: Copy + 'static>(lost: u32, fill: impl FnOnce(&mut MaybeUninit<T>)) {
    emit_if(lost, |record| {
        fill(record);
        true
    });
}

/// The same, for a record that turns out to be wanted only once it is filled.
#[inline(always)]
pub fn emit_if<T: Copy + 'static>(lost: u32, fill: impl FnOnce(&mut MaybeUninit<T>) -> bool) {
    let Some(mut entry): Option<RingBufEntry<T>> = EVENTS.reserve(0) else {
        count(lost);
        return;
    };
    if fill(&mut entry) {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}

/// Counts kernel memory that could not be read, and passes the value on.
#[inline(always)]
pub fn readable<T>(value: Option<T>) -> Option<T> {
    if value.is_none() {
        count(counter::UNREADABLE);
    }
    value
}

//! Counting of what could not be stored: the reader of a ring buffer never learns of it by itself.

use core::mem::MaybeUninit;

use agent_ebpf::abi::counter;
use aya_ebpf::maps::ring_buf::RingBufEntry;

use crate::maps::{COUNTERS, EVENTS};

#[inline(always)]
pub fn count(index: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(index) {
        // SAFETY: the slot belongs to this CPU, and the map outlives the program.
        unsafe { *value += 1 };
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

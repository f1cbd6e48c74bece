//! The clock of every event: nanoseconds since boot, suspended time included.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;

#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

//! Reading kernel structures by the offsets that the agent resolved.

use agent_ebpf::abi::ABSENT;
use agent_ebpf::field::Field;
use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::maps::OFFSETS;

/// Where `field` stands in its structure on this kernel.
#[inline(always)]
pub fn offset(field: Field) -> u32 {
    // SAFETY: the index is a variant of the enumeration that the table is sized by. Volatile,
    // because the compiler sees the initial value and the loader writes another.
    unsafe { core::ptr::addr_of!(OFFSETS[field as usize]).read_volatile() }
}

/// The value of type `T` at `address`.
#[inline(always)]
pub fn at<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting. `T` is an integer or an
    // array of them, for which every bit pattern is a value.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// The value of `field` in the structure at `base`, or nothing where there is no such field.
#[inline(always)]
pub fn read<T>(base: u64, field: Field) -> Option<T> {
    let offset = offset(field);
    if base == 0 || offset == ABSENT {
        return None;
    }
    at(base + u64::from(offset))
}

//! One call at a time accounts on a socket: a reader and a writer may return on two CPUs at once.
//!
//! A program cannot sleep, and the holder is another CPU that is done within a microsecond or two.
//! So the wait is a bounded spin, and who waited in vain gives way: positions are taken from the
//! socket, so the next call accounts for the bytes of both.

use core::arch::asm;

use agent_ebpf::abi::Socket;

/// About five microseconds: several times what the holder needs.
const SPINS: u32 = 128;

/// Runs `account` as the only one on this socket, and says whether it could.
#[inline(always)]
pub fn with(entry: *mut Socket, account: impl FnOnce(&mut Socket)) -> bool {
    // SAFETY: the map's entry stays valid during this program, and the field is inside it.
    let word = unsafe { &raw mut (*entry).lock };
    for _ in 0..SPINS {
        if exchange(word, 1) == 0 {
            // SAFETY: the entry is valid, and the lock keeps other programs off its other fields.
            account(unsafe { &mut *entry });
            exchange(word, 0);
            return true;
        }
    }
    false
}

/// Waits for a call on another CPU that is being accounted for. The reader that comes after does
/// not hold the lock itself: a closed socket has no next call.
#[inline(always)]
pub fn wait(entry: *const Socket) {
    for _ in 0..SPINS {
        // SAFETY: the map's entry stays valid during this program, and the field is inside it.
        if unsafe { (&raw const (*entry).lock).read_volatile() } == 0 {
            return;
        }
    }
}

/// Exchanges a word of a map in one step (BPF_XCHG, Linux 5.12; the hooks that call this are of
/// 6.3). Rust's atomics have no such operation on this target.
#[inline(always)]
fn exchange(word: *mut u32, value: u32) -> u32 {
    let mut value = value;
    // SAFETY: `word` points into a map's value, which the verifier checks.
    unsafe {
        asm!("{value} = xchg32_32({word} + 0, {value})", word = in(reg) word, value = inout(wreg) value);
    }
    value
}

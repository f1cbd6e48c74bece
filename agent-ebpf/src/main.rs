//! The kernel programs: one file a hook under `programs`, all maps in `maps`.
//!
//! Each handler is a thin shell over logic of the library half. Every program is a BTF raw
//! tracepoint: it reads, it records, it never alters, delays or drops a packet.
//! Licensed GPL-2.0 (LICENSE-GPL-2.0 beside the manifest) or Apache-2.0; the kernel asks for the
//! former.

#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod clock;
#[cfg(target_arch = "bpf")]
mod lock;
#[cfg(target_arch = "bpf")]
mod loss;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod socket;

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that could come here, so none that is loaded does.
    loop {}
}

/// With all features on, a build for the host meets this file too; it has nothing to do there.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

//! `net_dev_queue`: the translation a connection got, read off its first packet.
//!
//! Fires for every packet that is handed to a device. Only a TCP segment with SYN and without ACK
//! goes on, and only one whose conntrack entry is translated makes a record. Translation is decided
//! by comparing the two tuples, never by status bits, which were renumbered between releases.

use core::mem::MaybeUninit;

use agent_ebpf::abi::{Header, NatEvent, counter, kind, mapped};
use agent_ebpf::field::Field;
use agent_ebpf::parse::{NETWORK_BYTES, TCP_FLAGS, opens_connection, transport};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::clock::now_ns;
use crate::loss::{emit_if, readable};
use crate::memory::{at, offset, read};

const AF_INET: u16 = 2;
const TCP: u8 = 6;
/// The low bits of `_nfct` hold the packet's state, the rest is the pointer.
const POINTER: u64 = !7;

#[btf_tracepoint]
pub fn net_dev_queue(ctx: BtfTracePointContext) -> i32 {
    let skb = ctx.arg::<u64>(0);
    let Some(tracked) = read::<u64>(skb, Field::SkbNfct) else {
        return 0;
    };
    let entry = tracked & POINTER;
    if entry != 0 && opens(skb) {
        let _ = readable(record(entry));
    }
    0
}

#[inline(always)]
fn opens(skb: u64) -> bool {
    let flags = || {
        let head: u64 = read(skb, Field::SkbHead)?;
        let network: u16 = read(skb, Field::SkbNetworkHeader)?;
        let header = head + u64::from(network);
        let bytes: [u8; NETWORK_BYTES] = at(header)?;
        at::<u8>(header + u64::from(transport(&bytes)? + TCP_FLAGS))
    };
    flags().is_some_and(opens_connection)
}

/// Fills a record with both tuples, and gives it back unless the entry translates TCP. Everything
/// is read straight into the record: two tuples would fill half of a program's stack.
#[inline(always)]
fn record(entry: u64) -> Option<()> {
    let original = entry + u64::from(offset(Field::ConnTuplehash));
    let reply = original + u64::from(offset(Field::TuplehashSize));
    let tuple = u64::from(offset(Field::TuplehashTuple));
    let (original, reply) = (original + tuple, reply + tuple);
    if read::<u8>(original, Field::TupleProtocol)? != TCP {
        return Some(());
    }
    let net: u64 = read(entry, Field::ConnNet)?;
    let netns_cookie: u64 = read(net, Field::NetCookie)?;
    let zone: u16 = read(entry, Field::ConnZone).unwrap_or(0);
    let status: u64 = read(entry, Field::ConnStatus).unwrap_or(0);
    let is_ipv4 = read::<u16>(original, Field::TupleFamily)? == AF_INET;
    emit_if(counter::LOST_NAT_BINDING, |record: &mut MaybeUninit<NatEvent>| {
        let record = record.as_mut_ptr();
        // SAFETY: `record` is a reservation of exactly one `NatEvent`; each field of it is written
        // before any is read.
        unsafe {
            (&raw mut (*record).header).write(Header::new(kind::NAT_BINDING));
            (&raw mut (*record).at_ns).write(now_ns());
            (&raw mut (*record).netns_cookie).write(netns_cookie);
            (&raw mut (*record).status).write(status);
            (&raw mut (*record).zone).write(zone);
            (&raw mut (*record).protocol).write(TCP);
            (&raw mut (*record).padding).write([0; 5]);
            let record = &mut *record;
            record.original_source_ip = ip(original, Field::TupleSourceIp, is_ipv4);
            record.original_destination_ip = ip(original, Field::TupleDestinationIp, is_ipv4);
            record.reply_source_ip = ip(reply, Field::TupleSourceIp, is_ipv4);
            record.reply_destination_ip = ip(reply, Field::TupleDestinationIp, is_ipv4);
            record.original_source_port = port(original, Field::TupleSourcePort);
            record.original_destination_port = port(original, Field::TupleDestinationPort);
            record.reply_source_port = port(reply, Field::TupleSourcePort);
            record.reply_destination_port = port(reply, Field::TupleDestinationPort);
            !is_inverse(record)
        }
    });
    Some(())
}

/// An address of a tuple. Zeros stand for one that could not be read: no such entry exists.
#[inline(always)]
fn ip(tuple: u64, field: Field, is_ipv4: bool) -> [u8; 16] {
    if is_ipv4 {
        read::<[u8; 4]>(tuple, field).map_or([0; 16], mapped)
    } else {
        read(tuple, field).unwrap_or([0; 16])
    }
}

#[inline(always)]
fn port(tuple: u64, field: Field) -> u16 {
    u16::from_be(read(tuple, field).unwrap_or(0))
}

#[inline(always)]
fn is_inverse(binding: &NatEvent) -> bool {
    same(&binding.reply_source_ip, &binding.original_destination_ip)
        && same(&binding.reply_destination_ip, &binding.original_source_ip)
        && binding.reply_source_port == binding.original_destination_port
        && binding.reply_destination_port == binding.original_source_port
}

/// Compared as numbers: a comparison of slices would become a call the verifier does not know.
#[inline(always)]
fn same(left: &[u8; 16], right: &[u8; 16]) -> bool {
    u128::from_ne_bytes(*left) == u128::from_ne_bytes(*right)
}

//! Every map and global, each with the sum behind its capacity.

use agent_ebpf::abi::{Owner, Socket, Tuple, counter};
use agent_ebpf::field;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, LruHashMap, LruPerCpuHashMap, PerCpuArray, RingBuf};

/// Offsets of [`field::Field`]s, written by the agent before the programs are loaded.
#[unsafe(no_mangle)]
pub static OFFSETS: [u32; field::COUNT] = [agent_ebpf::abi::ABSENT; field::COUNT];

/// See [`agent_ebpf::abi::VERSION_SYMBOL`].
#[used]
#[unsafe(no_mangle)]
static ABI_3: u32 = agent_ebpf::abi::VERSION;

/// Records on their way to the agent. 4 MiB hold 20,000 records of about 200 bytes: a node that
/// serves 1,000 requests a second over four socket ends each is covered for five seconds of an
/// agent that does not read.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4 * 1024 * 1024, 0);

/// One entry per followed connection, by socket cookie. 65,536 connections at about 230 bytes
/// with the map's own cost are 15 MiB; a node of 110 pods with 500 connections each needs 55,000.
/// Least recently used entries make room; their exchanges begin again at a clean turn, by seed.
#[map]
pub static SOCKETS: LruHashMap<u64, Socket> = LruHashMap::with_max_entries(65_536, 0);

/// Roles of connections older than the agent, by tuple, from conntrack dumps: two ends for each of
/// 32,768 entries. Not preallocated, since most nodes use a tenth of it.
#[map]
pub static SEEDS: HashMap<Tuple, u8> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// What could not be recorded and why, per CPU, by [`counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// Calls of each owner that no exchange was made of, because the beginning of the turn or of the
/// connection was not seen. 4,096 owners are 110 pods of 10 containers with room for 3 generations.
#[map]
pub static UNFOLLOWED: LruPerCpuHashMap<Owner, u64> = LruPerCpuHashMap::with_max_entries(4_096, 0);

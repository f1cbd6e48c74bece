//! Loading, attaching and reading the kernel programs: the only place that names aya.
//!
//! Each program is probed by loading it; whether it could be is data for the manifest, never
//! concluded from a version number.

#![expect(
    unsafe_code,
    reason = "one getsockopt that no safe library offers, and a promise about a descriptor"
)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_ebpf::abi::{Owner, Plain, Socket, Tuple, VERSION, VERSION_SYMBOL, counter};
use agent_ebpf::field::COUNT;
use aya::maps::{HashMap, MapData, PerCpuArray, PerCpuHashMap, RingBuf};
use aya::programs::{BtfTracePoint, Program};
use aya::{Btf, Ebpf, EbpfLoader};
use tokio::io::unix::AsyncFd;

use crate::conntrack;
use crate::manifest::{CGROUP, FEATURES, Feature, Line, Manifest, cgroup_line, conntrack_line};
use crate::offsets::{Offsets, OffsetsError};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const BTF_CONNTRACK: &str = "/sys/kernel/btf/nf_conntrack";

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("{BTF} is not there: the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    NoBtf(#[source] io::Error),
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    #[error(
        "failed to read the kernel programs at {path}: build them with agent-ebpf/build.sh, or name the file with --programs"
    )]
    Programs { path: PathBuf, source: io::Error },
    #[error(
        "failed to create the programs' maps: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN ({0})"
    )]
    Maps(String),
    #[error("the programs are of another version than this agent: run agent-ebpf/build.sh ({0})")]
    OtherVersion(String),
    #[error(
        "the programs have no map {0}: they were built from another version; run agent-ebpf/build.sh"
    )]
    NoMap(&'static str),
    #[error("failed to use map {map}")]
    Map { map: &'static str, source: aya::maps::MapError },
    #[error("failed to watch the ring buffer")]
    Watch(#[source] io::Error),
    #[error("failed to read the network namespace's cookie")]
    Netns(#[source] io::Error),
}

/// The loaded programs and their maps.
pub struct Kernel {
    /// Programs stay attached as long as this lives.
    programs: Ebpf,
    events: AsyncFd<RingBuf<MapData>>,
    sockets: HashMap<MapData, u64, [u8; size_of::<Socket>()]>,
    seeds: HashMap<MapData, [u8; size_of::<Tuple>()], u8>,
    counters: PerCpuArray<MapData, u64>,
    unfollowed: PerCpuHashMap<MapData, [u8; size_of::<Owner>()], u64>,
    pub offsets: Arc<Offsets>,
    pub manifest: Manifest,
    pub programs_digest: String,
}

/// Counts since the programs were loaded, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    by_index: [u64; counter::COUNT as usize],
    /// Times that the kernel left a program out, because it was running on that CPU already.
    missed: u64,
}

impl Counters {
    pub fn get(&self, index: u32) -> u64 {
        self.by_index.get(index as usize).copied().unwrap_or(0)
    }

    /// Records and sockets for which there was no room, and events for which no program ran.
    pub fn lost(&self) -> u64 {
        let no_room = counter::LOST_CONNECTION..=counter::LOST_SOCKET;
        self.missed + no_room.map(|index| self.get(index)).sum::<u64>()
    }
}

impl Kernel {
    /// Loads what this kernel accepts. A refused program is a line of the manifest.
    ///
    /// # Errors
    /// When nothing can be loaded at all: no BTF, no right, no programs. Must be called in a tokio
    /// runtime, which watches the ring buffer.
    pub fn load(programs: &Path) -> Result<Self, KernelError> {
        let vmlinux = fs::read(BTF).map_err(KernelError::NoBtf)?;
        let module = fs::read(BTF_CONNTRACK).ok();
        let offsets = Offsets::resolve(&vmlinux, module.as_deref())?;
        let object = fs::read(programs)
            .map_err(|source| KernelError::Programs { path: programs.to_owned(), source })?;
        let table: &[u32; COUNT] = offsets.table();
        let mut ebpf = EbpfLoader::new()
            .override_global("OFFSETS", table.as_slice(), true)
            .override_global(VERSION_SYMBOL, &VERSION, true)
            .load(&object)
            .map_err(|error| load_error(&error))?;
        let mut lines = attach_all(&mut ebpf, &offsets);
        lines.push(conntrack_line(conntrack::probe().err().map(|error| chain(&error))));
        let manifest = Manifest { lines, kernel: release() };
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?).map_err(in_map("EVENTS"))?;
        Ok(Self {
            events: watch(ring)?,
            sockets: HashMap::try_from(take(&mut ebpf, "SOCKETS")?).map_err(in_map("SOCKETS"))?,
            seeds: HashMap::try_from(take(&mut ebpf, "SEEDS")?).map_err(in_map("SEEDS"))?,
            counters: PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)
                .map_err(in_map("COUNTERS"))?,
            unfollowed: PerCpuHashMap::try_from(take(&mut ebpf, "UNFOLLOWED")?)
                .map_err(in_map("UNFOLLOWED"))?,
            programs: ebpf,
            offsets: Arc::new(offsets),
            manifest,
            programs_digest: blake3::hash(&object).to_hex().to_string(),
        })
    }

    /// Waits until the ring buffer holds records and gives at most `limit` of them to `each`.
    ///
    /// # Errors
    /// When the ring buffer can no longer be watched.
    pub async fn next(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut guard = self.events.readable_mut().await?;
        if take_records(guard.get_inner_mut(), limit, &mut each) < limit {
            guard.clear_ready();
        }
        Ok(())
    }

    /// Gives the records that are there now to `each`, at most `limit`.
    /// Says how many there were.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> usize {
        take_records(self.events.get_mut(), limit, &mut each)
    }

    /// Every followed socket by cookie. One that comes or goes during the walk may be missing.
    pub fn sockets(&self, mut each: impl FnMut(u64, Socket)) {
        // Deletion during the walk may send it back to the start, hence the bound.
        for cookie in self.sockets.keys().take(SOCKETS_WALKED_MAX).flatten() {
            if let Some(socket) = self.socket(cookie) {
                each(cookie, socket);
            }
        }
    }

    pub fn socket(&self, cookie: u64) -> Option<Socket> {
        Socket::read(&self.sockets.get(&cookie, 0).ok()?)
    }

    /// Adds the role of a connection that is older than the agent. Says whether there was room.
    pub fn seed(&mut self, tuple: &Tuple, role: u8) -> bool {
        self.seeds.insert(tuple.to_bytes(), role, 0).is_ok()
    }

    /// Forgets seeds for which `keep` is false.
    pub fn retain_seeds(&mut self, keep: impl Fn(&[u8; size_of::<Tuple>()]) -> bool) {
        let stale: Vec<_> =
            self.seeds.keys().take(SOCKETS_WALKED_MAX).flatten().filter(|key| !keep(key)).collect();
        for key in stale {
            // Only this process removes seeds; one that is gone already is what was wanted.
            let _ = self.seeds.remove(&key);
        }
    }

    pub fn counters(&self) -> Counters {
        let mut sums = Counters { missed: self.missed(), ..Counters::default() };
        for (index, sum) in (0..counter::COUNT).zip(&mut sums.by_index) {
            if let Ok(values) = self.counters.get(&index, 0) {
                *sum = values.iter().sum();
            }
        }
        sums
    }

    /// Calls of each owner, since the start, that no exchange was made of.
    pub fn unfollowed(&self, mut each: impl FnMut(Owner, u64)) {
        for (owner, counts) in self.unfollowed.iter().take(OWNERS_WALKED_MAX).flatten() {
            each(Owner::from_bytes(owner), counts.iter().sum());
        }
    }

    /// The kernel counts these for each program and tells them in the descriptor's text.
    fn missed(&self) -> u64 {
        let count = |(_, program): (&str, &Program)| {
            let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
            line.trim().parse::<u64>().ok()
        };
        self.programs.programs().filter_map(count).sum()
    }
}

/// Twice the maps' capacities.
const SOCKETS_WALKED_MAX: usize = 131_072;
const OWNERS_WALKED_MAX: usize = 8_192;

fn attach_all(ebpf: &mut Ebpf, offsets: &Offsets) -> Vec<Line> {
    let btf = Btf::from_sys_fs().map_err(|error| chain(&error));
    let line = |feature: &Feature, outcome: Result<(), String>| Line {
        feature: feature.name,
        loaded: outcome.is_ok(),
        reason: outcome.err(),
        lost: feature.lost,
        base: feature.base,
    };
    let mut lines: Vec<Line> = FEATURES
        .iter()
        .map(|feature| line(feature, attach(ebpf, &btf, offsets, feature)))
        .collect();
    lines.push(cgroup_line(offsets.first_missing(CGROUP).map(ToString::to_string)));
    lines
}

fn attach(
    ebpf: &mut Ebpf,
    btf: &Result<Btf, String>,
    offsets: &Offsets,
    feature: &Feature,
) -> Result<(), String> {
    let btf = btf.as_ref().map_err(Clone::clone)?;
    if let Some(missing) = offsets.first_missing(feature.fields) {
        return Err(missing.to_string());
    }
    for &name in feature.programs {
        let failed = |error: &dyn std::error::Error| format!("{name}: {}", chain(error));
        let program = ebpf.program_mut(name).ok_or_else(|| format!("{name}: not in the object"))?;
        let program: &mut BtfTracePoint = program.try_into().map_err(|error| failed(&error))?;
        program.load(name, btf).map_err(|error| failed(&error))?;
        program.attach().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn load_error(error: &aya::EbpfError) -> KernelError {
    match error {
        aya::EbpfError::ParseError(_) => KernelError::OtherVersion(chain(error)),
        _ => KernelError::Maps(chain(error)),
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, KernelError> {
    ebpf.take_map(name).ok_or(KernelError::NoMap(name))
}

fn in_map(map: &'static str) -> impl Fn(aya::maps::MapError) -> KernelError {
    move |source| KernelError::Map { map, source }
}

/// An error and its causes on one line. Some of aya's errors tell their cause themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let told = source.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = source.source();
    }
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn watch(ring: RingBuf<MapData>) -> Result<AsyncFd<RingBuf<MapData>>, KernelError> {
    // SAFETY: the ring buffer owns its descriptor, and gives out the same one as long as it lives.
    unsafe { AsyncFd::register(ring) }.map_err(|error| KernelError::Watch(error.into()))
}

fn take_records(ring: &mut RingBuf<MapData>, limit: usize, each: &mut impl FnMut(&[u8])) -> usize {
    let mut count = 0;
    while count < limit {
        let Some(item) = ring.next() else { break };
        each(&item);
        count += 1;
    }
    count
}

/// Names this life of the agent: it counts batches from 0 again after a restart.
pub fn life_id(start_ns: u64) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{}-{start_ns:x}", boot.trim())
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// From `asm-generic/socket.h`, Linux 5.14; the libc crate does not have it.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Cookie of the network namespace that this process is in.
///
/// # Errors
/// When the kernel is older than 5.14 and has no such socket option.
pub fn own_netns_cookie() -> Result<u64, KernelError> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").map_err(KernelError::Netns)?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and both pointers are to locals of the sizes given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(KernelError::Netns(io::Error::last_os_error())) }
}

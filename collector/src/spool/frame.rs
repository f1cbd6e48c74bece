//! One record on disk: a header with a checksum, then the payload. Pure over bytes.
//!
//! A reader that meets damage goes on at the next frame whose checksum holds and says how many
//! bytes it passed over; damage costs the frames it touched and no other.

/// First bytes of every frame. They are not valid UTF-8, so the JSON payloads never contain them.
const MAGIC: [u8; 4] = [0xF7, 0x54, 0x4C, 0xFE];
/// Magic, payload length (u32), position (u64), kind (u8), checksum (u32); little-endian.
const HEADER: usize = 4 + 4 + 8 + 1 + 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was seen of each sender before this segment.
    Seen = 1,
    Batch = 2,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    /// `ingest_seq` of a batch; of a `Seen` frame that of the last batch it covers.
    pub(crate) position: u64,
    pub(crate) payload: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Frame(Frame<'a>),
    /// Bytes in which no frame could be read.
    Damage {
        offset: usize,
        length: usize,
    },
}

pub(crate) fn write(buffer: &mut Vec<u8>, kind: Kind, position: u64, payload: &[u8]) {
    // The spool refuses a payload over its own limit, which is far below four gigabytes.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&position.to_le_bytes());
    buffer.push(kind as u8);
    buffer.extend_from_slice(&checksum(length, position, kind as u8, payload).to_le_bytes());
    buffer.extend_from_slice(payload);
}

/// Size of a frame with a payload of this many bytes.
pub(crate) fn size(payload: usize) -> usize {
    HEADER + payload
}

/// Walks over bytes that begin at a frame's start, or damaged.
pub(crate) fn read(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset >= bytes.len() {
            return None;
        }
        if let Some((frame, end)) = frame_at(bytes, offset) {
            offset = end;
            return Some(Item::Frame(frame));
        }
        let start = offset;
        offset = (start + 1..bytes.len())
            .find(|&candidate| frame_at(bytes, candidate).is_some())
            .unwrap_or(bytes.len());
        Some(Item::Damage { offset: start, length: offset - start })
    })
}

fn frame_at(bytes: &[u8], offset: usize) -> Option<(Frame<'_>, usize)> {
    let header = bytes.get(offset..offset + HEADER)?;
    if header[..4] != MAGIC {
        return None;
    }
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let position = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let expected = u32::from_le_bytes(header[17..21].try_into().ok()?);
    let start = offset + HEADER;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    let payload = bytes.get(start..end)?;
    if checksum(length, position, header[16], payload) != expected {
        return None;
    }
    let kind = match header[16] {
        1 => Kind::Seen,
        2 => Kind::Batch,
        _ => return None,
    };
    Some((Frame { kind, position, payload }, end))
}

fn checksum(length: u32, position: u64, kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three frames and where each begins.
    fn three() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (position, payload) in [(1, "{\"a\":1}"), (2, ""), (3, "{\"longer\":\"payload\"}")] {
            starts.push(bytes.len());
            write(&mut bytes, Kind::Batch, position, payload.as_bytes());
        }
        (bytes, starts)
    }

    fn positions_and_damage(bytes: &[u8]) -> (Vec<u64>, usize) {
        let (mut positions, mut damage) = (Vec::new(), 0);
        for item in read(bytes) {
            match item {
                Item::Frame(frame) => positions.push(frame.position),
                Item::Damage { length, .. } => damage += length,
            }
        }
        (positions, damage)
    }

    #[test]
    fn whole_frames_come_back_in_order() {
        assert_eq!(positions_and_damage(&three().0), (vec![1, 2, 3], 0));
    }

    #[test]
    fn each_flipped_byte_costs_only_the_frame_it_is_in_and_is_counted() {
        let (bytes, starts) = three();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            let hit = starts.iter().rposition(|&start| start <= at).unwrap();
            let expected: Vec<u64> =
                [1, 2, 3].into_iter().filter(|&p| p != hit as u64 + 1).collect();
            let end = starts.get(hit + 1).copied().unwrap_or(bytes.len());
            assert_eq!(positions_and_damage(&flipped), (expected, end - starts[hit]), "byte {at}");
        }
    }

    #[test]
    fn each_cut_keeps_the_frames_before_it_and_counts_the_torn_tail() {
        let (bytes, starts) = three();
        for cut in 0..bytes.len() {
            let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
            let whole: Vec<usize> = ends.filter(|&end| end <= cut).collect();
            let kept = whole.last().copied().unwrap_or(0);
            let expected = (1..=whole.len() as u64).collect();
            assert_eq!(positions_and_damage(&bytes[..cut]), (expected, cut - kept), "cut {cut}");
        }
    }
}

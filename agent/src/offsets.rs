//! Kernel type information to field offsets, or which field is missing.
//!
//! Pure over BTF bytes: recorded files of other kernels do as well as the running one. The base is
//! `vmlinux`; where nf_conntrack is a module, its own split BTF is looked at as well.

use std::collections::BTreeMap;

use agent_ebpf::abi::ABSENT;
use agent_ebpf::field::{COUNT, Field};
use btf_rs::{Btf, Struct, Type};

#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    #[error("failed to parse BTF: {0}")]
    Parse(String),
}

/// Why a field has no offset on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("this kernel has no struct {0}")]
    Structure(&'static str),
    #[error("struct {structure} has no field {path}")]
    Path { structure: &'static str, path: &'static str },
    #[error("field {path} of struct {structure} is a bit field")]
    BitField { structure: &'static str, path: &'static str },
}

/// Where each field stands, and the enumerations that give names to numbers.
#[derive(Clone, Debug)]
pub struct Offsets {
    table: [u32; COUNT],
    missing: BTreeMap<Field, Missing>,
    reset_reasons: BTreeMap<u32, String>,
}

impl Offsets {
    /// # Errors
    /// When the bytes are no BTF. A missing field is not an error but an answer.
    pub fn resolve(vmlinux: &[u8], conntrack: Option<&[u8]>) -> Result<Self, OffsetsError> {
        let parse = |error: &dyn std::fmt::Display| OffsetsError::Parse(error.to_string());
        let base = Btf::from_bytes(vmlinux).map_err(|error| parse(&error))?;
        let split = conntrack
            .map(|bytes| Btf::from_split_bytes(bytes, &base))
            .transpose()
            .map_err(|error| parse(&error))?;
        let btf = split.as_ref().unwrap_or(&base);
        let mut offsets = Self {
            table: [ABSENT; COUNT],
            missing: BTreeMap::new(),
            reset_reasons: enumeration(&base, "sk_rst_reason"),
        };
        for &field in Field::ALL {
            match locate(btf, field) {
                Ok(offset) => offsets.table[field as usize] = offset,
                Err(missing) => {
                    offsets.missing.insert(field, missing);
                }
            }
        }
        Ok(offsets)
    }

    pub fn table(&self) -> &[u32; COUNT] {
        &self.table
    }

    /// Why the first of `fields` that this kernel lacks is lacking.
    pub fn first_missing(&self, fields: &[Field]) -> Option<&Missing> {
        fields.iter().find_map(|field| self.missing.get(field))
    }

    /// The kernel's own name of a reason for which it sent a reset.
    pub fn reset_reason(&self, value: u32) -> Option<&str> {
        self.reset_reasons.get(&value).map(String::as_str)
    }
}

fn locate(btf: &Btf, field: Field) -> Result<u32, Missing> {
    let (structure, path) = field.path();
    let found = structure_named(btf, structure).ok_or(Missing::Structure(structure))?;
    if path.is_empty() {
        return Ok(found.size() as u32);
    }
    let mut offset_bits = 0;
    let mut current = found;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let member = find(btf, &current, name).ok_or(Missing::Path { structure, path })?;
        if member.is_bit_field {
            return Err(Missing::BitField { structure, path });
        }
        offset_bits += member.offset_bits;
        if names.peek().is_some() {
            current = member.structure.ok_or(Missing::Path { structure, path })?;
        }
    }
    Ok(offset_bits / 8)
}

fn structure_named(btf: &Btf, name: &str) -> Option<Struct> {
    btf.resolve_types_by_name(name).ok()?.into_iter().find_map(|found| match found {
        Type::Struct(structure) => Some(structure),
        _ => None,
    })
}

struct Found {
    offset_bits: u32,
    is_bit_field: bool,
    /// What the member is, when it is a structure or union itself.
    structure: Option<Struct>,
}

/// The member called `name`, also inside members without a name, which C lets one look through.
fn find(btf: &Btf, structure: &Struct, name: &str) -> Option<Found> {
    structure.members.iter().find_map(|member| {
        let inner = aggregate(btf, member);
        let member_name = btf.resolve_name(member).unwrap_or_default();
        if member_name == name {
            return Some(Found {
                offset_bits: member.bit_offset(),
                is_bit_field: member.bitfield_size().is_some_and(|bits| bits > 0),
                structure: inner,
            });
        }
        if !member_name.is_empty() {
            return None;
        }
        let found = find(btf, &inner?, name)?;
        Some(Found { offset_bits: member.bit_offset() + found.offset_bits, ..found })
    })
}

/// The structure or union that a member's type comes down to.
fn aggregate(btf: &Btf, member: &btf_rs::Member) -> Option<Struct> {
    btf.type_iter(member).find_map(|found| match found {
        Type::Ptr(_) => Some(None),
        Type::Struct(inner) | Type::Union(inner) => Some(Some(inner)),
        _ => None,
    })?
}

fn enumeration(btf: &Btf, name: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for found in btf.resolve_types_by_name(name).unwrap_or_default() {
        if let Type::Enum(found) = found {
            for member in &found.members {
                names.insert(member.val(), btf.resolve_name(member).unwrap_or_default());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct net { int unused; struct { unsigned long net_cookie; }; }` and nothing else.
    fn small_btf() -> Vec<u8> {
        let strings = b"\0net\0unused\0int\0net_cookie\0long\0";
        let (net, unused, int, net_cookie, long) = (1u32, 5u32, 12u32, 16u32, 27u32);
        let mut types: Vec<u32> = Vec::new();
        let kind = |kind: u32, members: u32| (kind << 24) | members;
        types.extend([int, kind(1, 0), 4, 32]);
        types.extend([long, kind(1, 0), 8, 64]);
        types.extend([0, kind(4, 1), 8, net_cookie, 2, 0]);
        types.extend([net, kind(4, 2), 16, unused, 1, 0, 0, 3, 64]);
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn a_field_inside_a_nameless_member_is_found() {
        let offsets = Offsets::resolve(&small_btf(), None).expect("BTF");
        assert_eq!(offsets.table()[Field::NetCookie as usize], 8);
        assert_eq!(offsets.first_missing(&[Field::NetCookie]), None);
    }

    #[test]
    fn a_missing_field_is_named() {
        let offsets = Offsets::resolve(&small_btf(), None).expect("BTF");
        assert_eq!(offsets.table()[Field::SkbNfct as usize], ABSENT);
        let missing = offsets.first_missing(&[Field::NetCookie, Field::SkbNfct]);
        assert_eq!(missing.expect("a reason").to_string(), "this kernel has no struct sk_buff");
    }

    #[test]
    fn bytes_that_are_no_btf_are_refused() {
        assert!(Offsets::resolve(b"not BTF at all", None).is_err());
    }

    #[test]
    fn the_running_kernel_has_every_field_where_it_tells() {
        let Ok(vmlinux) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            return;
        };
        let offsets = Offsets::resolve(&vmlinux, None).expect("the kernel's own BTF");
        assert_eq!(offsets.table()[Field::SockRemoteIp4 as usize], 0, "first of sock_common");
        assert!(offsets.table()[Field::TcpWriteSeq as usize] > 0);
        assert_ne!(
            offsets.table()[Field::TupleDestinationPort as usize],
            offsets.table()[Field::TupleSourcePort as usize],
        );
    }
}

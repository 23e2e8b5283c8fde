//! What becomes of the addresses in a program when what they point at has moved.
//!
//! A program is full of addresses: in calls, in tables, in what a debugger reads. Where something was inserted, all that
//! point behind it change by as much as it is long. So the sender tells once what moved how far, and both sides move the
//! addresses in the earlier program before they compare it with the new one. Source of the idea: Stephen Adams, "Courgette"
//! (2009); what is different here is that nothing is taken apart: an address is what looks like one, and a wrong guess
//! costs a few bytes that differ.

use std::sync::{Mutex, PoisonError};

use super::{
    find::Stretch,
    program::{Kind, Load, Place, Program},
};
use crate::digest::in_parallel;

/// Smaller numbers are no addresses, most likely.
const LEAST: u64 = 0x1000;

/// Bytes that are worked on at a time, where addresses are absolute; one that lies across their end is left alone.
const BLOCK: u64 = 1 << 20;

/// Where addresses of the earlier program lead in the new one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Where the addresses are relative to something, in order, none over another; elsewhere they are absolute.
    pub(super) places: Vec<Place>,
    /// In order, none over another. What lies between two moved with the first of them.
    pub(super) parts: Vec<Part>,
    /// Numbers that may be addresses: from the first, so many.
    pub(super) first: u64,
    pub(super) span: u64,
}

/// Addresses that moved together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// How far, as a number to add.
    pub(super) by: u64,
}

impl Moved {
    /// From two programs and what of them is alike.
    pub(super) fn between(old: Program, new: &Program, alike: &[Stretch]) -> Self {
        let mut parts = Vec::new();
        for stretch in alike {
            let (from, at, length) = (stretch.from as u64, stretch.at as u64, stretch.length as u64);
            for load in &old.loads {
                let (begin, end) = (from.max(load.offset), (from + length).min(load.end()));
                if begin < end
                    && let Some(there) = new.address(at + (begin - from))
                {
                    let here = load.address.wrapping_add(begin - load.offset);
                    let (end, by) = (here.saturating_add(end - begin), there.wrapping_sub(here));
                    parts.push(Part { begin: here, end, by });
                }
            }
        }
        let parts = apart(parts);
        if parts.iter().all(|part| part.by == 0) {
            return Self::default();
        }
        let first = old.loads.iter().map(|load| load.address).min().unwrap_or(0).max(LEAST);
        let last = old.loads.iter().map(Load::last_address).max().unwrap_or(0);
        Self { places: old.places, parts, first, span: last.saturating_sub(first) }
    }

    /// Moves all addresses in the earlier program. Works on up to `threads` threads; their number changes nothing.
    pub(super) fn move_all(&self, before: &mut [u8], threads: usize) {
        if self.parts.is_empty() {
            return;
        }
        let mut blocks = Vec::new();
        let (mut at, mut rest, mut places) = (0, before, self.places.as_slice());
        while !rest.is_empty() {
            let (place, length) = match places.split_first() {
                Some((place, later)) if place.offset <= at => {
                    places = later;
                    (Some(*place), place.length)
                }
                Some((place, _)) => (None, BLOCK.min(place.offset - at)),
                None => (None, BLOCK),
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
            let (block, later) = rest.split_at_mut(length);
            blocks.push(Mutex::new((block, place)));
            (at, rest) = (at + length as u64, later);
        }
        in_parallel(blocks.len(), threads, |index| {
            let mut block = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
            let (block, place) = &mut *block;
            match place.map(|place| (place.kind, place.address)) {
                None => self.move_absolute(block),
                Some((Kind::Code, address)) => self.move_code(block, address),
                Some((Kind::Frames, address)) => self.move_frames(block, address),
                Some((Kind::FrameTable, address)) => self.move_frame_table(block, address),
            }
        });
    }

    /// Addresses of 8 bytes, wherever they lie.
    fn move_absolute(&self, block: &mut [u8]) {
        let (mut at, mut near) = (0, 0);
        while let Some(bytes) = block.get(at..).and_then(<[u8]>::first_chunk) {
            let address = u64::from_le_bytes(*bytes);
            if self.may_be(address) {
                let moved = address.wrapping_add(self.by(address, &mut near));
                block[at..at + 8].copy_from_slice(&moved.to_le_bytes());
                at += 8;
            } else {
                at += 1;
            }
        }
    }

    /// Distances of 4 bytes, counted from their own end: of calls and jumps, and of what an instruction reads or writes.
    fn move_code(&self, block: &mut [u8], here: u64) {
        let (mut at, mut near, mut own) = (2, 0, 0);
        while let Some(bytes) = block.get(at - 2..).and_then(<[u8]>::first_chunk) {
            let [before, last, distance @ ..]: [u8; 6] = *bytes;
            let jump = matches!(last, 0xE8 | 0xE9) || before == 0x0F && matches!(last, 0x80..=0x8F);
            // the form of an operand that is relative to the next instruction; a number behind it shifts that a little
            if !jump && last & 0xC7 != 0x05 {
                at += 1;
                continue;
            }
            let distance = i32::from_le_bytes(distance);
            let end = here.wrapping_add(at as u64 + 4);
            let target = end.wrapping_add_signed(i64::from(distance));
            if self.may_be(target) {
                let by = self.by(target, &mut near).wrapping_sub(self.by(end, &mut own));
                block[at..at + 4].copy_from_slice(&shifted(distance, by));
                at += 4;
            }
            at += 1;
        }
    }

    /// Where functions begin, relative to that number itself, in records that say how long they are. A record whose second
    /// number is 0 is of no function. Source: Linux Standard Base 5.0, section 10.6.1.
    fn move_frames(&self, block: &mut [u8], here: u64) {
        let (mut at, mut near, mut own) = (0_usize, 0, 0);
        while let Some(bytes) = block.get(at..).and_then(<[u8]>::first_chunk) {
            let [l0, l1, l2, l3, id @ .., b0, b1, b2, b3]: [u8; 12] = *bytes;
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            if length == 0 || length == u32::MAX {
                break;
            }
            let place = here.wrapping_add(at as u64 + 8);
            let begin = i32::from_le_bytes([b0, b1, b2, b3]);
            let target = place.wrapping_add_signed(i64::from(begin));
            if id != [0; 4] && self.may_be(target) {
                let by = self.by(target, &mut near).wrapping_sub(self.by(place, &mut own));
                block[at + 8..at + 12].copy_from_slice(&shifted(begin, by));
            }
            at = at.saturating_add(4).saturating_add(length as usize);
        }
    }

    /// Pairs of a function and its record, relative to the beginning of the table, after 12 bytes of other things. Source:
    /// Linux Standard Base 5.0, section 10.6.2.
    fn move_frame_table(&self, block: &mut [u8], here: u64) {
        let (mut near, own) = ([0, 0], self.by(here, &mut 0));
        let (numbers, _) = block.as_chunks_mut::<4>();
        for (index, number) in numbers.iter_mut().enumerate().skip(3) {
            let distance = i32::from_le_bytes(*number);
            let target = here.wrapping_add_signed(i64::from(distance));
            *number = shifted(distance, self.by(target, &mut near[index & 1]).wrapping_sub(own));
        }
    }

    fn may_be(&self, address: u64) -> bool {
        address.wrapping_sub(self.first) < self.span
    }

    /// How far what was at an address has moved. `near` is the part that the last address was in: the next is often, too.
    fn by(&self, address: u64, near: &mut usize) -> u64 {
        let before = |index: usize| self.parts.get(index).is_none_or(|part| address < part.begin);
        if before(*near) || !before(*near + 1) {
            match self.parts.partition_point(|part| part.begin <= address).checked_sub(1) {
                Some(index) => *near = index,
                None => return 0,
            }
        }
        self.parts.get(*near).map_or(0, |part| part.by)
    }
}

/// A distance that grows, in the 32 bits it has.
fn shifted(distance: i32, by: u64) -> [u8; 4] {
    let [b0, b1, b2, b3, ..] = by.to_le_bytes();
    distance.wrapping_add(i32::from_le_bytes([b0, b1, b2, b3])).to_le_bytes()
}

/// Of parts that lie over each other the longer ones, the others cut; neighbours that moved as far are one.
fn apart(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_unstable();
    let mut apart: Vec<Part> = Vec::with_capacity(parts.len());
    for mut part in parts {
        while let Some(last) = apart.last_mut().filter(|last| part.begin < last.end) {
            if part.end - part.begin <= last.end - last.begin {
                part.begin = last.end.min(part.end);
                break;
            }
            if last.begin < part.begin {
                last.end = part.begin;
                break;
            }
            apart.pop();
        }
        match apart.last_mut() {
            _ if part.begin == part.end => {}
            Some(last) if last.by == part.by => last.end = part.end,
            _ => apart.push(part),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(begin: u64, end: u64, by: u64) -> Part {
        Part { begin, end, by }
    }

    #[test]
    fn the_longer_of_two_parts_keeps_what_both_have() {
        assert_eq!(apart(vec![part(0, 10, 1), part(5, 100, 2)]), [part(0, 5, 1), part(5, 100, 2)]);
        assert_eq!(apart(vec![part(0, 100, 1), part(90, 120, 2)]), [part(0, 100, 1), part(100, 120, 2)]);
        assert_eq!(apart(vec![part(0, 100, 1), part(10, 20, 2)]), [part(0, 100, 1)]);
        assert_eq!(apart(vec![part(0, 10, 3), part(20, 30, 3)]), [part(0, 30, 3)]);
        // one that was cut is not longer than it is now
        let parts = [part(0, 100, 1), part(50, 130, 2), part(60, 125, 3)];
        let found = apart(parts.to_vec());
        assert!(found.is_sorted_by(|one, next| one.end <= next.begin), "{found:?}");
    }

    #[test]
    fn addresses_move_by_what_they_point_at() {
        let moved = Moved {
            places: vec![Place { offset: 64, length: 64, address: 0x2000, kind: Kind::Code }],
            parts: vec![part(0x1000, 0x2000, 0), part(0x2000, 0x3000, 0x40), part(0x3000, 0x4000, 0x100)],
            first: 0x1000,
            span: 0x3000,
        };
        let mut program = vec![0; 192];
        program[3..11].copy_from_slice(&0x3010_u64.to_le_bytes());
        program[20..28].copy_from_slice(&0x4000_u64.to_le_bytes());
        program[150..158].copy_from_slice(&0x1010_u64.to_le_bytes());
        // a call of what lies 0x1000 bytes on
        program[70] = 0xE8;
        program[71..75].copy_from_slice(&0x1000_i32.to_le_bytes());
        let mut other = program.clone();
        moved.move_all(&mut program, 1);
        moved.move_all(&mut other, 4);
        assert_eq!(program, other);
        let number = |at: usize| u64::from_le_bytes(*program[at..].first_chunk().expect("8 bytes"));
        assert_eq!([number(3), number(20), number(150)], [0x3110, 0x4000, 0x1010]);
        assert_eq!(i32::from_le_bytes(*program[71..].first_chunk().expect("4 bytes")), 0x1000 + 0x100 - 0x40);
    }
}

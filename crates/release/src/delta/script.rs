//! Content as a script over earlier content: move the addresses in it, then copy this stretch and add these differences,
//! then take these new bytes.
//!
//! A small change of a program moves what lies behind it, and every address that points across the change differs.
//! Compressors see short matches; here most addresses are foreseen (`moved`), and a copy that bears with differing bytes is
//! one long one, with differences that are few and much the same. Source of the idea: Colin Percival, "Naive differences of
//! executable code" (2003).
//!
//! ```text
//! number of steps, number of bytes that differ
//! first address, how many; number of places, of each: offset, bytes, address, kind; number of parts that moved, of each:
//!   how far behind the one before, bytes, by how much more than the one before
//! of each step: bytes to copy, bytes that are new, where the copy begins relative to the end of the one before
//! of each byte that differs: how many that do not come before it
//! the differences, one byte each: new minus old
//! the new bytes
//! ```
//!
//! Numbers are little endian in groups of seven bits, the last with the highest bit clear; signed ones with the sign in
//! the lowest bit.

use super::{
    find::{Stretch, differing, find},
    moved::{Moved, Part},
    program::{Kind, MOST, Place, Program},
};
use crate::digest::in_parallel;

/// Bytes that are copied before they are handed on.
const BLOCK: usize = 64 << 10;

/// Where less than one of so many bytes differs, the few addresses among them are not worth the search for what moved.
const STILL: usize = 256;

/// Copied bytes that are compared by one thread at a time.
const SHARE: usize = 2 << 20;

/// One copy and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Where in the earlier content.
    from: usize,
    copy: usize,
    new: usize,
}

/// The script that makes `content` of `before`. Works on up to `threads` threads; their number changes nothing.
pub(super) fn write(mut before: Vec<u8>, content: &[u8], threads: usize) -> Vec<u8> {
    let (old, new) = (Program::of(&before), Program::of(content));
    let still = differing(&before, content, threads) < content.len() / STILL;
    let moved = if still || old.loads.is_empty() || new.loads.is_empty() {
        Moved::default()
    } else {
        let alike = find(&before[..old.end()], &content[..new.end()], threads);
        Moved::between(old, &new, &alike)
    };
    moved.move_all(&mut before, threads);
    let stretches = find(&before, content, threads);
    let shares = shares(&stretches);
    let compared = in_parallel(shares.len(), threads, |index| Differing::of(shares[index], &before, content));
    let (mut gaps, mut differences, mut gap) = (Vec::new(), Vec::new(), 0);
    for mut share in compared {
        if let Some(first) = share.first {
            put(&mut gaps, gap + first);
            gap = 0;
        }
        gap += share.gap;
        gaps.append(&mut share.gaps);
        differences.append(&mut share.differences);
    }
    let steps = steps(&stretches, content.len());
    let mut script = Vec::new();
    put(&mut script, steps.len() as u64);
    put(&mut script, differences.len() as u64);
    put_moved(&mut script, &moved);
    let (mut end, mut at, mut fresh) = (0, 0, Vec::new());
    for step in &steps {
        put(&mut script, step.copy as u64);
        put(&mut script, step.new as u64);
        put_signed(&mut script, step.from as u64, end);
        end = (step.from + step.copy) as u64;
        at += step.copy;
        fresh.extend_from_slice(&content[at..at + step.new]);
        at += step.new;
    }
    script.append(&mut gaps);
    script.append(&mut differences);
    script.append(&mut fresh);
    script
}

/// The first copies nothing: what comes before any stretch is new.
fn steps(stretches: &[Stretch], length: usize) -> Vec<Step> {
    let first = Stretch { at: 0, from: 0, length: 0 };
    let all = std::iter::once(&first).chain(stretches);
    let ends = stretches.iter().map(|next| next.at).chain([length]);
    let step = |(one, end): (&Stretch, usize)| {
        let new = end - (one.at + one.length);
        Step { from: one.from, copy: one.length, new }
    };
    all.zip(ends).map(step).collect()
}

/// Stretches that are compared one after the other.
fn shares(stretches: &[Stretch]) -> Vec<&[Stretch]> {
    let mut size = 0;
    let together = move |one: &Stretch, _: &Stretch| {
        size = if size > SHARE { 0 } else { size + one.length };
        size <= SHARE
    };
    stretches.chunk_by(together).collect()
}

/// Bytes that differ, as the script tells them.
#[derive(Debug, Default)]
struct Differing {
    /// How many that do not come before the first.
    first: Option<u64>,
    /// Before each of the others.
    gaps: Vec<u8>,
    differences: Vec<u8>,
    /// After the last.
    gap: u64,
}

impl Differing {
    fn of(stretches: &[Stretch], before: &[u8], content: &[u8]) -> Self {
        let mut differing = Self::default();
        for Stretch { at, from, length } in stretches {
            let (olds, old_rest) = before[*from..from + length].as_chunks::<8>();
            let (news, new_rest) = content[*at..at + length].as_chunks::<8>();
            for (old, new) in olds.iter().zip(news) {
                if old == new {
                    differing.gap += 8;
                } else {
                    differing.add(old, new);
                }
            }
            differing.add(old_rest, new_rest);
        }
        differing
    }

    fn add(&mut self, old: &[u8], new: &[u8]) {
        for (old, new) in old.iter().zip(new) {
            if old == new {
                self.gap += 1;
                continue;
            }
            match self.first {
                None => self.first = Some(self.gap),
                Some(_) => put(&mut self.gaps, self.gap),
            }
            self.differences.push(new.wrapping_sub(*old));
            self.gap = 0;
        }
    }
}

/// Tells `to`, piece by piece and none of them empty, what a script makes of `before`, and leaves that changed; exactly `length` bytes, if the
/// answer is `Some`. It is no script otherwise. Works on up to `threads` threads.
pub(super) fn read<E>(
    before: &mut [u8],
    script: &[u8],
    length: usize,
    threads: usize,
    mut to: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<()>, E> {
    let Some(Script { moved, steps, mut gaps, mut differences, mut fresh }) =
        Script::parse(before.len(), script, length)
    else {
        return Ok(None);
    };
    moved.move_all(before, threads);
    let (mut block, mut gap) = (Vec::with_capacity(BLOCK), take(&mut gaps));
    for step in steps {
        for copied in before[step.from..step.from + step.copy].chunks(BLOCK) {
            if let Some(later) = gap.map_or(Some(None), |equal| equal.checked_sub(copied.len() as u64).map(Some)) {
                gap = later;
                to(copied)?;
                continue;
            }
            block.clear();
            block.extend_from_slice(copied);
            let mut at = 0_usize;
            while let Some(equal) = gap {
                let place = usize::try_from(equal).ok().and_then(|equal| at.checked_add(equal));
                let Some((place, byte)) = place.and_then(|place| Some((place, block.get_mut(place)?))) else {
                    // they go on in the next piece
                    gap = Some(equal - (block.len() - at) as u64);
                    break;
                };
                let Some((difference, others)) = differences.split_first() else { return Ok(None) };
                *byte = byte.wrapping_add(*difference);
                (at, differences, gap) = (place + 1, others, take(&mut gaps));
            }
            to(&block)?;
        }
        let Some((now, later)) = fresh.split_at_checked(step.new) else { return Ok(None) };
        if !now.is_empty() {
            to(now)?;
        }
        fresh = later;
    }
    Ok((differences.is_empty() && gap.is_none()).then_some(()))
}

/// A script in its parts.
struct Script<'s> {
    moved: Moved,
    /// Inside the earlier content, and as long together as the content.
    steps: Vec<Step>,
    gaps: &'s [u8],
    differences: &'s [u8],
    fresh: &'s [u8],
}

impl<'s> Script<'s> {
    fn parse(before: usize, script: &'s [u8], length: usize) -> Option<Self> {
        let mut rest = script;
        let (count, differing) = (take_size(&mut rest)?, take_size(&mut rest)?);
        let moved = take_moved(&mut rest)?;
        // each step has at least three bytes
        if count > rest.len() / 3 {
            return None;
        }
        let mut steps = Vec::with_capacity(count);
        let (mut end, mut made, mut new) = (0_usize, 0_usize, 0_usize);
        for _ in 0..count {
            let (copy, fresh) = (take_size(&mut rest)?, take_size(&mut rest)?);
            let from = usize::try_from(take_signed(&mut rest, end as u64)?).ok()?;
            end = from.checked_add(copy).filter(|end| *end <= before)?;
            made = made.checked_add(copy)?.checked_add(fresh).filter(|made| *made <= length)?;
            new += fresh;
            steps.push(Step { from, copy, new: fresh });
        }
        let (rest, fresh) = rest.split_at_checked(rest.len().checked_sub(new)?)?;
        let (gaps, differences) = rest.split_at_checked(rest.len().checked_sub(differing)?)?;
        (made == length).then_some(Self { moved, steps, gaps, differences, fresh })
    }
}

fn put_moved(to: &mut Vec<u8>, moved: &Moved) {
    put(to, moved.first);
    put(to, moved.span);
    put(to, moved.places.len() as u64);
    for place in &moved.places {
        let kind = Kind::ALL.iter().position(|kind| *kind == place.kind).unwrap_or(0) as u64;
        for number in [place.offset, place.length, place.address, kind] {
            put(to, number);
        }
    }
    put(to, moved.parts.len() as u64);
    let (mut end, mut by) = (0, 0);
    for part in &moved.parts {
        put(to, part.begin - end);
        put(to, part.end - part.begin);
        put_signed(to, part.by, by);
        (end, by) = (part.end, part.by);
    }
}

fn take_moved(from: &mut &[u8]) -> Option<Moved> {
    let (first, span, count) = (take(from)?, take(from)?, take(from)?);
    if count > MOST {
        return None;
    }
    let mut places = Vec::new();
    for _ in 0..count {
        let (offset, length, address) = (take(from)?, take(from)?, take(from)?);
        let kind = *Kind::ALL.get(take_size(from)?)?;
        let ended = places.last().is_none_or(|last: &Place| last.offset + last.length <= offset);
        if !ended || offset.checked_add(length).is_none() {
            return None;
        }
        places.push(Place { offset, length, address, kind });
    }
    let count = take_size(from)?;
    // each part has at least three bytes
    if count > from.len() / 3 {
        return None;
    }
    let mut parts = Vec::with_capacity(count);
    let (mut end, mut by) = (0_u64, 0);
    for _ in 0..count {
        let begin = end.checked_add(take(from)?)?;
        end = begin.checked_add(take(from)?)?;
        by = take_signed(from, by)?;
        parts.push(Part { begin, end, by });
    }
    Some(Moved { places, parts, first, span })
}

fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push((number & 0x7f) as u8);
}

/// A number as what is to be added to another, around the end of the numbers where that is nearer.
fn put_signed(to: &mut Vec<u8>, number: u64, from: u64) {
    let change = number.wrapping_sub(from);
    put(to, (change << 1) ^ (change >> 63).wrapping_neg());
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_size(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(from)?).ok()
}

fn take_signed(from: &mut &[u8], number: u64) -> Option<u64> {
    let change = take(from)?;
    Some(number.wrapping_add((change >> 1) ^ (change & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn read(before: &[u8], script: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let mut before = before.to_vec();
        let Ok(made) = super::read(&mut before, script, length, 2, |piece| {
            content.extend_from_slice(piece);
            Ok::<(), std::convert::Infallible>(())
        });
        made.map(|()| content)
    }

    fn write(before: &[u8], content: &[u8]) -> Vec<u8> {
        let script = super::write(before.to_vec(), content, 1);
        assert_eq!(super::write(before.to_vec(), content, 3), script);
        script
    }

    #[test]
    fn moved_addresses_are_few_differences_and_not_new_content() {
        let noise = |seed: u8, length: usize| {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
            bytes
        };
        let before = noise(1, 60_000);
        // every 20th byte is a little more, as an address behind an insertion is
        let mut content = before.clone();
        content.iter_mut().skip(2_000).step_by(20).for_each(|byte| *byte = byte.wrapping_add(8));
        content.splice(30_000..30_000, noise(2, 500));
        let script = write(&before, &content);
        assert!(script.len() < 2 * 2_900 + 500 + 200, "{} bytes", script.len());
        assert_eq!(read(&before, &script, content.len()), Some(content));
    }

    #[test]
    fn a_program_is_made_of_the_one_before() {
        let before = std::fs::read(std::env::current_exe().expect("a path")).expect("a file");
        let mut content = before.clone();
        let middle = content.len() / 2;
        content.splice(middle..middle, [7; 96]);
        let script = write(&before, &content);
        assert!(script.len() < content.len() / 20, "{} bytes", script.len());
        assert!(read(&before, &script, content.len()) == Some(content));
    }

    proptest! {
        #[test]
        fn a_script_makes_what_it_was_written_for(
            before in proptest::collection::vec(0_u8..4, 0..2000), edits in proptest::collection::vec(any::<(prop::sample::Index, u8, u8)>(), 0..20),
            alike in any::<bool>(),
        ) {
            let mut content = if alike { before.clone() } else { Vec::new() };
            for (at, length, byte) in edits {
                let at = at.index(content.len() + 1);
                let end = (at + usize::from(length) / 2).min(content.len());
                content.splice(at..end, std::iter::repeat_n(byte, usize::from(length) % 40));
            }
            let script = write(&before, &content);
            prop_assert_eq!(read(&before, &script, content.len()), Some(content.clone()));
            prop_assert_eq!(read(&before, &script, content.len() + 1), None);
        }

        #[test]
        fn what_is_no_script_is_refused(before in proptest::collection::vec(any::<u8>(), 0..300), script in proptest::collection::vec(any::<u8>(), 0..200), length in 0_usize..1000) {
            if let Some(content) = read(&before, &script, length) {
                prop_assert_eq!(content.len(), length);
            }
        }
    }
}

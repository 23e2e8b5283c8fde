//! Content as a script over earlier content: copy this stretch and add these differences, then take these new bytes.
//!
//! A small change of a program moves what lies behind it, and every address that points across the change differs in a
//! byte or two. Compressors see short matches; a copy that bears with differing bytes sees one long one, and the
//! differences are mostly zero and the same few numbers. Source of the idea: Colin Percival, "Naive differences of
//! executable code" (2003); what is different here is how stretches are found (a table of hashes, in linear time).
//!
//! ```text
//! number of steps, number of bytes that differ
//! of each step: bytes to copy, bytes that are new, where the copy begins relative to the end of the one before
//! of each byte that differs: how many that do not come before it
//! the differences, one byte each: new minus old
//! the new bytes
//! ```
//!
//! Numbers are little endian in groups of seven bits, the last with the highest bit clear; signed ones with the sign in
//! the lowest bit.

/// Bytes that have to be equal before a stretch is tried.
const SEED: usize = 16;

/// Every so many bytes of the earlier content one is a place where a stretch may begin.
const STRIDE: usize = 2;

/// A stretch ends where it has so many more differing than equal bytes than at its best.
const DROP: i32 = 48;

/// Shorter stretches are not worth a step.
const SHORTEST: usize = 24;

/// One copy and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Where in the earlier content.
    from: usize,
    copy: usize,
    new: usize,
}

/// The script that makes `content` of `before`.
pub(super) fn write(before: &[u8], content: &[u8]) -> Vec<u8> {
    let steps = find(before, content);
    let (mut gaps, mut differences, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    let (mut at, mut gap) = (0, 0);
    for step in &steps {
        let (copied, rest) = content[at..].split_at(step.copy);
        for (new, old) in copied.iter().zip(&before[step.from..]) {
            if new == old {
                gap += 1;
            } else {
                put(&mut gaps, gap);
                differences.push(new.wrapping_sub(*old));
                gap = 0;
            }
        }
        fresh.extend_from_slice(&rest[..step.new]);
        at += step.copy + step.new;
    }
    let mut script = Vec::new();
    put(&mut script, steps.len() as u64);
    put(&mut script, differences.len() as u64);
    let mut end = 0;
    for step in &steps {
        put(&mut script, step.copy as u64);
        put(&mut script, step.new as u64);
        put_signed(&mut script, step.from, end);
        end = step.from + step.copy;
    }
    script.append(&mut gaps);
    script.append(&mut differences);
    script.append(&mut fresh);
    script
}

/// What a script makes of `before`, exactly `length` bytes; `None` when it is no script.
pub(super) fn read(before: &[u8], script: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut rest = script;
    let size = |number: u64| usize::try_from(number).ok();
    let (count, differing) = (size(take(&mut rest)?)?, size(take(&mut rest)?)?);
    // each step has at least three bytes, each difference two
    if count > rest.len() / 3 || differing > rest.len() / 2 {
        return None;
    }
    let mut steps = Vec::with_capacity(count);
    let (mut end, mut made, mut new) = (0_usize, 0_usize, 0_usize);
    for _ in 0..count {
        let step =
            Step { copy: size(take(&mut rest)?)?, new: size(take(&mut rest)?)?, from: take_signed(&mut rest, end)? };
        end = step.from.checked_add(step.copy).filter(|end| *end <= before.len())?;
        made = made.checked_add(step.copy)?.checked_add(step.new).filter(|made| *made <= length)?;
        new += step.new;
        steps.push(step);
    }
    if made != length {
        return None;
    }
    let mut gaps = Vec::with_capacity(differing);
    for _ in 0..differing {
        gaps.push(size(take(&mut rest)?)?);
    }
    let (differences, mut fresh) = rest.split_at_checked(differing)?;
    if fresh.len() != new {
        return None;
    }
    let mut differences = gaps.into_iter().zip(differences);
    let mut next = differences.next();
    let mut content = Vec::with_capacity(length);
    for step in steps {
        let begin = content.len();
        content.extend_from_slice(&before[step.from..step.from + step.copy]);
        let mut at = begin;
        while let Some((gap, difference)) = next {
            let place = at.checked_add(gap)?;
            let Some(byte) = content.get_mut(place) else {
                // the equal bytes before it go on in the next copy
                next = Some((gap - (content.len() - at), difference));
                break;
            };
            *byte = byte.wrapping_add(*difference);
            at = place + 1;
            next = differences.next();
        }
        let (now, later) = fresh.split_at_checked(step.new)?;
        content.extend_from_slice(now);
        fresh = later;
    }
    next.is_none().then_some(content)
}

/// Finds stretches of `content` that resemble stretches of `before`, in one pass.
fn find(before: &[u8], content: &[u8]) -> Vec<Step> {
    let table = Table::of(before);
    let mut steps = vec![Step { from: 0, copy: 0, new: 0 }];
    // what is covered, and where the stretch before would go on
    let (mut covered, mut at) = (0, 0);
    let mut ahead: Option<usize> = Some(0);
    while at + SEED <= content.len() {
        // the same way as before, past an insertion or a deletion of nothing
        let same = ahead.map(|from| from + (at - covered)).filter(|from| equal(before, *from, content, at) >= SEED);
        let Some(from) = same.or_else(|| table.find(before, content, at)) else {
            at += 1;
            continue;
        };
        let back = backward(before, from, content, at, covered);
        let forth = forward(before, from, content, at);
        if back + forth < SHORTEST {
            at += 1;
            continue;
        }
        let begin = at - back;
        if let Some(last) = steps.last_mut() {
            last.new = begin - covered;
        }
        steps.push(Step { from: from - back, copy: back + forth, new: 0 });
        covered = at + forth;
        ahead = Some(from + forth);
        at = covered;
    }
    if let Some(last) = steps.last_mut() {
        last.new = content.len() - covered;
    }
    steps
}

/// How many bytes are equal from two places on, counted up to a seed.
fn equal(before: &[u8], from: usize, content: &[u8], at: usize) -> usize {
    let (Some(old), Some(new)) = (before.get(from..from + SEED), content.get(at..at + SEED)) else { return 0 };
    if old == new { SEED } else { 0 }
}

/// How far a stretch goes on from two places.
fn forward(before: &[u8], from: usize, content: &[u8], at: usize) -> usize {
    let (mut score, mut best, mut length) = (0, 0, 0);
    for (index, (old, new)) in before[from..].iter().zip(&content[at..]).enumerate() {
        score += if old == new { 1 } else { -1 };
        if score > best {
            (best, length) = (score, index + 1);
        } else if score < best - DROP {
            break;
        }
    }
    length
}

/// How far a stretch goes back from two places, not before `covered`.
fn backward(before: &[u8], from: usize, content: &[u8], at: usize, covered: usize) -> usize {
    let (mut score, mut best, mut length) = (0, 0, 0);
    for (index, (old, new)) in before[..from].iter().rev().zip(content[covered..at].iter().rev()).enumerate() {
        score += if old == new { 1 } else { -1 };
        if score > best {
            (best, length) = (score, index + 1);
        } else if score < best - DROP {
            break;
        }
    }
    length
}

/// Places by the hash of the bytes there.
struct Table {
    places: Vec<u32>,
    shift: u32,
}

impl Table {
    fn of(before: &[u8]) -> Self {
        let count = (before.len() / STRIDE).max(1024).next_power_of_two();
        let shift = 64 - count.trailing_zeros();
        let mut places = vec![u32::MAX; count];
        let mut at = 0;
        while let Some(seed) = before.get(at..at + SEED) {
            // where many bytes are the same, the first place is as good as any
            let slot = &mut places[Self::slot(seed, shift)];
            if *slot == u32::MAX
                && let Ok(place) = u32::try_from(at)
            {
                *slot = place;
            }
            at += STRIDE;
        }
        Self { places, shift }
    }

    fn find(&self, before: &[u8], content: &[u8], at: usize) -> Option<usize> {
        let place = self.places[Self::slot(&content[at..at + SEED], self.shift)];
        let place = usize::try_from(place).ok().filter(|_| place != u32::MAX)?;
        (equal(before, place, content, at) >= SEED).then_some(place)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the table has less than 2^32 slots")]
    fn slot(seed: &[u8], shift: u32) -> usize {
        let half = |from: usize| seed[from..from + 8].iter().rev().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let mixed =
            half(0).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ half(8).wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(31);
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> shift) as usize
    }
}

fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push((number & 0x7f) as u8);
}

/// A place, relative to another.
fn put_signed(to: &mut Vec<u8>, place: usize, from: usize) {
    put(to, ((place.abs_diff(from) as u64) << 1) | u64::from(place < from));
}

fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_signed(from: &mut &[u8], place: usize) -> Option<usize> {
    let number = take(from)?;
    let size = usize::try_from(number >> 1).ok()?;
    if number & 1 == 1 { place.checked_sub(size) } else { place.checked_add(size) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

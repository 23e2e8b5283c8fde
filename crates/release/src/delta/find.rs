//! Which stretches of new content resemble which stretches of earlier content.
//!
//! Two passes, so that little is remembered and looked up: the first knows every thirty-second place of the earlier
//! content, which finds all that merely moved; the second knows every place of what is left, if that is not much. Where
//! nearly nothing moved, the first knows nothing but that.

use std::ops::Range;

use crate::digest::in_parallel;

/// Bytes that have to be equal before a stretch is tried.
const SEED: usize = 16;

/// Every so many bytes one is a place where a stretch may begin, in the first pass.
const COARSE: usize = 32;

/// So many places at most in the second.
const FINE: usize = 4 << 20;

/// Nearly nothing moved when one of so many bytes is another than at the same place before.
const STILL: usize = 16;

/// A stretch ends where it has so many more differing than equal bytes than at its best.
const DROP: i32 = 48;

/// Shorter stretches are not worth a step.
const SHORTEST: usize = 24;

/// The content is searched in pieces of this size at the same time. Where they end does not depend on the machine.
const PIECE: usize = 4 << 20;

/// A stretch of the content, and what it resembles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where in the content.
    pub(super) at: usize,
    /// Where in the earlier content.
    pub(super) from: usize,
    pub(super) length: usize,
}

/// The stretches of `content` that resemble some of `before`, in order, none over another. Works on up to `threads`
/// threads; their number changes nothing.
pub(super) fn find(before: &[u8], content: &[u8], threads: usize) -> Vec<Stretch> {
    let pieces = content.len().div_ceil(PIECE);
    let still = differing(before, content, threads) < content.len() / STILL;
    let known = 0..if still { 0 } else { before.len() };
    let table = Table::of(before, std::slice::from_ref(&known), COARSE);
    let coarse = in_parallel(pieces, threads, |piece| {
        let range = piece * PIECE..content.len().min((piece + 1) * PIECE);
        // what did not move is at the same place
        search(before, content, &table, range.clone(), range.start)
    });
    drop(table);
    let coarse = joined(coarse.into_iter().flatten());
    let (gaps, left) = (gaps(&coarse, content.len()), left(&coarse, before.len()));
    let stride = 1 + left.iter().map(Range::len).sum::<usize>() / FINE;
    let table = Table::of(before, &left, stride);
    let fine = in_parallel(gaps.len(), threads, |index| {
        let (range, ahead) = &gaps[index];
        search(before, content, &table, range.clone(), *ahead)
    });
    let mut all: Vec<Stretch> = coarse.into_iter().chain(fine.into_iter().flatten()).collect();
    all.sort_unstable_by_key(|stretch| stretch.at);
    joined(all.into_iter())
}

/// How many bytes of `content` are others than at the same place of `before`, about.
pub(super) fn differing(before: &[u8], content: &[u8], threads: usize) -> usize {
    let each = in_parallel(content.len().div_ceil(PIECE), threads, |piece| {
        let (from, to) = (piece * PIECE, (piece + 1) * PIECE);
        let (new, old) = (&content[from..content.len().min(to)], before.get(from..before.len().min(to)));
        let (olds, news) = (old.unwrap_or_default().as_chunks::<8>().0, new.as_chunks::<8>().0);
        new.len() - olds.iter().zip(news).filter(|(old, new)| old == new).count() * 8
    });
    each.iter().sum()
}

/// Stretches where one goes on where the one before ends are one.
fn joined(stretches: impl Iterator<Item = Stretch>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        match all.last_mut() {
            Some(last) if last.at + last.length == stretch.at && last.from + last.length == stretch.from => {
                last.length += stretch.length;
            }
            _ => all.push(stretch),
        }
    }
    all
}

/// What no stretch covers of the content, each with the place of the earlier content that the stretch before leads to.
fn gaps(stretches: &[Stretch], length: usize) -> Vec<(Range<usize>, usize)> {
    let (mut at, mut ahead, mut gaps) = (0, 0, Vec::new());
    let end = Stretch { at: length, from: 0, length: 0 };
    for stretch in stretches.iter().chain([&end]) {
        if stretch.at - at >= SEED {
            gaps.push((at..stretch.at, ahead));
        }
        (at, ahead) = (stretch.at + stretch.length, stretch.from + stretch.length);
    }
    gaps
}

/// What no stretch covers of the earlier content, in order.
fn left(stretches: &[Stretch], length: usize) -> Vec<Range<usize>> {
    let mut taken: Vec<Range<usize>> = stretches.iter().map(|one| one.from..one.from + one.length).collect();
    taken.sort_unstable_by_key(|range| range.start);
    let (mut at, mut left) = (0, Vec::new());
    for range in taken.into_iter().chain(std::iter::once(length..length)) {
        if range.start > at {
            left.push(at..range.start);
        }
        at = at.max(range.end);
    }
    left
}

/// Finds stretches within a range of the content, in one pass. `ahead` is the place that its beginning is tried at first.
fn search(before: &[u8], content: &[u8], table: &Table, range: Range<usize>, ahead: usize) -> Vec<Stretch> {
    let content = &content[..range.end];
    let mut stretches = Vec::new();
    // what is covered, and where the stretch before would go on
    let (mut covered, mut at, mut ahead) = (range.start, range.start, ahead);
    while let Some(seed) = seed(content, at) {
        // the same way as before, past an insertion or a deletion of nothing
        let same = Some(ahead + (at - covered)).filter(|from| self::seed(before, *from) == Some(seed));
        let Some(from) = same.or_else(|| table.find(before, seed)) else {
            at += 1;
            continue;
        };
        let back = reach(before[..from].iter().rev(), content[covered..at].iter().rev());
        let forth = forward(&before[from..], &content[at..]);
        if back + forth < SHORTEST {
            at += 1;
            continue;
        }
        stretches.push(Stretch { at: at - back, from: from - back, length: back + forth });
        covered = at + forth;
        ahead = from + forth;
        at = covered;
    }
    stretches
}

/// The bytes at a place that a stretch is recognised by.
fn seed(bytes: &[u8], at: usize) -> Option<&[u8; SEED]> {
    bytes.get(at..)?.first_chunk()
}

/// How far two sequences resemble each other from their beginnings on.
fn reach<'b>(old: impl Iterator<Item = &'b u8>, new: impl Iterator<Item = &'b u8>) -> usize {
    let mut likeness = Likeness::default();
    for (old, new) in old.zip(new) {
        if !likeness.take(*old, *new) {
            break;
        }
    }
    likeness.length
}

/// As [`reach`], in large steps over what is equal.
fn forward(old: &[u8], new: &[u8]) -> usize {
    let length = old.len().min(new.len());
    let ((olds, old_rest), (news, new_rest)) = (old[..length].as_chunks::<8>(), new[..length].as_chunks::<8>());
    let mut likeness = Likeness::default();
    for (old, new) in olds.iter().zip(news) {
        if old == new {
            likeness.take_equal(*old);
        } else if !old.iter().zip(new).all(|(old, new)| likeness.take(*old, *new)) {
            return likeness.length;
        }
    }
    for (old, new) in old_rest.iter().zip(new_rest) {
        if !likeness.take(*old, *new) {
            break;
        }
    }
    likeness.length
}

/// How much two sequences had in common so far.
#[derive(Default)]
struct Likeness {
    score: i32,
    best: i32,
    seen: usize,
    /// Up to where it is best to take them for alike.
    length: usize,
}

impl Likeness {
    /// Whether it is worth to go on. Zeros are everywhere, so that two of them say nothing.
    fn take(&mut self, old: u8, new: u8) -> bool {
        self.seen += 1;
        if old == new {
            self.score += i32::from(old != 0);
            self.note();
            true
        } else {
            self.score -= 1;
            self.score >= self.best - DROP
        }
    }

    fn take_equal(&mut self, both: [u8; 8]) {
        self.seen += 8;
        self.score += if both == [0; 8] { 0 } else { 4 };
        self.note();
    }

    fn note(&mut self) {
        if self.score >= self.best {
            (self.best, self.length) = (self.score, self.seen);
        }
    }
}

/// Places by the hash of the bytes there, each with some bits of the hash that did not choose the slot: most bytes that are
/// not there are seen not to be without a look at the earlier content.
struct Table {
    slots: Vec<u32>,
    shift: u32,
}

/// Bits of a slot that are a place; the largest prefix has so many.
const PLACE_BITS: u32 = 27;

/// No place.
const EMPTY: u32 = u32::MAX;

impl Table {
    /// Every `stride`th place of some ranges.
    fn of(before: &[u8], ranges: &[Range<usize>], stride: usize) -> Self {
        let places: usize = ranges.iter().map(|range| range.len() / stride).sum();
        let count = (places * 2).max(1024).next_power_of_two();
        let mut table = Self { slots: vec![EMPTY; count], shift: 64 - count.trailing_zeros() };
        for range in ranges {
            for at in range.clone().step_by(stride) {
                let Some(seed) = seed(before, at) else { break };
                let (index, tag) = table.slot(seed);
                // where many bytes are the same, the first place is as good as any
                if table.slots[index] == EMPTY
                    && let Ok(place) = u32::try_from(at)
                    && place >> PLACE_BITS == 0
                {
                    table.slots[index] = place | tag;
                }
            }
        }
        table
    }

    fn find(&self, before: &[u8], seed: &[u8; SEED]) -> Option<usize> {
        let (index, tag) = self.slot(seed);
        let slot = self.slots[index];
        // one comparison, nearly always the same way: the processor looks ahead while the memory is slow
        if slot >> PLACE_BITS << PLACE_BITS != tag {
            return None;
        }
        let place = usize::try_from(slot ^ tag).ok()?;
        (self::seed(before, place) == Some(seed)).then_some(place)
    }

    /// Which slot, and the bits beside the place.
    #[expect(clippy::cast_possible_truncation, reason = "the bits that are dropped are not wanted")]
    fn slot(&self, seed: &[u8; SEED]) -> (usize, u32) {
        let number = u128::from_le_bytes(*seed);
        let (low, high) = (number as u64, (number >> 64) as u64);
        let mixed = low.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ high.wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(31);
        let mixed = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed >> self.shift) as usize, (mixed as u32) >> PLACE_BITS << PLACE_BITS)
    }
}

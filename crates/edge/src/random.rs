//! A small generator for choices that need no secrecy: xorshift, one per worker.

use std::{cell::Cell, hash::BuildHasher};

/// Not shared between threads.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// Seeded by the operating system, through the standard library's hash keys.
    pub(crate) fn new() -> Self {
        Self::seeded(std::hash::RandomState::new().hash_one(std::process::id()))
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Cell::new(seed | 1))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut word = self.0.get();
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        self.0.set(word);
        word.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number under `limit`, which is above 0. The bias of 2^-64 times `limit` does not matter here.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into something of `len` items, which is above 0.
    pub(crate) fn index(&self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}

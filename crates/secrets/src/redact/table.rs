//! Where in a text one of many words begins.

/// Finds words by their first two bytes: one look at a bit per byte of text, and a search only where it is set.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Bit per pair of bytes that some word begins with.
    begins: Box<[u64]>,
    /// Sorted.
    words: Vec<Box<[u8]>>,
}

impl Table {
    /// Words shorter than two bytes are left out.
    pub(super) fn new(mut words: Vec<Box<[u8]>>) -> Self {
        words.retain(|word| word.len() >= 2);
        words.sort_unstable();
        words.dedup();
        words.shrink_to_fit();
        let mut begins = vec![0; (1 << 16) / 64].into_boxed_slice();
        for word in &words {
            let pair = pair(word[0], word[1]);
            begins[pair / 64] |= 1 << (pair % 64);
        }
        Self { begins, words }
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.words.iter().map(|word| &**word)
    }

    /// Whether some word begins with these two bytes.
    #[inline]
    pub(super) fn may_begin(&self, first: u8, second: u8) -> bool {
        let pair = pair(first, second);
        self.begins[pair / 64] & (1 << (pair % 64)) != 0
    }

    /// Length of the longest word that `text` begins with, letters read by `fold`.
    pub(super) fn longest_at(&self, text: &[u8], fold: impl Fn(u8) -> u8) -> Option<usize> {
        let (first, second) = (fold(*text.first()?), fold(*text.get(1)?));
        let from = self.words.partition_point(|word| (word[0], word[1]) < (first, second));
        self.words[from..]
            .iter()
            .take_while(|word| (word[0], word[1]) == (first, second))
            .filter(|word| word.len() <= text.len() && word.iter().zip(text).all(|(a, b)| *a == fold(*b)))
            .map(|word| word.len())
            .max()
    }
}

fn pair(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

//! Where the parts of a program's file are when it runs.

/// A program has about four loads and three places.
pub(super) const MOST: u64 = 64;

/// As much of a program's headers as is of use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) loads: Vec<Load>,
    /// In order, none over another.
    pub(super) places: Vec<Place>,
}

/// A stretch of the file that has addresses when the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Its first byte's.
    pub(super) address: u64,
}

/// A stretch of the file whose addresses are relative to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Its first byte's.
    pub(super) address: u64,
    pub(super) kind: Kind,
}

/// How addresses are recognised, and what they are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Instructions of x86-64.
    Code,
    /// How to unwind each function: `.eh_frame`.
    Frames,
    /// Where to find that: `.eh_frame_hdr`.
    FrameTable,
}

impl Kind {
    /// Each by its number in a script.
    pub(super) const ALL: [Self; 3] = [Self::Code, Self::Frames, Self::FrameTable];
}

impl Load {
    fn holds(&self, offset: u64) -> bool {
        offset.wrapping_sub(self.offset) < self.length
    }

    /// Where it ends in the file.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }

    pub(super) fn last_address(&self) -> u64 {
        self.address.saturating_add(self.length)
    }
}

impl Program {
    /// Reads the headers of a file. Nothing is known of one that is no program of the kind that is meant: ELF of 64 bits,
    /// little endian, whole. Source: System V ABI, chapter 5; Linux Standard Base 5.0, section 10.6.
    pub(super) fn of(file: &[u8]) -> Self {
        read(file).unwrap_or_default()
    }

    /// Where the last byte ends in the file that has an address.
    pub(super) fn end(&self) -> usize {
        usize::try_from(self.loads.iter().map(Load::end).max().unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// The address of a byte of the file.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        let load = self.loads.iter().find(|load| load.holds(offset))?;
        Some(load.address.wrapping_add(offset - load.offset))
    }
}

fn read(file: &[u8]) -> Option<Program> {
    const AMD64: u64 = 62;
    const EXECUTABLE: u64 = 1;
    const LOAD: u64 = 1;
    const FRAME_TABLE: u64 = 0x6474_e550;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let amd64 = number(file, 18, 2)? == AMD64;
    let (table, size, count) = (number(file, 32, 8)?, number(file, 54, 2)?, number(file, 56, 2)?);
    let mut program = Program::default();
    for index in 0..count.min(MOST) {
        let at = table.checked_add(index * size)?;
        let (kind, flags) = (number(file, at, 4)?, number(file, at + 4, 4)?);
        let (offset, address, length) =
            (number(file, at + 8, 8)?, number(file, at + 16, 8)?, number(file, at + 32, 8)?);
        if length == 0 || offset.checked_add(length)? > file.len() as u64 {
            continue;
        }
        let place = |kind| Place { offset, length, address, kind };
        match kind {
            LOAD => {
                program.loads.push(Load { offset, length, address });
                if amd64 && flags & EXECUTABLE != 0 {
                    program.places.push(place(Kind::Code));
                }
            }
            FRAME_TABLE => {
                program.places.push(place(Kind::FrameTable));
                // what it is the table of follows it, at a distance that its fifth byte begins to tell
                let distance = i32::from_le_bytes(u32::try_from(number(file, offset + 4, 4)?).ok()?.to_le_bytes());
                if let Ok(distance) = u64::try_from(i64::from(distance) + 4) {
                    let (offset, address) = (offset.checked_add(distance)?, address.wrapping_add(distance));
                    program.places.push(Place { offset, length: u64::MAX, address, kind: Kind::Frames });
                }
            }
            _ => {}
        }
    }
    program.places.sort_unstable();
    // each ends where the next one begins, or the load it is in
    for index in 0..program.places.len() {
        let next = program.places.get(index + 1).map_or(u64::MAX, |next| next.offset);
        let place = &mut program.places[index];
        let load = program.loads.iter().find(|load| load.holds(place.offset))?;
        place.length = place.offset.saturating_add(place.length).min(next).min(load.end()) - place.offset;
    }
    Some(program)
}

/// A number of some bytes, the lowest first.
fn number(file: &[u8], at: u64, length: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = file.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_program_is_understood() {
        let own = std::env::current_exe().expect("a path");
        let program = Program::of(&std::fs::read(own).expect("a file"));
        assert!(program.loads.len() >= 2, "{program:?}");
        let kinds: Vec<Kind> = program.places.iter().map(|place| place.kind).collect();
        if cfg!(target_arch = "x86_64") {
            assert!(kinds.contains(&Kind::Code), "{program:?}");
        }
        assert!(kinds.contains(&Kind::Frames) && kinds.contains(&Kind::FrameTable), "{program:?}");
        assert!(program.places.is_sorted_by(|one, next| one.offset + one.length <= next.offset), "{program:?}");
    }

    proptest! {
        #[test]
        fn headers_that_make_no_sense_are_none(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            let file = [b"\x7fELF\x02\x01".as_slice(), &noise].concat();
            let program = Program::of(&file);
            prop_assert!(program.end() <= file.len());
            prop_assert!(program.places.is_sorted_by(|one, next| one.offset + one.length <= next.offset));
        }
    }
}

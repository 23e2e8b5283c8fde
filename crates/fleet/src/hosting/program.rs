//! The program that is put on hosts: for which machines it is, and what it needs there.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A program file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it lies here.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// BLAKE3, 64 hexadecimal digits.
    pub digest: String,
    /// Its version.
    pub version: String,
    /// As `uname -m` says it, as in `x86_64`.
    pub machine: String,
    /// The file that loads it; `None` for a static program, which runs everywhere.
    pub loader: Option<String>,
    /// The GNU C library it needs, as in `2.34`.
    pub glibc: Option<String>,
}

impl Program {
    /// Reads a program file. Fails when it is no program for Linux.
    pub fn read(path: &Path, version: &str) -> io::Result<Self> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.read_to_end(&mut bytes)?;
        let (machine, loader) = elf(&bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is no 64-bit program for Linux; name one with --binary")
        })?;
        Ok(Self {
            path: path.to_owned(),
            size: bytes.len() as u64,
            digest: blake3::hash(&bytes).to_hex().to_string(),
            version: version.to_owned(),
            machine: machine.to_owned(),
            glibc: loader.as_ref().and_then(|_| newest_glibc(&bytes)),
            loader,
        })
    }

    /// Name of its folder on a host: version and the beginning of its digest.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.version, &self.digest[..12])
    }
}

/// Machine and loader of a 64-bit little-endian ELF file. Source: `elf(5)`.
fn elf(bytes: &[u8]) -> Option<(&'static str, Option<String>)> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok();
    let machine = match half(18)? {
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => return None,
    };
    let (first, size, count) = (long(32)?, usize::from(half(54)?), usize::from(half(56)?));
    for header in (0..count).map(|index| first + index * size) {
        // PT_INTERP
        if bytes.get(header..header + 4)? == [3, 0, 0, 0] {
            let (at, length) = (long(header + 8)?, long(header + 32)?);
            let path = bytes.get(at..at.checked_add(length)?)?;
            return Some((machine, Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())));
        }
    }
    Some((machine, None))
}

/// The newest version of the GNU C library whose symbols a program names.
fn newest_glibc(bytes: &[u8]) -> Option<String> {
    let mark = b"GLIBC_2.";
    let mut newest = None;
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        rest = &rest[at + mark.len()..];
        let digits: String =
            rest.iter().take(3).map_while(|byte| byte.is_ascii_digit().then_some(char::from(*byte))).collect();
        newest = newest.max(digits.parse::<u32>().ok());
    }
    newest.map(|minor| format!("2.{minor}"))
}

/// Whether version `is` is at least `wanted`; both as in `2.36`.
pub fn at_least(is: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(is) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_is_a_program_for_this_machine() {
        let own = std::env::current_exe().unwrap();
        let program = Program::read(&own, "1.2.3").unwrap();
        assert_eq!(program.machine, std::env::consts::ARCH);
        assert!(program.folder().starts_with("1.2.3-"));
        if let Some(loader) = &program.loader {
            assert!(Path::new(loader).exists(), "{loader}");
            assert!(at_least(program.glibc.as_deref().unwrap(), "2.2"));
        }
        let text = Program::read(Path::new("/etc/passwd"), "1").unwrap_err().to_string();
        assert!(text.contains("no 64-bit program"), "{text}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(at_least("2.36", "2.9") && at_least("0.10.0", "0.9.9") && at_least("5.3.0-18-amd64", "5.3"));
        assert!(!at_least("2.31", "2.34") && !at_least("4.19.0", "5.3"));
    }
}

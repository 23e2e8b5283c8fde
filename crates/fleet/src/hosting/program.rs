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
        let head = head(&bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it is no 64-bit program for Linux; name one with --binary")
        })?;
        Ok(Self {
            path: path.to_owned(),
            size: bytes.len() as u64,
            digest: blake3::hash(&bytes).to_hex().to_string(),
            version: version.to_owned(),
            machine: head.machine.to_owned(),
            loader: head.loader,
            glibc: head.glibc,
        })
    }

    /// Name of its folder on a host: version and the beginning of its digest.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.version, &self.digest[..12])
    }
}

/// What the head of a program file tells.
struct Head {
    machine: &'static str,
    loader: Option<String>,
    glibc: Option<String>,
}

/// Reads a 64-bit little-endian ELF file. Source: `elf(5)`.
fn head(bytes: &[u8]) -> Option<Head> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let long = |at: usize| usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok();
    let part = |at: usize, length: usize| bytes.get(at..at.checked_add(length)?);
    let machine = match half(18)? {
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => return None,
    };
    let (segments, segment, count) = (long(32)?, half(54)?, half(56)?);
    // PT_INTERP
    let interpreter = (0..count).map(|index| segments + index * segment).find(|at| part(*at, 4) == Some(&[3, 0, 0, 0]));
    let loader = match interpreter {
        Some(at) => {
            let path = part(long(at + 8)?, long(at + 32)?)?;
            Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned())
        }
        None => None,
    };
    // SHT_STRTAB that is loaded: the names of what a program takes from libraries
    let (sections, section, count) = (long(40)?, half(58)?, half(60)?);
    let names = (0..count).map(|index| sections + index * section).find_map(|at| {
        let found = part(at + 4, 4) == Some(&[3, 0, 0, 0]) && long(at + 8)? & 2 != 0;
        found.then(|| part(long(at + 24)?, long(at + 32)?)).flatten()
    });
    let glibc = loader.as_ref().and_then(|_| newest_glibc(names?));
    Some(Head { machine, loader, glibc })
}

/// The newest version of the GNU C library among names.
fn newest_glibc(names: &[u8]) -> Option<String> {
    let minor =
        |name: &[u8]| std::str::from_utf8(name.strip_prefix(b"GLIBC_2.")?).ok()?.split('.').next()?.parse().ok();
    let newest: u32 = names.split(|byte| *byte == 0).filter_map(minor).max()?;
    Some(format!("2.{newest}"))
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

//! `size`: what one replica gets, and how many there are.

use super::section::Section;
use crate::{BadQuantity, Problem, ScaleAt, Size, Span};

/// Where people look for the keys of `size` first.
pub(crate) const MOVED: [(&str, &str); 8] = [
    ("replicas", "size.replicas"),
    ("instances", "size.replicas"),
    ("cpu", "size.cpu"),
    ("cpus", "size.cpu"),
    ("memory", "size.memory"),
    ("mem", "size.memory"),
    ("scale_at", "size.scale_at"),
    ("autoscale", "size.scale_at"),
];

/// One replica, with what the target gives by itself.
pub(crate) fn standard() -> Size {
    Size { cpu: None, memory: None, replicas: Span::exactly(1), scale_at: None }
}

/// The size below `size`, if there is one.
pub(crate) fn find(section: &Section<'_>) -> Option<Size> {
    section.table("size").map(read)
}

/// The size below `size`, or the standard one.
pub(crate) fn get(section: &Section<'_>) -> Size {
    find(section).unwrap_or_else(standard)
}

/// A number of replicas, read by its own rule.
struct Replicas(Span<u32>);

impl std::str::FromStr for Replicas {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        Span::parse_replicas(text).map(Replicas)
    }
}

fn read(section: Section<'_>) -> Size {
    let cpu = section.parse("cpu");
    let memory = section.parse("memory");
    let replicas = section.parse::<Replicas>("replicas").map_or(Span::exactly(1), |replicas| replicas.0);
    if let Some(entry) = section.find("replicas").filter(|_| replicas.max == 0) {
        let message = format!("{} is 0: it never runs", entry.path.place());
        let problem = Problem::warning("no-replicas", entry.path.to_string(), message).with_span(entry.value.span());
        section.notes.add(problem.with_mend("write at least 1 unless that is meant"));
    }
    let scale_at = section.table("scale_at").map(|table| {
        let scale_at = ScaleAt { cpu: table.whole("cpu", 1..=100), memory: table.whole("memory", 1..=100) };
        if scale_at.cpu.is_none() && scale_at.memory.is_none() && table.table.is_empty() {
            table.missing("cpu", "write when to add replicas, for example `{ cpu = 70, memory = 80 }`");
        }
        if replicas.min == replicas.max {
            let message = format!("{} cannot scale: the number of replicas is fixed", section.path.place());
            let problem =
                Problem::warning("cannot-scale", table.path.to_string(), message).with_span(table.span.clone());
            section.notes.add(problem.with_mend("write `replicas` as a range such as `2..10`"));
        }
        table.finish(&[]);
        scale_at
    });
    section.finish(&[("mem", "memory"), ("cpus", "cpu"), ("instances", "replicas"), ("autoscale", "scale_at")]);
    Size { cpu, memory, replicas, scale_at }
}

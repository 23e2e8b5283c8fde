//! One line of the report.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// One measured figure beside what it is held to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    name: String,
    /// The figure.
    ours: f64,
    /// Its unit.
    unit: &'static str,
    /// Who or what it is compared with.
    peer: String,
    /// The peer's figure, or the limit.
    theirs: f64,
    /// `ours / theirs`; absent when the peer's figure is zero.
    ratio: Option<f64>,
    /// Largest ratio that meets the bar; absent where there is no bar.
    bar: Option<f64>,
    /// Whether the bar is met.
    met: Option<bool>,
}

impl Row {
    /// Beside a peer, which may be passed by a factor of `bar`.
    pub(crate) fn peer(name: &str, ours: f64, unit: &'static str, peer: &str, theirs: f64, bar: Option<f64>) -> Self {
        let ratio = (theirs > 0.0).then(|| ours / theirs);
        // nothing of ours against nothing allowed is fine
        let met = bar.map(|bar| ratio.map_or(ours <= 0.0, |ratio| ratio <= bar));
        Self { name: name.to_owned(), ours, unit, peer: peer.to_owned(), theirs, ratio, bar, met }
    }

    /// Against a limit.
    pub(crate) fn limit(name: &str, ours: f64, unit: &'static str, limit: f64) -> Self {
        Self::peer(name, ours, unit, "limit", limit, Some(1.0))
    }
}

/// The rows for people.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["what", "ours", "", "beside", "theirs", "ratio", "bar", "met"]);
    for row in rows {
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let met = match row.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        table.add_row([
            row.name.clone(),
            figure(row.ours),
            row.unit.to_owned(),
            row.peer.clone(),
            figure(row.theirs),
            ratio(row.ratio),
            ratio(row.bar),
            met.to_owned(),
        ]);
    }
    for column in [1, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The rows for programs.
pub(crate) fn json(rows: &[Row]) -> String {
    serde_json::to_string_pretty(rows).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// Three significant places at least.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// The middle one of some figures; 0 of none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        count if count % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_bars() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(vec![]).abs() < 1e-9);
        assert_eq!(Row::limit("x", 2.0, "ms", 1.0).met, Some(false));
        assert_eq!(Row::limit("no failures", 0.0, "requests", 0.0).met, Some(true));
        assert_eq!(Row::limit("failures", 1.0, "requests", 0.0).met, Some(false));
        assert_eq!(Row::peer("x", 1.1, "us", "nginx", 1.0, Some(1.15)).met, Some(true));
    }
}

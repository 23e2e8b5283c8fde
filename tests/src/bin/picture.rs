//! Draws what a terminal showed as an SVG: `script -qec 'slipway status' /dev/null | picture > docs/status.svg`.
//!
//! Knows what Slipway prints: colours and weights (SGR), line ends, erased lines. A line that was redrawn is shown
//! as it stood last.

use std::{fmt::Write as _, io::Read};

const CELL: (f64, f64) = (8.4, 19.0);
const MARGIN: f64 = 18.0;
/// Normal and bright: black, red, green, yellow, blue, magenta, cyan, white.
const COLOURS: [&str; 16] = [
    "#4b5563", "#f87171", "#4ade80", "#facc15", "#60a5fa", "#e879f9", "#22d3ee", "#e5e7eb", "#6b7280", "#fca5a5",
    "#86efac", "#fde047", "#93c5fd", "#f0abfc", "#67e8f9", "#ffffff",
];

/// How a character looks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Look {
    colour: Option<usize>,
    bold: bool,
    dim: bool,
}

fn main() {
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut input) {
        eprintln!("cannot read what the terminal showed: {error}");
        std::process::exit(1);
    }
    let title = std::env::args().nth(1).unwrap_or_default();
    print!("{}", draw(&screen(&String::from_utf8_lossy(&input)), &title));
}

/// Follows the terminal: rows of characters with their looks.
fn screen(text: &str) -> Vec<Vec<(char, Look)>> {
    let mut rows: Vec<Vec<(char, Look)>> = vec![Vec::new()];
    let (mut look, mut column) = (Look::default(), 0);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => {
                rows.push(Vec::new());
                column = 0;
            }
            '\r' => column = 0,
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                let mut parameters = String::new();
                let end = loop {
                    match characters.next() {
                        Some(next) if next.is_ascii_alphabetic() => break next,
                        Some(next) => parameters.push(next),
                        None => break 'm',
                    }
                };
                match end {
                    'm' => look = restyle(look, &parameters),
                    'K' => rows.last_mut().into_iter().for_each(|row| row.truncate(column)),
                    _ => {}
                }
            }
            character if character.is_control() => {}
            character => {
                if let Some(row) = rows.last_mut() {
                    while row.len() <= column {
                        row.push((' ', Look::default()));
                    }
                    row[column] = (character, look);
                }
                column += 1;
            }
        }
    }
    while rows.last().is_some_and(|row| row.iter().all(|(character, _)| *character == ' ')) {
        rows.pop();
    }
    rows
}

/// Source: ECMA-48, section 8.3.117 (SGR).
fn restyle(mut look: Look, parameters: &str) -> Look {
    for code in parameters.split(';').map(|code| code.parse().unwrap_or(0usize)) {
        match code {
            0 => look = Look::default(),
            1 => look.bold = true,
            2 => look.dim = true,
            22 => (look.bold, look.dim) = (false, false),
            30..=37 => look.colour = Some(code - 30),
            39 => look.colour = None,
            90..=97 => look.colour = Some(code - 90 + 8),
            _ => {}
        }
    }
    look
}

/// A window with the rows in it; runs of one look become one text.
#[expect(clippy::cast_precision_loss, reason = "a terminal has fewer columns than an f64 has digits")]
fn draw(rows: &[Vec<(char, Look)>], title: &str) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(60);
    let (width, height) = (columns as f64 * CELL.0 + 2.0 * MARGIN, rows.len() as f64 * CELL.1 + 2.0 * MARGIN + 26.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" \
         aria-label=\"{}\">\n<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#111827\"/>\n\
         <g fill=\"#374151\"><circle cx=\"20\" cy=\"18\" r=\"6\"/><circle cx=\"40\" cy=\"18\" r=\"6\"/><circle cx=\"60\" cy=\"18\" r=\"6\"/></g>\n\
         <g font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"#e5e7eb\">\n\
         <text x=\"80\" y=\"23\" fill=\"#9ca3af\">{}</text>\n",
        escape(title),
        escape(title)
    );
    for (index, row) in rows.iter().enumerate() {
        let y = 26.0 + MARGIN + (index as f64 + 0.75) * CELL.1;
        let mut start = 0;
        while start < row.len() {
            let look = row[start].1;
            let end =
                row[start..].iter().position(|(_, other)| *other != look).map_or(row.len(), |length| start + length);
            let text: String = row[start..end].iter().map(|(character, _)| character).collect();
            if !text.trim().is_empty() {
                let fill = look.colour.map(|colour| format!(" fill=\"{}\"", COLOURS[colour])).unwrap_or_default();
                let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
                let opacity = if look.dim { " opacity=\"0.6\"" } else { "" };
                let x = MARGIN + start as f64 * CELL.0;
                let length = (end - start) as f64 * CELL.0;
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{fill}{weight}{opacity}>{}</text>",
                    escape(&text)
                );
            }
            start = end;
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    // spaces are kept by being unbreakable: renderers disagree on white-space and xml:space
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace(' ', "\u{a0}")
}

//! Makes scripts and styles small: no comments, no blanks that mean nothing.
//!
//! Made for this site's own files, which keep two rules: every JavaScript statement ends with `;` or `}`, and there
//! are no regular expressions. Strings and templates stay as they are.

/// A smaller script.
pub(crate) fn script(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    // where a `}` ends the expression within a template, and how many blocks are open inside of it
    let mut templates: Vec<u32> = Vec::new();
    let mut blank = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if first.is_whitespace() => first.len_utf8(),
            _ => 0,
        };
        if length > 0 {
            blank = true;
            rest = &rest[length..];
            continue;
        }
        if blank && needs_blank(out.chars().next_back(), first) {
            out.push(' ');
        }
        blank = false;
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            '`' => template(&rest[1..], &mut templates) + 1,
            '}' if templates.last() == Some(&0) => {
                templates.pop();
                template(&rest[1..], &mut templates) + 1
            }
            '{' => {
                templates.iter_mut().last().into_iter().for_each(|open| *open += 1);
                1
            }
            '}' => {
                templates.iter_mut().last().into_iter().for_each(|open| *open -= 1);
                1
            }
            _ => first.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// Whether two pieces would become one, or another, without a blank between them.
fn needs_blank(before: Option<char>, after: char) -> bool {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    before.is_some_and(|before| (word(before) && word(after)) || (before == after && matches!(after, '+' | '-')))
}

/// Bytes of the string that `text` begins with, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = true;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Bytes of a template's text up to its end or up to and with `${`.
fn template(text: &str, templates: &mut Vec<u32>) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '`' {
            return at + 1;
        } else if text[at..].starts_with("${") {
            templates.push(0);
            return at + 2;
        }
    }
    text.len()
}

/// A smaller style sheet.
pub(crate) fn style(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut blank = false;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").map_or(rest.len(), |end| end + 2)..];
            blank = true;
            continue;
        }
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
            blank = true;
            continue;
        }
        // around these a blank means nothing; before `:` it does, as in `a :hover`
        let tight = |c: char| matches!(c, '{' | '}' | ';' | ',' | '>');
        let before = out.chars().next_back();
        if blank && !tight(first) && before.is_some_and(|c| !tight(c) && c != ':') {
            out.push(' ');
        }
        blank = false;
        if first == '}' && before == Some(';') {
            out.pop();
        }
        let length = if matches!(first, '"' | '\'') { quoted(rest, first) } else { first.len_utf8() };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_loses_what_means_nothing_and_keeps_the_rest() {
        for (source, small) in [
            ("const a = 1; // one\n/* two */ let  b = a + +a;\n", "const a=1;let b=a+ +a;"),
            (
                "f( \"a // b\", 'it\\'s  //', `x  ${ a  + `y  ${ b }  z` }  // no` );",
                "f(\"a // b\",'it\\'s  //',`x  ${a+`y  ${b}  z`}  // no`);",
            ),
            ("`${ { a: { b } }.a }  end`;\nx", "`${{a:{b}}.a}  end`;x"),
            ("return x\n  ? 'ä' : b / 2 ;", "return x?'ä':b/2;"),
            ("a - -b; i++ + j", "a- -b;i++ +j"),
        ] {
            assert_eq!(script(source), small);
        }
    }

    #[test]
    fn a_style_loses_what_means_nothing_and_keeps_the_rest() {
        let source = "/* note */\n:root {\n  --a: calc(1px + 2px);\n}\na :hover, b > c::before {\n  content: \"  {;}  \";\n  margin: 0 auto;\n}\n@media (width < 40rem) and (hover: hover) { a { color: red; } }\n";
        let small = ":root{--a:calc(1px + 2px)}a :hover,b>c::before{content:\"  {;}  \";margin:0 auto}@media (width < 40rem) and (hover:hover){a{color:red}}";
        assert_eq!(style(source), small);
        assert_eq!(style(&style(source)), small);
    }

    #[test]
    fn this_sites_script_keeps_the_rules_that_make_it_safe() {
        let source = include_str!("../site/app.js");
        for (number, line) in source.lines().enumerate() {
            let code = line.trim_end();
            let comment = code.trim_start().starts_with("//");
            // a line either ends a statement or cannot be the end of one
            let good = code.is_empty()
                || comment
                || code.ends_with([';', '{', '}', '(', ',', '[', '?', ':', '=', '>', '|', '&', '+', '`']);
            assert!(good, "site/app.js:{}: {line}", number + 1);
        }
        let small = script(source);
        assert!(!small.contains('\n') || small.contains('`'), "only templates have lines");
        assert_eq!(script(&small), small);
    }
}

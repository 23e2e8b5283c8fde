//! From the command line in a stack file to the program and its arguments.

use crate::error::Error;

/// What is executed for `run`: the words themselves, or a shell when the line asks for one (a pipe, a variable, `&&`).
pub(crate) fn parse(run: &str) -> Result<Vec<String>, Error> {
    if needs_shell(run) {
        return Ok(["/bin/sh", "-c", run].map(str::to_owned).to_vec());
    }
    let words = shlex::split(run).unwrap_or_default();
    if words.is_empty() {
        return Err(Error::failed(format!("`{run}` is not a command line; close its quotes and name a program")));
    }
    Ok(words)
}

/// Whether a character outside quotes means something to a shell, or the line begins by setting a variable.
fn needs_shell(run: &str) -> bool {
    let mut characters = run.trim().chars();
    let mut quote = None;
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None | Some('"'), '\\') => drop(characters.next()),
            (None | Some('"'), '$' | '`') => return true,
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | ']' | '{' | '}' | '~' | '#' | '\n') => {
                return true;
            }
            _ => {}
        }
    }
    run.split_whitespace().next().is_some_and(|first| first.contains('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_run_directly_and_shell_lines_by_a_shell() {
        assert_eq!(parse("node dist/server.js").unwrap(), ["node", "dist/server.js"]);
        assert_eq!(
            parse(r#"node -e "console.log(1; 2)" 'a|b' c\ d"#).unwrap(),
            ["node", "-e", "console.log(1; 2)", "a|b", "c d"]
        );
        for line in ["a && b", "echo $HOME", "A=1 b", "cat x | sort", r#"echo "$A""#, "ls *.js", "a > b"] {
            assert_eq!(parse(line).unwrap(), ["/bin/sh", "-c", line]);
        }
        for line in ["", "  ", "echo 'a"] {
            assert!(parse(line).unwrap_err().to_string().contains("is not a command line"), "{line}");
        }
    }
}

use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(text: &str) -> Parsed {
    let (over, under) =
        (map(&[("HOME", "/root"), ("WINS", "process")]), map(&[("BELOW", "earlier"), ("WINS", "file")]));
    parse(text, Around { over: &over, under: &under })
}

#[track_caller]
fn gives(text: &str, expected: &[(&str, &str)]) {
    let parsed = read(text);
    assert_eq!(parsed.faults, [], "{text:?}");
    let seen: Vec<(&str, &str)> = parsed.entries.iter().map(|e| (e.name.as_str(), e.value.as_str())).collect();
    assert_eq!(seen, expected, "{text:?}");
}

#[track_caller]
fn faults(text: &str, expected: &[&str]) -> Parsed {
    let parsed = read(text);
    let seen: Vec<String> = parsed.faults.iter().map(|f| format!("{} {}: {}", f.line, f.code, f.message)).collect();
    assert_eq!(seen, expected, "{text:?}");
    parsed
}

#[test]
fn plain_lines_comments_and_blanks() {
    gives("", &[]);
    gives("\n  \n# note\n\t# another\nA=1\n", &[("A", "1")]);
    gives("A=1", &[("A", "1")]);
    gives("  A = 1  \nB=two words \t\nC=\nD=   \n", &[("A", "1"), ("B", "two words"), ("C", ""), ("D", "")]);
    gives(
        "export A=1\nexport\tB=2\nexported=3\nexport=4\n",
        &[("A", "1"), ("B", "2"), ("exported", "3"), ("export", "4")],
    );
    gives(
        "A=1 # note\nB=a#b\nC=#fff\nD= # note\nE=a #\nF=x\t# y\n",
        &[("A", "1"), ("B", "a#b"), ("C", "#fff"), ("D", ""), ("E", "a"), ("F", "x")],
    );
    gives(
        "A=a=b==\nB=it's\nC=say \"hi\"\nD=C:\\data\\new\n",
        &[("A", "a=b=="), ("B", "it's"), ("C", "say \"hi\""), ("D", "C:\\data\\new")],
    );
}

#[test]
fn windows_files_and_a_byte_order_mark() {
    gives(
        "\u{feff}A=1\r\nB='x'\r\nC=\"p\r\nq\"\r\n# c\r\n\r\nD=$A\r\n",
        &[("A", "1"), ("B", "x"), ("C", "p\nq"), ("D", "1")],
    );
}

#[test]
fn quotes() {
    gives(
        "A='x $HOME \\n # y' # c\nB=''\nC='say \"hi\"'#c\n",
        &[("A", "x $HOME \\n # y"), ("B", ""), ("C", "say \"hi\"")],
    );
    gives(r#"A="a\nb\tc\rd\\e\"f\$g\qh" # note"#, &[("A", "a\nb\tc\rd\\e\"f$g\\qh")]);
    gives("A=\"one\ntwo # not a note\n\nB=3\"\nC=4\n", &[("A", "one\ntwo # not a note\n\nB=3"), ("C", "4")]);
    gives("A='one\ntwo'\nB=\"joined \\\nlines\"\n", &[("A", "one\ntwo"), ("B", "joined lines")]);
    gives("A=\"it's\"\nB=\"\"\n", &[("A", "it's"), ("B", "")]);
    let parsed = read("A=\"1\n2\n3\"\nB=4\nnonsense\n");
    assert_eq!(parsed.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 4]);
    assert_eq!(parsed.faults[0].line, 5);
}

#[test]
fn references() {
    // what dotenvy 0.15 fails on
    gives("A=1\nB=\"x $A\" # c\n", &[("A", "1"), ("B", "x 1")]);
    gives("A=1\nB=${A}2$A.$A-${A}\n", &[("A", "1"), ("B", "121.1-1")]);
    gives("A=${HOME}/data\nB=$BELOW\nC=$A\n", &[("A", "/root/data"), ("B", "earlier"), ("C", "/root/data")]);
    gives(
        "A=${NO:-x y}\nB=${NO-z}\nE=\nC=${E:-d}\nD=${E-d}\nF=${NO:-}\n",
        &[("A", "x y"), ("B", "z"), ("E", ""), ("C", "d"), ("D", ""), ("F", "")],
    );
    gives("A=${NO:-${ALSO_NO:-${HOME}}/x}\n", &[("A", "/root/x")]);
    gives("A=$ $1 $$ a$ \\$HOME \\${HOME}\nB=\"\\$HOME $\"\n", &[("A", "$ $1 $$ a$ $HOME ${HOME}"), ("B", "$HOME $")]);
    // the process environment wins against the file, the file against earlier files
    gives(
        "WINS=own\nA=$WINS\nBELOW=own\nB=$BELOW\n",
        &[("WINS", "own"), ("A", "process"), ("BELOW", "own"), ("B", "own")],
    );
    // a value is never read a second time
    gives("A='$HOME'\nB=$A\n", &[("A", "$HOME"), ("B", "$HOME")]);
    gives("PATHS=$BELOW:more\n", &[("PATHS", "earlier:more")]);
}

#[test]
fn every_fault_is_found_with_its_line() {
    let parsed = faults(
        "GOOD=1\nno equals sign\nKEY: value\n=x\n2ND=x\na-b=c\nA=\"x\" y\nB=pa$word\nC=${HOME\nD=${HOME:?no}\nE=$F\nF=1\nG='open\n",
        &[
            "2 not-a-variable: this is not `NAME=value`",
            "3 not-a-variable: this is not `NAME=value`",
            "4 not-a-variable: this is not `NAME=value`",
            "5 bad-name: `2ND` is not a variable's name",
            "6 bad-name: `a-b` is not a variable's name",
            "7 after-quote: something follows the closing quote of `A`",
            "8 unset-reference: the value of `B` has a `$` followed by a name that is set nowhere",
            "9 bad-reference: a `${` in the value of `C` is never closed",
            "10 bad-reference: a `${...}` in the value of `D` cannot be understood",
            "11 unset-reference: `E` refers to `F`, which is set only in line 12",
            "13 open-quote: the single quote before the value of `G` is never closed",
        ],
    );
    assert_eq!(parsed.faults[1].mend, "write `=` where the `:` is");
    assert_eq!(parsed.values()["GOOD"], "1");
    let problem = parsed.faults[6].problem(".env");
    assert!(problem.message.starts_with("`.env` line 8: the value of `B` has a `$`"));
    assert_eq!(problem.key, "B");
}

#[test]
fn a_name_set_twice_is_a_warning_and_the_last_counts() {
    let parsed = faults("A=1\nB=2\nA=3\n", &["3 set-twice: `A` is set again, the value of line 1 does not count"]);
    assert_eq!(parsed.faults[0].severity, Severity::Warning);
    assert_eq!(parsed.values(), map(&[("A", "3"), ("B", "2")]));
}

#[test]
fn an_open_quote_does_not_swallow_the_faults_after_it() {
    faults(
        "A=\"open\nB=1\nbroken\n",
        &[
            "1 open-quote: the double quote before the value of `A` is never closed",
            "3 not-a-variable: this is not `NAME=value`",
        ],
    );
}

#[test]
fn a_key_without_quotes_is_one_fault_and_none_of_it_becomes_a_name() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEsecret==\nmore/secret\n-----END PRIVATE KEY-----\n";
    let parsed = faults(
        &format!("KEY={key}B=1\n"),
        &["1 open-quote: the value of `KEY` goes over several lines without quotes"],
    );
    assert_eq!(parsed.values(), map(&[("KEY", ""), ("B", "1")]));
    gives(&format!("KEY=\"{key}\"\n"), &[("KEY", key)]);
}

#[test]
fn depth_is_bounded() {
    let deep = format!("A={}{}\n", "${NO:-".repeat(5000), "}".repeat(5000));
    faults(&deep, &["1 bad-reference: a `${...}` in the value of `A` cannot be understood"]);
}

proptest! {
    #[test]
    fn a_written_line_is_read_back(value in prop_oneof!["[^\0]{0,40}", "[ '\"\\\\$#\n\r\t{}a=-]{0,20}"]) {
        let parsed = read(&format!("{}B=1\n", line("A", &value)));
        prop_assert_eq!(&parsed.faults, &[]);
        let values = parsed.values();
        prop_assert_eq!((values["A"].as_str(), values["B"].as_str()), (value.as_str(), "1"));
    }

    #[test]
    fn no_text_makes_it_panic_or_loses_a_line(text in "([A-C]?[=:]?[ '\"\\\\$#{}:a\n\r-]{0,6}){0,12}") {
        let parsed = read(&text);
        let lines = text.matches('\n').count() + 1;
        prop_assert!(parsed.faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
    }

    /// Wherever the value stands and however it is damaged, no message shows it.
    #[test]
    fn no_message_shows_a_value(
        before in "(A=|A: |A='|A=\"|A=\\$|A=\\$\\{|A=\"x\" |A=\\$\\{NO:-\"|)", after in "['\"}#$ ]{0,3}",
    ) {
        let secret = "hunter2hunter2";
        let parsed = read(&format!("{before}{secret}{after}\n{before}{secret}{after}"));
        let shown = format!("{parsed:?}");
        prop_assert!(!shown.contains(secret), "{}", shown);
    }
}

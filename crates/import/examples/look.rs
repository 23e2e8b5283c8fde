fn main() {
    let imported = import::import(std::env::args().nth(1).unwrap().as_ref());
    match imported { Ok(i) => { println!("{}", i.stack); for e in i.report.entries { println!("{:?}:{:<4} {:<8} {:<50} {} {}", e.file, e.line.unwrap_or(0), e.fate.as_str(), e.key, e.trap.map(|t| t.to_string()).unwrap_or_default(), e.reason); } }, Err(e) => println!("error: {e}") }
}

//! Asks a person, without holding up what is kept alive meanwhile.

use std::{io::Write, time::Duration};

use tokio::sync::oneshot;

use crate::progress::Progress;

/// Asks on the terminal and waits for the answer, at most for `patience`. Fails with the reason when it is not yes.
pub(super) async fn ask(question: &str, patience: Duration, progress: &Progress) -> Result<(), String> {
    progress.rest();
    let _ = write!(anstream::stderr(), "  ? {question} [y/N] ");
    let (tell, told) = oneshot::channel();
    // not a task of the runtime, which would wait for the answer before the program may end
    std::thread::spawn(move || {
        let mut answer = String::new();
        let _ = tell.send(std::io::stdin().read_line(&mut answer).map(|_| answer));
    });
    let answer = tokio::select! {
        answer = tokio::time::timeout(patience, told) => answer,
        () = progress.stop_asked() => {
            progress.printer().say("");
            return Err("stopped, as was asked".to_owned());
        }
    };
    progress.go_on();
    match answer {
        Err(_) => {
            progress.printer().say(""); // the question's line is still open
            Err(format!("nobody answered within {}", stack::Period(patience)))
        }
        Ok(Ok(Ok(answer))) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(Ok(Ok(_))) => Err("the answer was no".to_owned()),
        Ok(Ok(Err(error))) => Err(format!("cannot read the answer: {error}")),
        Ok(Err(_)) => Err("cannot read the answer".to_owned()),
    }
}

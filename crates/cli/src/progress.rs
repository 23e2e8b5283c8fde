//! Shows a deploy as it goes: a moving line for a person, plain lines in CI.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::{
    journal::{DeployKind, Outcome, Step},
    watcher::{Progress as Seen, Watcher},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::printer::{BAD, DIM, GOOD, Printer, STRONG, WARN, ago, paint};

/// Tells a person what a deploy does. Clones share the moving line.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    printer: Printer,
    /// The moving line; `None` where nobody watches.
    line: Option<ProgressBar>,
    /// Ctrl-C was pressed.
    stop: Arc<AtomicBool>,
    /// The last note that was printed and stays.
    noted: String,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn new(printer: Printer) -> Self {
        let line = printer.interactive.then(|| {
            let line = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix:10} {elapsed:>5} {wide_msg:.dim}") {
                line.set_style(style);
            }
            line
        });
        let stop = Arc::default();
        Self { printer, line, stop, noted: String::new() }
    }

    /// Listens for Ctrl-C while the answer lives: the first is a request to stop safely, the second an order.
    pub(crate) fn listen(&self) -> Listening {
        let progress = self.clone();
        Listening(tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if progress.stop.swap(true, Ordering::Relaxed) {
                    progress.end();
                    std::process::exit(130);
                }
                progress.say("    stopping safely; press Ctrl-C once more to leave at once and let the host clean up");
            }
        }))
    }

    /// Passes the request to stop on to a build.
    pub(crate) fn when_asked_to_stop(&self, build: release::Stop) -> tokio::task::JoinHandle<()> {
        let stop = Arc::clone(&self.stop);
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            build.request();
        })
    }

    /// Where it prints.
    pub(crate) fn printer(&self) -> Printer {
        self.printer
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        match &self.line {
            Some(line) => line.suspend(|| self.printer.say(text)),
            None => self.printer.say(text),
        }
    }

    /// A line of a build's output: stays in CI, passes by on a terminal.
    pub(crate) fn output(&self, source: &str, text: &str) {
        match &self.line {
            Some(line) => line.set_message(text.to_owned()),
            None => self.printer.say(format_args!("{} {text}", paint(DIM, format_args!("    {source} |")))),
        }
    }

    /// Takes the moving line away.
    pub(crate) fn end(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }

    /// The reason, unless it is the line above.
    fn because(&self, reason: &str) -> String {
        if self.noted == reason { String::new() } else { format!(": {}", reason.replace('\n', "\n    ")) }
    }

    fn begin(&self, step: Step) {
        if let Some(line) = &self.line {
            line.reset_elapsed();
            line.set_prefix(step.to_string());
            line.set_message("");
            line.enable_steady_tick(Duration::from_millis(120));
        }
    }
}

/// Ends with the deploy it listened for.
#[derive(Debug)]
pub(crate) struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watcher for Progress {
    fn asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn see(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Recovering { deploy, by } => {
                self.say(format_args!(
                    "  {} deploy #{deploy} of {by} was not finished: cleaning up first",
                    paint(WARN, "!")
                ));
            }
            Seen::Started { deploy, kind: DeployKind::AutomaticRollback } => {
                self.say(format_args!("  {} going back to the release before, as deploy #{deploy}", paint(WARN, "!")));
            }
            Seen::Started { .. } | Seen::Wanted { .. } => {}
            Seen::StepStarted { step } => self.begin(*step),
            Seen::StepEnded { step, millis } => {
                let time = ago(Duration::from_millis(*millis).as_secs_f64());
                self.say(format_args!("  {} {:<10} {}", paint(GOOD, "✓"), step.to_string(), paint(DIM, time)));
            }
            Seen::Note { text } => match &self.line {
                Some(line) => line.set_message((*text).to_owned()),
                None => {
                    self.printer.say(format_args!("    {}", text.replace('\n', "\n    ")));
                    (*text).clone_into(&mut self.noted);
                }
            },
            Seen::Stage { percent } => {
                self.say(format_args!("    {} of the visitors", paint(STRONG, format_args!("{percent} %"))))
            }
            Seen::Ended { outcome, .. } => {
                self.end();
                match outcome {
                    Outcome::Succeeded => {}
                    Outcome::Failed { step, reason } => {
                        let at = step.map(|step| format!(" at {step}")).unwrap_or_default();
                        self.printer.say(format_args!("  {} failed{at}{}", paint(BAD, "✗"), self.because(reason)));
                    }
                    Outcome::RolledBack { reason } => {
                        self.printer.say(format_args!("  {} rolled back{}", paint(BAD, "✗"), self.because(reason)));
                    }
                }
            }
        }
    }
}

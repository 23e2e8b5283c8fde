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
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::printer::{BAD, DIM, GOOD, Printer, STRONG, WARN, ago, paint};

/// Between two pictures of the moving line.
const TICK: Duration = Duration::from_millis(120);

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

    /// Listens for Ctrl-C, and for a CI system or a closed terminal that ends this program, while the answer lives: the
    /// first is a request to stop safely, the second an order.
    pub(crate) fn listen(&self) -> Listening {
        let progress = self.clone();
        let asked = Stopping::new();
        Listening(tokio::spawn(async move {
            let Ok(mut asked) = asked else { return };
            loop {
                asked.wait().await;
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
        let progress = self.clone();
        tokio::spawn(async move {
            progress.stop_asked().await;
            build.request();
        })
    }

    /// Until somebody asks to stop.
    pub(crate) async fn stop_asked(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes the moving line away while a person is asked.
    pub(crate) fn rest(&self) {
        self.end();
    }

    /// Moves the line on afterwards.
    pub(crate) fn go_on(&self) {
        if let Some(line) = &self.line {
            let elapsed = line.elapsed();
            line.reset();
            line.set_elapsed(elapsed);
            line.enable_steady_tick(TICK);
        }
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

    /// Something that passes by, and is not worth a line where nobody watches.
    pub(crate) fn passing(&self, what: &str, text: &str) {
        if let Some(line) = &self.line {
            line.set_message(format!("{what} {text}"));
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
            line.enable_steady_tick(TICK);
        }
    }
}

/// What asks this program to end: Ctrl-C, a supervisor's TERM, a terminal that closes.
#[derive(Debug)]
pub(crate) struct Stopping {
    interrupt: Signal,
    terminate: Signal,
    /// Not under `nohup`, which asks to go on without the terminal.
    hangup: Option<Signal>,
}

impl Stopping {
    /// Listens from now on.
    pub(crate) fn new() -> std::io::Result<Self> {
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Until it is asked.
    pub(crate) async fn wait(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether this program was started to ignore HUP. Source: `proc_pid_status(5)`, signal 1 is the lowest bit.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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
            Seen::Note { text } => {
                if let Some(line) = &self.line {
                    line.set_message((*text).to_owned());
                } else {
                    self.printer.say(format_args!("    {}", text.replace('\n', "\n    ")));
                    (*text).clone_into(&mut self.noted);
                }
            }
            Seen::Stage { percent } => {
                self.say(format_args!("    {} of the visitors", paint(STRONG, format_args!("{percent} %"))));
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

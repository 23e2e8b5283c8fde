//! Output of many hosts as one, by time.

use std::{collections::VecDeque, time::Duration};

use agent::{Logs, protocol::LogLine};
use engine::target::TargetError;
use futures_util::future::select_all;

/// How long a line waits for an earlier one of another host.
const GRACE: Duration = Duration::from_millis(150);

/// Lines of output as they come, each with the name of its host.
#[derive(Debug)]
pub struct Lines {
    sources: Vec<Source>,
    /// The newest of the past that are wanted, once they are all there.
    past: Option<Past>,
}

/// The lines of before: hosts give as many each as are wanted in all.
#[derive(Debug)]
struct Past {
    wanted: usize,
    follow: bool,
    lines: Option<VecDeque<(String, LogLine)>>,
}

#[derive(Debug)]
struct Source {
    host: String,
    logs: Logs,
    /// The next line, read already.
    next: Option<LogLine>,
    ended: bool,
}

impl Source {
    /// Reads the next line unless it is there; says whether there is one.
    async fn fill(&mut self) -> Result<bool, TargetError> {
        if self.next.is_none() && !self.ended {
            match self.logs.next().await {
                Some(line) => self.next = Some(line?),
                None => self.ended = true,
            }
        }
        Ok(self.next.is_some())
    }
}

impl Lines {
    /// Merges the lines of hosts; of the past at most the `wanted` newest of all.
    pub(crate) fn new(sources: Vec<(String, Logs)>, wanted: usize, follow: bool) -> Self {
        let source = |(host, logs)| Source { host, logs, next: None, ended: false };
        let past = (sources.len() > 1).then_some(Past { wanted, follow, lines: None });
        Self { sources: sources.into_iter().map(source).collect(), past }
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<(String, LogLine), TargetError>> {
        match self.find_next().await {
            Ok(line) => line.map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    async fn find_next(&mut self) -> Result<Option<(String, LogLine)>, TargetError> {
        let Some(past) = &mut self.past else { return self.merged().await };
        if past.follow {
            return self.merged().await;
        }
        let (wanted, ready) = (past.wanted, past.lines.is_some());
        if !ready {
            let mut lines = VecDeque::new();
            while let Some(line) = self.merged().await? {
                lines.push_back(line);
                if lines.len() > wanted {
                    lines.pop_front();
                }
            }
            if let Some(past) = &mut self.past {
                past.lines = Some(lines);
            }
        }
        Ok(self.past.as_mut().and_then(|past| past.lines.as_mut()).and_then(VecDeque::pop_front))
    }

    /// The earliest line that is there, after a moment's wait for those of silent hosts.
    async fn merged(&mut self) -> Result<Option<(String, LogLine)>, TargetError> {
        // until there is one at all
        loop {
            if self.sources.iter().any(|source| source.next.is_some()) {
                break;
            }
            self.sources.retain(|source| !source.ended);
            if self.sources.is_empty() {
                return Ok(None);
            }
            let waiting = self.sources.iter_mut().map(|source| Box::pin(source.fill()));
            select_all(waiting).await.0?;
        }
        let grace = tokio::time::sleep(GRACE);
        tokio::pin!(grace);
        loop {
            let waiting: Vec<_> = self
                .sources
                .iter_mut()
                .filter(|source| source.next.is_none() && !source.ended)
                .map(|source| Box::pin(source.fill()))
                .collect();
            if waiting.is_empty() {
                break;
            }
            tokio::select! {
                (filled, ..) = select_all(waiting) => { filled?; }
                () = &mut grace => break,
            }
        }
        let earliest = self.sources.iter_mut().filter(|source| source.next.is_some());
        let earliest = earliest.min_by_key(|source| source.next.as_ref().map(|line| line.at));
        Ok(earliest.and_then(|source| Some((source.host.clone(), source.next.take()?))))
    }
}

//! A gate that opens once: a request's body waits behind it until somebody at the other end of a link takes it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Closed at first.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    /// Lets through whoever waits, and everybody after.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
        if let Some(waiting) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waiting.wake();
        }
    }

    /// Ready once it is open. One at a time may wait.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        // it may have opened before the waker was there
        if self.open.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_once_and_for_all() {
        let gate = std::sync::Arc::new(Gate::default());
        let passes = |gate: std::sync::Arc<Gate>| async move { std::future::poll_fn(|cx| gate.poll(cx)).await };
        let waiting = tokio::spawn(passes(gate.clone()));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open();
        waiting.await.unwrap();
        passes(gate).await;
    }
}

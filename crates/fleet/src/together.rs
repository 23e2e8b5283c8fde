//! Many hosts are asked at once, and nobody waits long for the last one that says nothing.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

/// Once half of the hosts have answered, the others have so long from the last answer on.
const GRACE: Duration = Duration::from_secs(3);

/// How many times as long as the slowest of those that answered they have at least: all may be far away.
const SLOWER: u32 = 2;

/// Asks all of `asks` at the same time and returns what they answered, in order. `None`: at least half of the others
/// `are_good` and this one was silent for [`GRACE`] since the last of them. While fewer are good, or they still come in,
/// every one is waited for.
pub async fn together<T>(
    asks: impl Iterator<Item = impl Future<Output = T>>,
    is_good: impl Fn(&T) -> bool,
) -> Vec<Option<T>> {
    let mut waiting: Vec<Option<Pin<Box<_>>>> = asks.map(|ask| Some(Box::pin(ask))).collect();
    let mut answers: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    let began = Instant::now();
    let (mut good, mut last) = (0, began);
    let mut alarm = Box::pin(tokio::time::sleep(Duration::ZERO));
    poll_fn(|cx| {
        for (ask, answer) in waiting.iter_mut().zip(&mut answers) {
            if let Some(future) = ask
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                if is_good(&value) {
                    (good, last) = (good + 1, Instant::now());
                }
                (*ask, *answer) = (None, Some(value));
            }
        }
        if waiting.iter().all(Option::is_none) {
            return Poll::Ready(());
        }
        let Some(patience) = patience(good, answers.len(), last - began) else { return Poll::Pending };
        alarm.as_mut().reset(last + patience);
        alarm.as_mut().poll(cx)
    })
    .await;
    answers
}

/// How long the others are waited for once `good` of `all` have answered, the slowest of them within `slowest`; `None`:
/// as long as they take.
fn patience(good: usize, all: usize, slowest: Duration) -> Option<Duration> {
    (good * 2 >= all).then(|| GRACE.max(slowest * SLOWER))
}

/// How long [`together`] waits for one that is silent when the others answer at once, in seconds.
pub(crate) fn grace() -> u64 {
    GRACE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn who_is_silent_is_waited_for_until_half_have_answered_and_then_as_long_as_they_took() {
        assert_eq!(patience(1, 3, seconds(1)), None, "most are silent");
        assert_eq!(patience(2, 3, Duration::from_millis(200)), Some(seconds(3)));
        assert_eq!(patience(1, 2, seconds(0)), Some(seconds(3)));
        assert_eq!(patience(19, 20, seconds(4)), Some(seconds(8)), "all are far away");
    }

    #[tokio::test]
    async fn a_silent_one_is_given_up_and_the_others_keep_their_places() {
        let asks = [Some(1), None, Some(3)].map(|answer| async move {
            match answer {
                Some(number) => number,
                None => std::future::pending().await,
            }
        });
        let began = Instant::now();
        assert_eq!(together(asks.into_iter(), |_| true).await, [Some(1), None, Some(3)]);
        assert!(began.elapsed() >= GRACE);
        let none: [std::future::Ready<u8>; 0] = [];
        assert_eq!(together(none.into_iter(), |_| true).await, []);
    }
}

//! Whether our clock and the queue's agree.

use dalsegno_scheduler::{Span, Timestamp};

/// Less than this is what networks and machines make of time.
const TOLERANCE: Span = Span::from_secs(60);

/// The times that a message brings, by the queue's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) first_received_at: Option<Timestamp>,
    pub(crate) is_first_receipt: bool,
}

/// What a person should know when a message that came at `now` shows that the clocks disagree.
pub(crate) fn disagreement(now: Timestamp, times: Times) -> Option<String> {
    // A message that waited tells nothing of the present, but nothing can be sent in the future.
    let theirs = match times.first_received_at.filter(|_| times.is_first_receipt) {
        Some(received) => received,
        None => times.sent_at.filter(|it| *it > now)?,
    };
    let ahead = now - theirs;
    let said = |by: Span, word: &str| {
        let by = Span::from_secs(by.0 / 1_000_000);
        Some(format!(
            "this machine's clock is {by} {word} that of the queue; set it by NTP: requests are refused when they \
             differ by 15 min, and times in the ledger are wrong"
        ))
    };
    if ahead > TOLERANCE {
        said(ahead, "ahead of")
    } else if ahead < Span(-TOLERANCE.0) {
        said(Span(-ahead.0), "behind")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp::from_secs(1_000_000 + seconds))
    }

    #[test]
    fn clocks_that_disagree_are_told_in_both_directions() {
        let first = |seconds| Times {
            sent_at: at(-9_000),
            first_received_at: at(seconds),
            is_first_receipt: true,
        };
        assert_eq!(disagreement(NOW, first(-59)), None);
        let ahead = disagreement(NOW, first(-120)).expect("two minutes");
        assert!(ahead.contains("2m ahead of"), "{ahead}");
        let behind = disagreement(NOW, first(300)).expect("five minutes");
        assert!(behind.contains("5m behind"), "{behind}");
    }

    #[test]
    fn a_message_that_waited_shows_only_a_clock_that_is_behind() {
        let again = |sent| Times {
            sent_at: at(sent),
            first_received_at: at(-9_000),
            is_first_receipt: false,
        };
        assert_eq!(disagreement(NOW, again(-9_000)), None);
        assert_eq!(disagreement(NOW, again(30)), None);
        assert!(disagreement(NOW, again(90)).is_some_and(|it| it.contains("behind")));
        assert_eq!(disagreement(NOW, Times::default()), None);
    }
}

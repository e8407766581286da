//! The account by itself, against a sliding log of every single submission.

use super::*;
use proptest::prelude::*;

proptest! {
    /// Whoever dies at any moment and reads what was written: no 60 s see more than the limit.
    #[test]
    fn no_sixty_seconds_see_more_than_the_limit(
        limit in 1_u32..60,
        steps in prop::collection::vec((0_i64..4_000_000, 1_u32..40, prop::bool::weighted(0.1)), 1..300),
    ) {
        let mut ledger = Ledger::new(limit);
        let mut now = 0;
        let mut written: Option<String> = None;
        let mut sent: Vec<Micros> = Vec::new();
        for (wait, want, dies) in steps {
            now += wait;
            if dies {
                ledger = match &written {
                    None => Ledger::new(limit),
                    Some(text) => Ledger::read(limit, text, 77, now).expect("it was written"),
                };
            }
            for _ in 0..want {
                if !ledger.give(now) {
                    if ledger.reserve(now, want).is_err() {
                        break;
                    }
                    written = Some(ledger.write(77));
                    prop_assert!(ledger.give(now));
                }
                sent.push(now);
            }
            let recent = sent.iter().filter(|it| **it > now - WINDOW).count();
            prop_assert!(recent <= limit as usize, "{} in 60 s", recent);
        }
    }
}

#[test]
fn what_was_given_out_by_nobody_is_free_again_and_what_is_unknown_is_not() {
    let mut ledger = Ledger::new(100);
    ledger.reserve(0, 80).expect("room");
    assert!(ledger.give(0));
    let written = ledger.write(0);
    ledger.reserve(EVERY, 99).expect("only one went out");
    assert_eq!(ledger.block.expect("reserved").size, 99);

    let mut heir = Ledger::read(100, &written, 0, EVERY).expect("readable");
    heir.reserve(EVERY, 99).expect("room");
    assert_eq!(heir.block.expect("reserved").size, 20);
}

#[test]
fn a_clock_that_was_ahead_holds_nobody_up_for_longer_than_a_window() {
    let text = "[[99999999999999, 100]]";
    let mut ledger = Ledger::read(100, text, 0, 0).expect("readable");
    assert_eq!(ledger.reserve(0, 1), Err(BLOCK + WINDOW));
    ledger.reserve(BLOCK + WINDOW, 1).expect("room again");
}

#[test]
fn what_cannot_be_read_is_taken_for_a_full_minute() {
    assert!(Ledger::read(100, "nonsense", 0, 0).is_none());
    assert_eq!(full(100, 0).reserve(1, 1), Err(WINDOW));
}

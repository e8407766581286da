//! How long a test waits for what must come.

use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again, ever more slowly, until there is an answer. For things that send no word when they happen,
/// such as the end of a process that is not our child; for all else wait for the event itself.
///
/// # Panics
/// When [`PATIENCE`] ends; `what` says what did not come.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: did not come within {PATIENCE:?}"
        );
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

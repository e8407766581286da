//! A clock that jumps to what is next whenever nothing else can go on.

use crate::config::AwsConfig;
use crate::guard::clock::{Clock, Micros};
use crate::guard::{CallError, Guard};
use dalsegno_scheduler::Timestamp;
use dalsegno_store::{MemoryStore, Store};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Default)]
pub(super) struct Virtual {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    now: Micros,
    count: u64,
    sleepers: BTreeMap<(Micros, u64), oneshot::Sender<()>>,
}

/// Noon of a day; what the clock starts with.
const START: i64 = 1_800_000_000_000_000;

impl Clock for Virtual {
    fn now(&self) -> Micros {
        self.inner.lock().expect("not poisoned").now
    }

    fn wall(&self) -> Timestamp {
        Timestamp(START + self.now())
    }

    fn sleep_until(&self, at: Micros) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (sender, woken) = oneshot::channel();
        let mut inner = self.inner.lock().expect("not poisoned");
        if at <= inner.now {
            return Box::pin(tokio::task::yield_now());
        }
        inner.count += 1;
        let count = inner.count;
        inner.sleepers.insert((at, count), sender);
        Box::pin(async {
            woken.await.ok();
        })
    }
}

impl Virtual {
    pub(super) async fn sleep(&self, span: Duration) {
        let at = self.now() + i64::try_from(span.as_micros()).expect("short");
        self.sleep_until(at).await;
    }

    /// Wakes who sleeps shortest. False if nobody does.
    fn jump(&self) -> bool {
        let mut inner = self.inner.lock().expect("not poisoned");
        // Those that nobody waits for any more do not move the time.
        inner.sleepers.retain(|_, it| !it.is_closed());
        let Some(((at, _), sleeper)) = inner.sleepers.pop_first() else {
            return false;
        };
        inner.now = inner.now.max(at);
        sleeper.send(()).ok();
        true
    }
}

/// Runs what it is given while its clock jumps.
pub(super) fn run<F: Future>(story: impl FnOnce(Arc<Virtual>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let clock = Arc::new(Virtual::default());
    let story = story(Arc::clone(&clock));
    runtime.block_on(async {
        let mut story = std::pin::pin!(story);
        let mut stuck = 0;
        loop {
            // Everything that can go on does so before time passes.
            for _ in 0..20 {
                tokio::select! {
                    biased;
                    done = &mut story => return done,
                    () = tokio::task::yield_now() => {}
                }
            }
            stuck = if clock.jump() { 0 } else { stuck + 1 };
            assert!(stuck < 1_000, "everything waits for nothing");
        }
    })
}

pub(super) fn guard(clock: &Arc<Virtual>) -> Arc<Guard> {
    guard_over(clock, &(Arc::new(MemoryStore::new()) as Arc<dyn Store>))
}

pub(super) fn guard_over(clock: &Arc<Virtual>, store: &Arc<dyn Store>) -> Arc<Guard> {
    let clock = Arc::clone(clock);
    Arc::new(Guard::with(&config(), Arc::clone(store), clock))
}

pub(super) fn config() -> AwsConfig {
    AwsConfig {
        installation: "abcd1234".to_owned(),
        instance: "one".to_owned(),
        region: Some("eu-west-1".to_owned()),
        queues: vec!["main".to_owned()],
        ..AwsConfig::default()
    }
}

pub(super) fn throttled() -> CallError {
    CallError::Throttled {
        message: "Rate exceeded".to_owned(),
        retry_after: None,
    }
}

//! The guard of calls to AWS, as pages and the API ask for it.

use dalsegno_engine::{Code, Problem};
use dalsegno_executor_aws::guard::{Guard, Manual};
use dalsegno_web::{BreakerView, Breakers, ByHand, Later};
use std::sync::Arc;

pub(crate) struct Guarded {
    pub(crate) guard: Arc<Guard>,
    /// The only one that anything is called through; `None`: all.
    pub(crate) only: Option<&'static str>,
}

impl Breakers for Guarded {
    fn all(&self) -> Vec<BreakerView> {
        let (calls, errors) = (self.guard.calls(), self.guard.errors());
        // A service's calls are those of all its breakers.
        let is_of = |name: &str, api: &str| api == name || api.starts_with(&format!("{name}:"));
        let view = |it: dalsegno_executor_aws::guard::BreakerState| BreakerView {
            calls: calls
                .iter()
                .filter(|(api, _)| is_of(&it.name, &api.to_string()))
                .map(|(_, count)| count)
                .sum(),
            errors: errors
                .iter()
                .filter(|(api, ..)| is_of(&it.name, &api.to_string()))
                .map(|(_, _, count)| count)
                .sum(),
            name: it.name,
            state: it.state.as_str(),
            by_hand: match it.manual {
                Manual::Auto => None,
                by_hand => Some(by_hand.as_str()),
            },
            failures: it.failures,
            opened_at: it.opened_at,
            retry_at: it.retry_at,
            last_error: it.last_error,
        };
        let all = self.guard.breakers().into_iter();
        let all = all.filter(|it| self.only.is_none_or(|only| it.name == only));
        all.map(view).collect()
    }

    fn set(&self, name: String, to: ByHand) -> Later<()> {
        let guard = Arc::clone(&self.guard);
        Box::pin(async move {
            let manual = match to {
                ByHand::Open => Manual::Open,
                ByHand::Close => Manual::Closed,
                ByHand::Auto => Manual::Auto,
            };
            let set = guard.set(&name, manual).await;
            set.map_err(|error| Problem::new(Code::UnknownBreaker, error.to_string()))
        })
    }
}

//! What is worked out by us when an execution starts, and where in its input it lies.

use dalsegno_scheduler::StepName;
use dalsegno_scheduler::expr::{Expr, Template};
use dalsegno_scheduler::spec::ScopeIndex;
use std::collections::{BTreeMap, BTreeSet};

/// A value of the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Its JSON; left out when it cannot be evaluated.
    Value(Template),
    /// As an environment variable shows it; empty when it cannot be evaluated ([`Kind::Go`] tells).
    Text(Template),
    /// `T` or `F`; `E` when it cannot be evaluated.
    Truth(Expr),
    /// Whether a node is taken: `E` when one of `fallible` cannot be evaluated after `when` was true.
    Go {
        when: Option<Expr>,
        fallible: Vec<Template>,
        /// This too, and also when it is no list.
        list: Option<Template>,
    },
}

/// By scope: those of the root lie at `$.x.s`, those of a foreach in each of its items, at `$.it.s`.
pub type AllSlots = BTreeMap<ScopeIndex, Vec<Kind>>;

/// The slots as seen from inside a scope.
pub(super) struct Slots<'a> {
    pub all: &'a mut AllSlots,
    pub scope: ScopeIndex,
    /// Items are known when the execution starts.
    pub has_items: bool,
    /// Steps whose outputs are known when the execution starts.
    pub done: &'a BTreeSet<StepName>,
}

impl Slots<'_> {
    /// Where this will lie. Asking for the same twice gives the same place.
    pub(super) fn add(&mut self, kind: Kind) -> String {
        let exprs: Vec<&Expr> = match &kind {
            Kind::Value(it) | Kind::Text(it) => it.exprs().collect(),
            Kind::Truth(it) => vec![it],
            Kind::Go {
                when,
                fallible,
                list,
            } => {
                let templates = fallible.iter().chain(list);
                when.iter()
                    .chain(templates.flat_map(Template::exprs))
                    .collect()
            }
        };
        let own = exprs.iter().any(|it| uses_item(it));
        let (scope, place) = match own {
            true => (self.scope, "$.it.s"),
            false => (ScopeIndex::ROOT, "$.x.s"),
        };
        let slots = self.all.entry(scope).or_default();
        let number = slots.iter().position(|it| *it == kind).unwrap_or_else(|| {
            slots.push(kind);
            slots.len() - 1
        });
        format!("{place}.k{number}")
    }

    pub(super) fn value(&mut self, template: &Template) -> String {
        self.add(Kind::Value(template.clone()))
    }

    /// Whether it can be evaluated when the execution starts.
    pub(super) fn is_known(&self, expr: &Expr) -> bool {
        let names = expr.names();
        names.roots.iter().all(|root| match root.as_str() {
            "item" | "items" | "item_index" => self.has_items,
            // Those that are not named one by one are not known to be done.
            "steps" => {
                !names.steps.is_empty()
                    && names.steps.iter().all(|it| self.done.contains(it.as_str()))
            }
            _ => true,
        })
    }
}

pub(super) fn uses_item(expr: &Expr) -> bool {
    let roots = &expr.names().roots;
    ["item", "items", "item_index"]
        .iter()
        .any(|it| roots.contains(*it))
}

//! What the graph is made of, before anything has a place: cards, frames around foreach blocks, edges.

use dalsegno_scheduler::spec::{Command, FlowSpec, HookOn, Items, Route, ScopeIndex, StepSpec};
use dalsegno_scheduler::{Flow, StepName};
use std::collections::{BTreeMap, BTreeSet};

/// More parallel steps than this with the same neighbours become one card.
pub(super) const SIBLINGS_MAX: usize = 12;

/// One scope: its items, and edges between them by number.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) items: Vec<Item>,
    pub(super) edges: Vec<(usize, usize)>,
}

/// What is special about a step, beside how many tasks it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Goes on to some of its successors only.
    pub switch: bool,
    /// May go on to itself.
    pub again: bool,
    /// Runs as several processes that know each other.
    pub gang: bool,
    /// Stands beside the graph: called when the run is over.
    pub hook: Option<HookOn>,
}

impl Mark {
    fn of(step: &StepSpec) -> Self {
        Self {
            switch: step.route == Route::Switch,
            again: step.after.contains(&step.name),
            gang: matches!(&step.run, Command::Metaflow(it) if it.parallel),
            hook: step.hook,
        }
    }
}

#[derive(Debug)]
pub(super) enum Item {
    Card {
        steps: Vec<StepName>,
        /// A step with a foreach of its own: many tasks.
        each: bool,
        mark: Mark,
    },
    Frame {
        name: StepName,
        /// What people read above it.
        title: String,
        inside: Shape,
    },
}

impl Item {
    pub(super) fn id(&self) -> String {
        match self {
            Self::Card { steps, .. } => steps[0].to_string(),
            Self::Frame { name, .. } => format!("block {name}"),
        }
    }

    pub(super) const fn is_switch(&self) -> bool {
        matches!(self, Self::Card { mark, .. } if mark.switch)
    }
}

impl Shape {
    pub(super) fn of(flow: &Flow) -> Self {
        Self::of_scope(flow.spec(), ScopeIndex::ROOT).collapsed()
    }

    /// The steps that stand beside the graph.
    pub(super) fn hooks(flow: &Flow) -> Vec<Item> {
        let steps = flow.spec().steps.iter().filter(|it| it.hook.is_some());
        let hook = |step: &StepSpec| Item::Card {
            steps: vec![step.name.clone()],
            each: false,
            mark: Mark::of(step),
        };
        steps.map(hook).collect()
    }

    fn of_scope(spec: &FlowSpec, scope: ScopeIndex) -> Self {
        let mut shape = Self::default();
        // What a name in `after` stands for, in this scope.
        let mut places: BTreeMap<&StepName, usize> = BTreeMap::new();
        let mut links: Vec<(usize, &[StepName])> = Vec::new();
        let in_graph = |it: &&StepSpec| it.scope == scope && it.hook.is_none();
        for step in spec.steps.iter().filter(in_graph) {
            places.insert(&step.name, shape.items.len());
            links.push((shape.items.len(), &step.after));
            shape.items.push(Item::Card {
                steps: vec![step.name.clone()],
                each: false,
                mark: Mark::of(step),
            });
        }
        for (index, inner) in spec.scopes.iter().enumerate() {
            if inner.parent != scope {
                continue;
            }
            places.insert(&inner.name, shape.items.len());
            links.push((shape.items.len(), &inner.after));
            let number = ScopeIndex(u16::try_from(index + 1).unwrap_or(u16::MAX));
            let mut inside = Self::of_scope(spec, number);
            let alone = inside.items.len() == 1;
            // A block of Metaflow's has no name of its own that says anything.
            let is_reported = inner.items == Items::Reported;
            let item = match inside.items.pop() {
                Some(Item::Card { steps, mark, .. })
                    if alone && (is_reported || steps[0] == inner.name) =>
                {
                    let each = true;
                    Item::Card { steps, each, mark }
                }
                last => {
                    inside.items.extend(last);
                    let title = match (is_reported, inner.after.first()) {
                        (true, Some(split)) => format!("foreach of {split}"),
                        _ => inner.name.to_string(),
                    };
                    Item::Frame {
                        name: inner.name.clone(),
                        title,
                        inside: inside.collapsed(),
                    }
                }
            };
            shape.items.push(item);
        }
        let mut edges = BTreeSet::new();
        for (to, after) in links {
            let from = after.iter().filter_map(|it| places.get(it));
            edges.extend(from.filter(|&&it| it != to).map(|&it| (it, to)));
        }
        shape.edges = edges.into_iter().collect();
        shape
    }

    /// Parallel steps with the same neighbours become one card when there are too many to read.
    fn collapsed(self) -> Self {
        let count = self.items.len();
        let mut before = vec![Vec::new(); count];
        let mut behind = vec![Vec::new(); count];
        for &(from, to) in &self.edges {
            behind[from].push(to);
            before[to].push(from);
        }
        let mut groups: BTreeMap<(&[usize], &[usize]), Vec<usize>> = BTreeMap::new();
        for (index, item) in self.items.iter().enumerate() {
            let plain = Mark::default();
            if matches!(item, Item::Card { each: false, mark, .. } if *mark == plain) {
                let key = (before[index].as_slice(), behind[index].as_slice());
                groups.entry(key).or_default().push(index);
            }
        }
        // Where each item goes: to its own place, or to that of the first of its group.
        let mut leader: Vec<usize> = (0..count).collect();
        for group in groups.values().filter(|it| it.len() > SIBLINGS_MAX) {
            for &index in group {
                leader[index] = group[0];
            }
        }
        let mut places = BTreeMap::new();
        let mut collapsed = Self::default();
        for (index, item) in self.items.into_iter().enumerate() {
            match places.get(&leader[index]) {
                None => {
                    places.insert(leader[index], collapsed.items.len());
                    collapsed.items.push(item);
                }
                Some(&place) => {
                    if let (Item::Card { steps, .. }, Item::Card { steps: more, .. }) =
                        (&mut collapsed.items[place], item)
                    {
                        steps.extend(more);
                    }
                }
            }
        }
        let edges: BTreeSet<_> = self
            .edges
            .iter()
            .map(|(from, to)| (places[&leader[*from]], places[&leader[*to]]))
            .collect();
        collapsed.edges = edges.into_iter().collect();
        collapsed
    }
}

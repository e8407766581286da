//! The graph of a flow, checked by Metaflow's own rules, and the foreach around each step.

use super::declared::{Declared, Kind, Step};
use super::found::Found;
use dalsegno_scheduler::NESTING_MAX;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Ways through a graph of splits and switches that are followed before it counts as a tangle.
const WAYS_MAX: usize = 50_000;

/// A graph that Metaflow accepts and that can be mapped. Numbers are places in [`Declared::steps`].
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// All steps, predecessors first; it depends on the graph alone.
    pub(super) order: Vec<usize>,
    pub(super) nodes: Vec<Node>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Without the step itself.
    pub(super) predecessors: Vec<usize>,
    /// The foreach steps around it, outermost first.
    pub(super) foreach: Vec<usize>,
    /// Of a split or foreach.
    pub(super) join: Option<usize>,
    parents: Vec<usize>,
    branches: Vec<usize>,
}

/// `None` if anything is wrong; it is reported.
pub(super) fn check(declared: &mut Declared, found: &mut Found) -> Option<Shape> {
    let before = found.diagnostics.len();
    let errors = |found: &Found| {
        found.diagnostics[before..]
            .iter()
            .any(|it| it.severity == crate::Severity::Error)
    };
    let ends = find_ends(declared, found);
    let (start, end) = ends?;
    declared.start = Some(declared.steps[start].name.clone());
    declared.end = Some(declared.steps[end].name.clone());
    declared.steps[end].kind = Kind::End;
    let graph = Graph::new(&declared.steps, start, end);
    graph.names(found);
    graph.arguments(found);
    graph.transitions(found);
    if errors(found) {
        return None;
    }
    graph.cycles(found);
    if errors(found) {
        return None;
    }
    graph.reach(found);
    let nodes = graph.walk(found)?;
    graph.switches(found);
    graph.foreaches(found);
    graph.parallel(found);
    let order = graph.order();
    (!errors(found)).then_some(Shape {
        order,
        nodes,
        start,
        end,
    })
}

fn find_ends(declared: &Declared, found: &mut Found) -> Option<(usize, usize)> {
    let steps = &declared.steps;
    if steps.is_empty() {
        let message = format!("the flow `{}` has no steps", declared.class);
        let help = "write at least one method with `@step` above it";
        found.error(&declared.place, "metaflow.no_steps", message, help);
        return None;
    }
    if steps.len() == 1 {
        return Some((0, 0));
    }
    let mut one = |what: &str, marked: fn(&Step) -> bool| -> Option<usize> {
        let all: Vec<usize> = (0..steps.len()).filter(|&it| marked(&steps[it])).collect();
        let named = steps.iter().position(|it| it.name == what);
        match (all.as_slice(), named) {
            ([one], Some(named)) if *one != named => {
                let message = format!(
                    "`{}` is marked as the {what} step, and a step named `{what}` is there too",
                    steps[*one].name
                );
                let help = format!("remove `{what}=True`, or rename the step `{what}`");
                found.error_also(
                    &steps[*one].place,
                    "metaflow.start_end",
                    message,
                    (&steps[named].place, "and here"),
                    help,
                );
                None
            }
            ([one], _) => Some(*one),
            ([], Some(named)) => Some(named),
            ([], None) => {
                let message = format!("the flow `{}` has no {what} step", declared.class);
                let help =
                    format!("name one of the steps `{what}`, or mark it: `@step({what}=True)`");
                found.error(&declared.place, "metaflow.start_end", message, help);
                None
            }
            ([first, second, ..], _) => {
                let message = format!(
                    "two steps are marked as the {what} step, `{}` and `{}`",
                    steps[*first].name, steps[*second].name
                );
                found.error_also(
                    &steps[*second].place,
                    "metaflow.start_end",
                    message,
                    (&steps[*first].place, "and here"),
                    format!("keep one `{what}=True`"),
                );
                None
            }
        }
    };
    let start = one("start", |it| it.marked_start);
    let end = one("end", |it| it.marked_end);
    Some((start?, end?))
}

struct Graph<'a> {
    steps: &'a [Step],
    by_name: HashMap<&'a str, usize>,
    start: usize,
    end: usize,
}

impl<'a> Graph<'a> {
    fn new(steps: &'a [Step], start: usize, end: usize) -> Self {
        Self {
            steps,
            by_name: steps
                .iter()
                .enumerate()
                .map(|(index, it)| (it.name.as_str(), index))
                .collect(),
            start,
            end,
        }
    }

    /// The steps that follow, each once, without a switch's way back to itself.
    fn next(&self, index: usize) -> Vec<usize> {
        let step = &self.steps[index];
        let mut next: Vec<usize> = Vec::new();
        for name in &step.next {
            if let Some(&it) = self.by_name.get(name.as_str())
                && !(it == index && step.kind == Kind::Switch)
                && !next.contains(&it)
            {
                next.push(it);
            }
        }
        next
    }

    fn names(&self, found: &mut Found) {
        const RESERVED: [&str; 5] = ["name", "next", "input", "index", "cmd"];
        for step in self.steps {
            let name = step.name.as_str();
            let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
            if RESERVED.contains(&name) {
                let message =
                    format!("`{name}` cannot be the name of a step: Metaflow uses it itself");
                let help = format!("rename it, for example `{name}_step`");
                found.error(&step.place, "metaflow.step_name", message, help);
            } else if name.starts_with('_') || !name.bytes().all(fits) {
                let message = format!("`{name}` cannot be the name of a step");
                let help = "use lower-case letters, digits and `_`, and do not begin with `_`";
                found.error(&step.place, "metaflow.step_name", message, help);
            }
        }
    }

    fn arguments(&self, found: &mut Found) {
        const CODE: &str = "metaflow.arguments";
        for (index, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            match step.arguments {
                0 => found.error(
                    &step.place,
                    CODE,
                    format!("the step `{name}` lacks the argument `self`"),
                    format!("write `def {name}(self):`"),
                ),
                1 => {}
                2 if index == self.end => found.error(
                    &step.place,
                    CODE,
                    format!("the end step `{name}` cannot be a join"),
                    "put a step before it that takes `inputs`, and end with a plain step",
                ),
                2 if matches!(
                    step.kind,
                    Kind::Split | Kind::Foreach | Kind::Parallel | Kind::Switch
                ) =>
                {
                    found.error(
                        &step.place,
                        "metaflow.join_and_split",
                        format!("`{name}` is a join, as it takes `inputs`, and a split, as several steps follow"),
                        "let it join only, and put a step after it that splits",
                    );
                }
                2 => {}
                _ => found.error(
                    &step.place,
                    CODE,
                    format!("the step `{name}` takes too many arguments"),
                    "a step takes `self`, and a join `self` and `inputs`",
                ),
            }
        }
    }

    fn transitions(&self, found: &mut Found) {
        let names: Vec<&str> = self.steps.iter().map(|it| it.name.as_str()).collect();
        for (index, step) in self.steps.iter().enumerate() {
            let name = &step.name;
            let next_place = step.next_place.as_ref().unwrap_or(&step.place);
            if index == self.end {
                if step.has_next {
                    let message = format!("nothing can follow the end step `{name}`");
                    let help = "remove the `self.next`, or let another step be the last";
                    found.error(next_place, "metaflow.start_end", message, help);
                }
                continue;
            }
            if !step.has_next {
                match &step.stray_next {
                    Some(stray) => found.error(
                        stray,
                        "metaflow.no_next",
                        format!("the `self.next` of `{name}` is not the last statement of the step"),
                        "end the step with one `self.next`, outside of any `if` or loop; to choose a way, write `self.next({…}, condition=\"…\")`",
                    ),
                    None => found.error(
                        &step.place,
                        "metaflow.no_next",
                        format!("the step `{name}` does not say what follows"),
                        "end it with `self.next(self.NAME_OF_A_STEP)`",
                    ),
                }
                continue;
            }
            if !step.valid_next {
                found.error(
                    next_place,
                    "metaflow.bad_next",
                    format!("Metaflow does not understand this `self.next` of `{name}`"),
                    "write `self.next(self.a)`, `self.next(self.a, self.b)`, `self.next(self.a, foreach=\"items\")`, `self.next(self.a, num_parallel=4)`, or `self.next({\"x\": self.a, \"y\": self.b}, condition=\"choice\")`",
                );
                continue;
            }
            for next in &step.next {
                if !self.by_name.contains_key(next.as_str()) {
                    let message = format!("`{name}` goes on to `{next}`, which is not a step");
                    let help = crate::reader::did_you_mean(next, &names);
                    found.error(next_place, "metaflow.unknown_step", message, help);
                }
            }
            if step
                .next
                .iter()
                .any(|it| *it == self.steps[self.start].name)
            {
                let message = format!(
                    "`{name}` goes back to the start step `{}`",
                    self.steps[self.start].name
                );
                let help = "nothing can lead to the start step; go on to another one";
                found.error(next_place, "metaflow.start_end", message, help);
            }
        }
    }

    fn cycles(&self, found: &mut Found) {
        // 0: not seen, 1: on the way, 2: done.
        let mut state = vec![0u8; self.steps.len()];
        for root in 0..self.steps.len() {
            if state[root] != 0 {
                continue;
            }
            let mut way: Vec<(usize, Vec<usize>)> = vec![(root, self.next(root))];
            state[root] = 1;
            while let Some((index, todo)) = way.last_mut() {
                let index = *index;
                match todo.pop() {
                    None => {
                        state[index] = 2;
                        way.pop();
                    }
                    Some(next) if state[next] == 0 => {
                        state[next] = 1;
                        way.push((next, self.next(next)));
                    }
                    Some(next) if state[next] == 1 => {
                        let from = way.iter().position(|(it, _)| *it == next).unwrap_or(0);
                        let names: Vec<&str> = way[from..]
                            .iter()
                            .map(|(it, _)| self.steps[*it].name.as_str())
                            .chain([self.steps[next].name.as_str()])
                            .collect();
                        let step = &self.steps[index];
                        found.error(
                            step.next_place.as_ref().unwrap_or(&step.place),
                            "metaflow.cycle",
                            format!("the steps go round in a circle: {}", names.join(" -> ")),
                            "only a switch may lead back, and only to itself; to repeat several steps, repeat them in one",
                        );
                        return;
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn reach(&self, found: &mut Found) {
        let mut seen = vec![false; self.steps.len()];
        let mut todo = vec![self.start];
        seen[self.start] = true;
        while let Some(index) = todo.pop() {
            for next in self.next(index) {
                if !std::mem::replace(&mut seen[next], true) {
                    todo.push(next);
                }
            }
        }
        for (step, _) in self.steps.iter().zip(&seen).filter(|(_, seen)| !**seen) {
            let name = &step.name;
            let message = format!("nothing leads to the step `{name}`");
            let help = format!("write `self.next(self.{name})` in a step before it, or remove it");
            found.error(&step.place, "metaflow.unreachable", message, help);
        }
    }

    /// Follows all ways from the start, with the splits that are open on each.
    fn walk(&self, found: &mut Found) -> Option<Vec<Node>> {
        let mut nodes = vec![Node::default(); self.steps.len()];
        let mut foreach: Vec<Option<Vec<usize>>> = vec![None; self.steps.len()];
        let mut seen: HashSet<(usize, Vec<(usize, usize)>)> = HashSet::new();
        let mut visits: Vec<(usize, Vec<(usize, usize)>)> = Vec::new();
        let mut todo = vec![(self.start, Vec::new())];
        while let Some((index, open)) = todo.pop() {
            if !seen.insert((index, open.clone())) {
                continue;
            }
            if seen.len() > WAYS_MAX {
                let message = "the branches of this flow are too tangled to be followed";
                let help = "join each split before the next one";
                found.error(
                    &self.steps[index].place,
                    "metaflow.too_large",
                    message,
                    help,
                );
                return None;
            }
            visits.push((index, open.clone()));
            let step = &self.steps[index];
            let mut inner = open.clone();
            nodes[index].parents = open.iter().map(|it| it.0).collect();
            nodes[index].branches = open.iter().map(|it| it.1).collect();
            if step.kind == Kind::Join
                && let Some((split, _)) = inner.pop()
            {
                nodes[split].join = Some(index);
                nodes[index].branches.pop();
            }
            let around: Vec<usize> = inner
                .iter()
                .map(|it| it.0)
                .filter(|&it| matches!(self.steps[it].kind, Kind::Foreach | Kind::Parallel))
                .collect();
            match &foreach[index] {
                None => foreach[index] = Some(around),
                Some(other) if *other != around => {
                    self.two_scopes(index, other, &around, found);
                    return None;
                }
                Some(_) => {}
            }
            let splits = matches!(step.kind, Kind::Split | Kind::Foreach | Kind::Parallel);
            for next in self.next(index).into_iter().rev() {
                if !nodes[next].predecessors.contains(&index) {
                    nodes[next].predecessors.push(index);
                }
                let mut open = inner.clone();
                if splits {
                    open.push((index, next));
                }
                todo.push((next, open));
            }
        }
        for (node, around) in nodes.iter_mut().zip(foreach) {
            node.foreach = around.unwrap_or_default();
            node.predecessors.sort_by_key(|&it| &self.steps[it].name);
        }
        self.balance(&visits, &nodes, found);
        self.depth(&nodes, found);
        Some(nodes)
    }

    fn two_scopes(&self, index: usize, one: &[usize], other: &[usize], found: &mut Found) {
        let name = |around: &[usize]| match around.last() {
            Some(&it) => format!("the foreach of `{}`", self.steps[it].name),
            None => "no foreach".to_owned(),
        };
        let step = &self.steps[index];
        let message = format!(
            "`{}` is reached within {} and within {}, which cannot be run here",
            step.name,
            name(one),
            name(other)
        );
        let help = "give each foreach steps of its own, or let the ways meet before one foreach";
        found.error(&step.place, "metaflow.unsupported_graph", message, help);
    }

    fn balance(&self, visits: &[(usize, Vec<(usize, usize)>)], nodes: &[Node], found: &mut Found) {
        const CODE: &str = "metaflow.unbalanced";
        let mut reported = BTreeSet::new();
        let name = |it: usize| format!("`{}`", self.steps[it].name);
        for (index, open) in visits {
            let step = &self.steps[*index];
            let Some((split, _)) = open.last() else {
                if step.kind == Kind::Join && reported.insert(*index) {
                    let message = format!(
                        "`{}` takes `inputs`, but no split is open before it",
                        step.name
                    );
                    let help = "remove the argument `inputs`, or split before it; after a switch nothing is joined, as only one of its ways is taken";
                    found.error(&step.place, CODE, message, help);
                }
                continue;
            };
            let split_step = &self.steps[*split];
            match step.kind {
                Kind::End if reported.insert(*index) => {
                    let message = format!(
                        "the end step `{}` is reached before the split at `{}` is joined",
                        step.name, split_step.name
                    );
                    let help = "put a step before it that takes `inputs`";
                    found.error_also(
                        &step.place,
                        CODE,
                        message,
                        (&split_step.place, "splits"),
                        help,
                    );
                }
                Kind::Join => {
                    let roots: BTreeSet<usize> = self.next(*split).into_iter().collect();
                    let came: BTreeSet<Option<usize>> = nodes[*index]
                        .predecessors
                        .iter()
                        .map(|&it| nodes[it].branches.last().copied())
                        .collect();
                    let expected: BTreeSet<Option<usize>> =
                        roots.iter().map(|&it| Some(it)).collect();
                    let twice = roots.len() != split_step.next.len();
                    if split_step.kind != Kind::Split && roots.contains(index) {
                        // Nothing stands between; that is told as such.
                        continue;
                    }
                    if (came != expected || twice) && reported.insert(*index) {
                        let ways: Vec<String> = roots.iter().map(|&it| name(it)).collect();
                        let message = format!(
                            "`{}` must join exactly the branches of `{}`: {}",
                            step.name,
                            split_step.name,
                            ways.join(", ")
                        );
                        let help = "let each branch of that split, and nothing else, lead to it; join inner splits first";
                        found.error_also(
                            &step.place,
                            CODE,
                            message,
                            (&split_step.place, "splits"),
                            help,
                        );
                    }
                    let lines: BTreeSet<&[usize]> = nodes[*index]
                        .predecessors
                        .iter()
                        .map(|&it| {
                            let parents = &nodes[it].parents[..];
                            match self.steps[it].kind {
                                Kind::Join => &parents[..parents.len().saturating_sub(1)],
                                _ => parents,
                            }
                        })
                        .collect();
                    if lines.len() > 1 && reported.insert(*index) {
                        let message = format!("`{}` joins branches of different splits", step.name);
                        let help = "give each split a join of its own";
                        found.error(&step.place, CODE, message, help);
                    }
                }
                _ => {}
            }
        }
    }

    fn depth(&self, nodes: &[Node], found: &mut Found) {
        let deep = (0..self.steps.len())
            .filter(|&it| nodes[it].foreach.len() > NESTING_MAX)
            .filter_map(|it| nodes[it].foreach.get(NESTING_MAX))
            .next();
        if let Some(&split) = deep {
            let step = &self.steps[split];
            let message = format!(
                "the foreach of `{}` is the {}th within another, and {NESTING_MAX} may nest",
                step.name,
                NESTING_MAX + 1
            );
            let help = "join two foreach into one over pairs";
            let place = step.next_place.as_ref().unwrap_or(&step.place);
            found.error(place, "metaflow.nesting", message, help);
        }
    }

    fn switches(&self, found: &mut Found) {
        for step in self.steps.iter().filter(|it| it.kind == Kind::Switch) {
            let place = step.next_place.as_ref().unwrap_or(&step.place);
            if step.next.len() < 2 {
                let message = format!("the switch at `{}` has only one way", step.name);
                let help = "add another case, or write `self.next(self.a)`";
                found.error(place, "metaflow.switch", message, help);
            }
            for next in &step.next {
                let target = &self.steps[self.by_name[next.as_str()]];
                if target.kind == Kind::Join {
                    let message = format!(
                        "the switch at `{}` leads directly to the join `{next}`",
                        step.name
                    );
                    let help = "put a plain step between them";
                    found.error(place, "metaflow.switch", message, help);
                }
            }
        }
    }

    fn foreaches(&self, found: &mut Found) {
        for step in self.steps {
            if !matches!(step.kind, Kind::Foreach | Kind::Parallel) {
                continue;
            }
            let body = &self.steps[self.by_name[step.next[0].as_str()]];
            if body.kind == Kind::Join {
                let message = format!(
                    "nothing stands between the foreach of `{}` and its join `{}`",
                    step.name, body.name
                );
                let help = "put at least one step between them";
                let place = step.next_place.as_ref().unwrap_or(&step.place);
                found.error(place, "metaflow.empty_foreach", message, help);
            }
        }
    }

    fn parallel(&self, found: &mut Found) {
        const CODE: &str = "metaflow.parallel";
        for step in self.steps {
            let place = step.next_place.as_ref().unwrap_or(&step.place);
            for next in &step.next {
                let target = &self.steps[self.by_name[next.as_str()]];
                if step.kind == Kind::Parallel && !target.is_parallel() {
                    let message =
                        format!("`{next}` is started with `num_parallel`, but has no `@parallel`");
                    let help = format!("write `@parallel` above the `@step` of `{next}`");
                    found.error(place, CODE, message, help);
                }
                if step.kind != Kind::Parallel && target.is_parallel() {
                    let message = format!(
                        "`{next}` has `@parallel`, but `{}` does not start it with `num_parallel`",
                        step.name
                    );
                    let help = format!("write `self.next(self.{next}, num_parallel=4)`");
                    found.error(place, CODE, message, help);
                }
            }
            let joined = step
                .next
                .first()
                .is_some_and(|it| self.steps[self.by_name[it.as_str()]].kind == Kind::Join);
            if step.is_parallel() && !joined {
                let message = format!("no join follows the `@parallel` step `{}`", step.name);
                let help = "let a step follow that takes `inputs`";
                found.error(place, CODE, message, help);
            }
        }
    }

    /// Predecessors first; of several branches, the one that is named first.
    fn order(&self) -> Vec<usize> {
        let mut done = Vec::new();
        let mut seen = vec![false; self.steps.len()];
        let mut way = vec![(self.start, self.next(self.start))];
        seen[self.start] = true;
        while let Some((index, todo)) = way.last_mut() {
            match todo.pop() {
                Some(next) => {
                    if !std::mem::replace(&mut seen[next], true) {
                        way.push((next, self.next(next)));
                    }
                }
                None => {
                    done.push(*index);
                    way.pop();
                }
            }
        }
        done.reverse();
        done
    }
}

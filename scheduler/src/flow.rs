//! A checked flow: steps and foreach scopes as one acyclic graph.
//!
//! The graph has three kinds of nodes: steps, and for each foreach scope an *open* and a *close*
//! node in the enclosing scope. So every edge stays within one scope, except that an open leads to
//! the scope's first nodes (one token per item) and its last nodes lead to the close (which waits
//! for all of them). See docs/adr/0003-scopes-and-tokens.md.

use crate::blackout::{Blackout, BlackoutError};
use crate::id::{FlowName, NESTING_MAX, StepName, TriggerName};
use crate::metaflow::MetaflowFlow;
use crate::schedule::{Gap, Schedule, ScheduleError, When};
use crate::sla::{Promise, SlaError};
use crate::spec::{
    Command, ExecutorKind, FlowSpec, HookOn, Route, ScheduleSpec, ScopeIndex, ScopeSpec, StepSpec,
    TriggerSpec,
};
use petgraph::Direction;
use petgraph::graph::DiGraph;
use petgraph::visit::{Dfs, EdgeRef};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The most steps and scopes a flow may have.
pub const NODES_MAX: usize = 10_000;

/// A node's number within its flow version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Index into [`FlowSpec::steps`].
    Step(usize),
    /// Index into [`FlowSpec::scopes`].
    Open(usize),
    Close(usize),
}

/// A node with its neighbours.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    pub kind: NodeKind,
    pub name: StepName,
    /// The scope its instances live in; their paths have that scope's depth.
    pub scope: ScopeIndex,
    /// How many foreach scopes are around it.
    pub depth: usize,
    pub successors: Vec<NodeId>,
    pub predecessors: Vec<NodeId>,
    /// The step may switch to itself.
    pub recursive: bool,
}

/// A flow that can run: its graph is acyclic, its names resolve, its schedules compile.
pub struct Flow {
    spec: FlowSpec,
    nodes: Vec<Node>,
    step_nodes: BTreeMap<StepName, NodeId>,
    /// Per scope: its open and close node.
    scope_nodes: Vec<(NodeId, NodeId)>,
    scopes_by_name: BTreeMap<StepName, usize>,
    roots: Vec<NodeId>,
    hooks: Vec<(NodeId, HookOn)>,
    schedules: Vec<Schedule>,
    /// Places in [`FlowSpec::triggers`].
    triggers_by_name: BTreeMap<TriggerName, usize>,
    /// Per trigger: when its half-matched sets are emptied.
    resets: Vec<Option<Schedule>>,
    /// Per trigger: its deadlines.
    deadlines: Vec<Option<Schedule>>,
    blackouts: Vec<Blackout>,
    metaflow: Option<Arc<MetaflowFlow>>,
    /// Of a Metaflow flow, per step: when a walk along `self.next` from the start comes by, first branches first.
    walk: Vec<usize>,
    promises: Vec<Promise>,
    has_step_promises: bool,
}

/// What is wrong with a declared flow.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FlowError {
    #[error("a flow needs at least one step")]
    NoSteps,
    #[error("a flow may have at most {NODES_MAX} steps, and this one has {0}")]
    TooManySteps(usize),
    #[error("the name `{0}` is used twice")]
    Duplicate(StepName),
    #[error("step `{step}` comes after `{after}`, which does not exist")]
    UnknownStep {
        step: StepName,
        after: StepName,
        /// The closest existing name in the same block.
        similar: Option<StepName>,
    },
    #[error(
        "step `{step}` comes after `{after}`, which is in another foreach block; name the block instead"
    )]
    OtherScope { step: StepName, after: StepName },
    #[error("steps wait for each other: {}", cycle.iter().map(StepName::as_str).collect::<Vec<_>>().join(" -> "))]
    Cycle { cycle: Vec<StepName> },
    #[error("foreach blocks may nest {NESTING_MAX} deep, and `{0}` is deeper")]
    TooDeep(StepName),
    #[error("the foreach block `{0}` has no steps")]
    EmptyScope(StepName),
    #[error("schedule {index}: {error}")]
    Schedule { index: usize, error: ScheduleError },
    #[error("trigger `{trigger}`: reset_at: {error}")]
    Reset {
        trigger: TriggerName,
        error: ScheduleError,
    },
    #[error("trigger `{trigger}`: on_deadline: {error}")]
    Deadline {
        trigger: TriggerName,
        error: ScheduleError,
    },
    #[error(transparent)]
    Blackout(BlackoutError),
    #[error(
        "the hook `{0}` is no part of the graph: nothing comes before or after it, and it is in no foreach"
    )]
    HookInGraph(StepName),
    #[error("step `{0}` runs a flow, so it cannot choose between its successors")]
    SubFlowSwitch(StepName),
    #[error("step `{0}` is a Metaflow step, and the flow does not say which class it belongs to")]
    NoMetaflow(StepName),
    #[error(
        "step `{0}` does not run under Step Functions, and other steps of the flow do: it is all of them or none"
    )]
    MixedExecutors(StepName),
    #[error("step `{0}` runs elsewhere, and that elsewhere is this machine")]
    RemoteHere(StepName),
    #[error("{error}; {}", error.cure)]
    Sla { error: SlaError },
}

impl Flow {
    /// Checks a declared flow.
    ///
    /// # Errors
    /// All that is wrong, not only the first.
    pub fn new(spec: FlowSpec) -> Result<Self, Vec<FlowError>> {
        Builder::default().build(spec)
    }

    pub const fn spec(&self) -> &FlowSpec {
        &self.spec
    }
    pub const fn name(&self) -> &FlowName {
        &self.spec.name
    }
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }
    /// What a Metaflow flow declares beyond its graph.
    pub const fn metaflow(&self) -> Option<&Arc<MetaflowFlow>> {
        self.metaflow.as_ref()
    }
    /// The steps that are called at a run's end, and at which.
    pub fn hooks(&self) -> &[(NodeId, HookOn)] {
        &self.hooks
    }
    /// The place of a trigger in [`FlowSpec::triggers`]; of several with one name, of the first.
    pub fn trigger(&self, name: &TriggerName) -> Option<usize> {
        self.triggers_by_name.get(name).copied()
    }
    /// When half-matched sets of a trigger are emptied; by its place in [`FlowSpec::triggers`].
    pub fn reset(&self, trigger: usize) -> Option<&Schedule> {
        self.resets.get(trigger)?.as_ref()
    }
    /// The deadlines of a trigger, one a day; by its place in [`FlowSpec::triggers`].
    pub fn deadline(&self, trigger: usize) -> Option<&Schedule> {
        self.deadlines.get(trigger)?.as_ref()
    }
    /// When no schedule and no trigger starts a run.
    pub fn blackouts(&self) -> &[Blackout] {
        &self.blackouts
    }
    /// What it promises about time, its steps' promises last.
    pub fn promises(&self) -> &[Promise] {
        &self.promises
    }
    pub fn promise(&self, key: &str) -> Option<&Promise> {
        self.promises.iter().find(|it| *it.key == *key)
    }
    pub(crate) const fn has_step_promises(&self) -> bool {
        self.has_step_promises
    }
    /// The nodes without predecessors in the root scope, hooks left out.
    pub fn roots(&self) -> &[NodeId] {
        &self.roots
    }
    pub fn step(&self, name: &str) -> Option<&StepSpec> {
        let id = *self.step_nodes.get(name)?;
        Some(self.step_of(id))
    }
    pub fn step_node(&self, name: &str) -> Option<NodeId> {
        self.step_nodes.get(name).copied()
    }
    /// A scope by its name, with its open and close node.
    pub fn scope(&self, name: &str) -> Option<(&ScopeSpec, NodeId, NodeId)> {
        let index = *self.scopes_by_name.get(name)?;
        let (open, close) = self.scope_nodes[index];
        Some((&self.spec.scopes[index], open, close))
    }
    /// The scope that an index names; `None` for the root.
    pub fn scope_at(&self, index: ScopeIndex) -> Option<(&ScopeSpec, NodeId, NodeId)> {
        let place = usize::from(index.0).checked_sub(1)?;
        let (open, close) = self.scope_nodes[place];
        Some((&self.spec.scopes[place], open, close))
    }
    pub fn schedules(&self) -> impl Iterator<Item = (&ScheduleSpec, &Schedule)> {
        self.spec.schedules.iter().zip(&self.schedules)
    }

    /// The step that a step node stands for.
    pub(crate) fn step_of(&self, id: NodeId) -> &StepSpec {
        match self.node(id).kind {
            NodeKind::Step(index) => &self.spec.steps[index],
            kind => panic!("{kind:?} of flow {} is not a step", self.spec.name),
        }
    }

    /// A node's predecessors; where branches of a Metaflow flow meet, in the order in which the split names them.
    pub(crate) fn in_branch_order(&self, node: &Node) -> Vec<NodeId> {
        let mut nodes = node.predecessors.clone();
        let place = |id: &NodeId| self.walk.get(id.index()).copied().unwrap_or(usize::MAX);
        nodes.sort_by_key(|id| (place(id), *id));
        nodes
    }

    /// How many last nodes a scope has: the tokens that its close gets per item.
    pub(crate) fn sinks(&self, scope: usize) -> usize {
        let (_, close) = self.scope_nodes[scope];
        self.node(close).predecessors.len()
    }

    /// What people see as the graph: step to step, through opens and closes.
    pub fn step_edges(&self) -> Vec<(StepName, StepName)> {
        let mut edges = BTreeSet::new();
        for node in &self.nodes {
            if !matches!(node.kind, NodeKind::Step(_)) {
                continue;
            }
            let mut todo = node.successors.clone();
            while let Some(next) = todo.pop() {
                let next = self.node(next);
                match next.kind {
                    NodeKind::Step(_) => {
                        edges.insert((node.name.clone(), next.name.clone()));
                    }
                    NodeKind::Open(_) | NodeKind::Close(_) => todo.extend(&next.successors),
                }
            }
        }
        edges.into_iter().collect()
    }

    /// The step and everything that follows from it.
    pub(crate) fn following(&self, step: NodeId) -> BTreeSet<NodeId> {
        let mut graph = DiGraph::<(), (), u32>::default();
        let ids: Vec<_> = self.nodes.iter().map(|_| graph.add_node(())).collect();
        for node in &self.nodes {
            for next in &node.successors {
                graph.add_edge(ids[node.id.index()], ids[next.index()], ());
            }
        }
        let mut found = BTreeSet::new();
        let mut walk = Dfs::new(&graph, ids[step.index()]);
        while let Some(next) = walk.next(&graph) {
            found.insert(self.nodes[next.index()].id);
        }
        found
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({})", self.spec.name)
    }
}

#[derive(Default)]
struct Builder {
    graph: DiGraph<Node, ()>,
    errors: Vec<FlowError>,
}

impl Builder {
    fn build(mut self, spec: FlowSpec) -> Result<Flow, Vec<FlowError>> {
        let size = spec.steps.len() + 2 * spec.scopes.len();
        if spec.steps.is_empty() {
            self.errors.push(FlowError::NoSteps);
        }
        if size > NODES_MAX {
            return Err(vec![FlowError::TooManySteps(size)]);
        }
        let depths = self.depths(&spec);

        let mut step_nodes = BTreeMap::new();
        for (index, step) in spec.steps.iter().enumerate() {
            let depth = depth_of(&depths, step.scope);
            let id = self.add(NodeKind::Step(index), &step.name, step.scope, depth);
            if step_nodes.insert(step.name.clone(), id).is_some() {
                self.errors.push(FlowError::Duplicate(step.name.clone()));
            }
        }
        let mut scope_nodes = Vec::new();
        let mut scopes_by_name = BTreeMap::new();
        for (index, scope) in spec.scopes.iter().enumerate() {
            let depth = depth_of(&depths, scope.parent);
            let open = self.add(NodeKind::Open(index), &scope.name, scope.parent, depth);
            let close = self.add(NodeKind::Close(index), &scope.name, scope.parent, depth);
            scope_nodes.push((open, close));
            let again = scopes_by_name.insert(scope.name.clone(), index).is_some();
            let mut members = spec.steps.iter().filter(|it| it.scope == number(index));
            let one_step_of_its_name =
                members.next().is_some_and(|it| it.name == scope.name) && members.next().is_none();
            let taken = step_nodes.contains_key(&scope.name) && !one_step_of_its_name;
            if again || taken {
                self.errors.push(FlowError::Duplicate(scope.name.clone()));
            }
        }

        self.connect(&spec, &scope_nodes);
        self.find_cycle();
        let schedules = self.schedules(&spec);
        let resets = self.resets(&spec);
        let deadlines = self.deadlines(&spec);
        let blackouts = self.blackouts(&spec);
        let hooks = self.hooks(&spec);
        for step in &spec.steps {
            if matches!(step.run, Command::Flow(_)) && step.route == Route::Switch {
                self.errors
                    .push(FlowError::SubFlowSwitch(step.name.clone()));
            }
            if matches!(step.run, Command::Metaflow(_)) && spec.metaflow.is_none() {
                self.errors.push(FlowError::NoMetaflow(step.name.clone()));
            }
        }
        self.executors(&spec);
        // A schedule that cannot be read makes promises about it unreadable, too.
        let promises = match self.errors.is_empty() {
            true => crate::sla::promises(&spec, &schedules),
            false => Ok(Vec::new()),
        };
        let promises = promises.unwrap_or_else(|errors| {
            let errors = errors.into_iter().map(|error| FlowError::Sla { error });
            self.errors.extend(errors);
            Vec::new()
        });
        if !self.errors.is_empty() {
            return Err(self.errors);
        }

        let nodes = self.graph.node_indices().map(|index| {
            let neighbours = |direction| {
                let mut ids: Vec<_> = self
                    .graph
                    .edges_directed(index, direction)
                    .map(|edge| match direction {
                        Direction::Outgoing => edge.target(),
                        Direction::Incoming => edge.source(),
                    })
                    .map(|other| self.graph[other].id)
                    .collect();
                ids.sort_unstable();
                ids
            };
            Node {
                successors: neighbours(Direction::Outgoing),
                predecessors: neighbours(Direction::Incoming),
                ..self.graph[index].clone()
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let roots = nodes
            .iter()
            .filter(|node| node.depth == 0 && node.predecessors.is_empty())
            .map(|node| node.id)
            .filter(|id| hooks.iter().all(|(hook, _)| hook != id))
            .collect();
        let triggers = spec.triggers.iter().enumerate().rev();
        let triggers_by_name = triggers.map(|(at, it)| (it.name.clone(), at)).collect();
        Ok(Flow {
            triggers_by_name,
            metaflow: spec.metaflow.clone().map(Arc::new),
            walk: walk(&spec, &step_nodes),
            hooks,
            resets,
            deadlines,
            blackouts,
            spec,
            nodes,
            step_nodes,
            scope_nodes,
            scopes_by_name,
            roots,
            schedules,
            has_step_promises: promises.iter().any(|it| it.step.is_some()),
            promises,
        })
    }

    fn add(&mut self, kind: NodeKind, name: &StepName, scope: ScopeIndex, depth: usize) -> NodeId {
        let id = NodeId(u16::try_from(self.graph.node_count()).expect("NODES_MAX fits u16"));
        self.graph.add_node(Node {
            id,
            kind,
            name: name.clone(),
            scope,
            depth,
            successors: Vec::new(),
            predecessors: Vec::new(),
            recursive: false,
        });
        id
    }

    /// The depth of each scope's inside.
    fn depths(&mut self, spec: &FlowSpec) -> Vec<usize> {
        let mut depths = Vec::new();
        for scope in &spec.scopes {
            let depth = depth_of(&depths, scope.parent) + 1;
            if depth > NESTING_MAX {
                self.errors.push(FlowError::TooDeep(scope.name.clone()));
            }
            depths.push(depth);
        }
        depths
    }

    fn connect(&mut self, spec: &FlowSpec, scope_nodes: &[(NodeId, NodeId)]) {
        // Per enclosing scope: what a name in `after` stands for.
        let mut sources: BTreeMap<(ScopeIndex, &StepName), NodeId> = BTreeMap::new();
        for (index, step) in spec.steps.iter().enumerate() {
            sources.insert((step.scope, &step.name), NodeId(index as u16));
        }
        for (index, scope) in spec.scopes.iter().enumerate() {
            sources.insert((scope.parent, &scope.name), scope_nodes[index].1);
        }
        let steps = spec
            .steps
            .iter()
            .enumerate()
            .map(|(index, it)| (NodeId(index as u16), &it.name, it.scope, &it.after));
        let scopes = spec
            .scopes
            .iter()
            .enumerate()
            .map(|(index, it)| (scope_nodes[index].0, &it.name, it.parent, &it.after));
        for (node, name, scope, after) in steps.chain(scopes) {
            let mut first = true;
            for source in after {
                if source == name && (node.index() < spec.steps.len()) {
                    self.graph[petgraph::graph::NodeIndex::new(node.index())].recursive = true;
                    continue;
                }
                match sources.get(&(scope, source)) {
                    Some(&from) => {
                        self.edge(from, node);
                        first = false;
                    }
                    None => self.unresolved(spec, name, source, scope),
                }
            }
            if first && scope != ScopeIndex::ROOT {
                self.edge(scope_nodes[usize::from(scope.0) - 1].0, node);
            }
        }
        for (index, scope) in spec.scopes.iter().enumerate() {
            let inside = number(index);
            let last: Vec<NodeId> = self
                .graph
                .node_indices()
                .filter(|&it| {
                    let node = &self.graph[it];
                    node.scope == inside
                        && !matches!(node.kind, NodeKind::Open(_))
                        && self
                            .graph
                            .neighbors_directed(it, Direction::Outgoing)
                            .next()
                            .is_none()
                })
                .map(|it| self.graph[it].id)
                .collect();
            if last.is_empty() && !self.graph.node_weights().any(|node| node.scope == inside) {
                self.errors.push(FlowError::EmptyScope(scope.name.clone()));
            }
            for from in last {
                self.edge(from, scope_nodes[index].1);
            }
        }
    }

    fn edge(&mut self, from: NodeId, to: NodeId) {
        let (from, to) = (
            petgraph::graph::NodeIndex::new(from.index()),
            petgraph::graph::NodeIndex::new(to.index()),
        );
        self.graph.update_edge(from, to, ());
    }

    fn unresolved(
        &mut self,
        spec: &FlowSpec,
        step: &StepName,
        after: &StepName,
        scope: ScopeIndex,
    ) {
        let elsewhere = spec.steps.iter().any(|it| it.name == *after)
            || spec.scopes.iter().any(|it| it.name == *after);
        let (step, after) = (step.clone(), after.clone());
        if elsewhere {
            self.errors.push(FlowError::OtherScope { step, after });
            return;
        }
        let here = spec
            .steps
            .iter()
            .filter(|it| it.scope == scope)
            .map(|it| &it.name)
            .chain(
                spec.scopes
                    .iter()
                    .filter(|it| it.parent == scope)
                    .map(|it| &it.name),
            );
        let similar = closest(after.as_str(), here.map(StepName::as_str)).map(StepName::new);
        self.errors.push(FlowError::UnknownStep {
            step,
            after,
            similar,
        });
    }

    fn find_cycle(&mut self) {
        // A strongly connected component with more than one node is a cycle. Kosaraju, not Tarjan: petgraph writes
        // the latter as a recursion, and a chain of thousands of steps would overflow the stack. Opens and closes add
        // an edge open -> close where a scope is empty, which is reported elsewhere.
        let components = petgraph::algo::kosaraju_scc(&self.graph);
        for component in components.into_iter().filter(|it| it.len() > 1) {
            let inside: BTreeSet<_> = component.iter().copied().collect();
            let start = *inside.iter().next().expect("a component is not empty");
            let (mut path, mut at) = (vec![start], start);
            // Walk inside the component until a node repeats.
            let cycle = loop {
                at = self
                    .graph
                    .neighbors_directed(at, Direction::Outgoing)
                    .filter(|it| inside.contains(it))
                    .min()
                    .expect("a node of a cycle has a successor in it");
                if let Some(place) = path.iter().position(|&it| it == at) {
                    break path.split_off(place);
                }
                path.push(at);
            };
            let mut names: Vec<StepName> = cycle
                .iter()
                .map(|&it| self.graph[it].name.clone())
                .collect();
            names.push(names[0].clone());
            names.dedup();
            self.errors.push(FlowError::Cycle { cycle: names });
        }
    }

    fn schedules(&mut self, spec: &FlowSpec) -> Vec<Schedule> {
        let mut schedules = Vec::new();
        for (index, it) in spec.schedules.iter().enumerate() {
            let schedule = Schedule::new(&it.when, &it.timezone, it.gap, it.overlap);
            let schedule = schedule.and_then(|schedule| match &it.calendar {
                Some(calendar) => schedule.with_calendar(calendar),
                None => Ok(schedule),
            });
            match schedule {
                Ok(schedule) => schedules.push(schedule),
                Err(error) => self.errors.push(FlowError::Schedule { index, error }),
            }
        }
        schedules
    }

    fn resets(&mut self, spec: &FlowSpec) -> Vec<Option<Schedule>> {
        let mut compile = |it: &TriggerSpec| {
            let reset = it.reset_at.as_ref()?;
            match Schedule::new(&reset.when, &reset.timezone, Gap::default(), None) {
                Ok(schedule) => Some(schedule),
                Err(error) => {
                    let trigger = it.name.clone();
                    self.errors.push(FlowError::Reset { trigger, error });
                    None
                }
            }
        };
        spec.triggers.iter().map(&mut compile).collect()
    }

    fn deadlines(&mut self, spec: &FlowSpec) -> Vec<Option<Schedule>> {
        let mut compile = |it: &TriggerSpec| {
            let at = it.on_deadline.as_ref()?.at;
            let text = format!("{} {} * * *", at.minutes % 60, at.minutes / 60);
            let zone = it.timezone.as_deref().unwrap_or("UTC");
            match Schedule::new(&When::Cron { text }, zone, Gap::default(), None) {
                Ok(schedule) => Some(schedule),
                Err(error) => {
                    let trigger = it.name.clone();
                    self.errors.push(FlowError::Deadline { trigger, error });
                    None
                }
            }
        };
        spec.triggers.iter().map(&mut compile).collect()
    }

    fn blackouts(&mut self, spec: &FlowSpec) -> Vec<Blackout> {
        let mut blackouts = Vec::new();
        for it in &spec.blackouts {
            match Blackout::new(it) {
                Ok(blackout) => blackouts.push(blackout),
                Err(error) => self.errors.push(FlowError::Blackout(error)),
            }
        }
        blackouts
    }

    /// Step Functions execute all of a run or nothing of it. Hooks and runs of other flows are ours in any case.
    fn executors(&mut self, spec: &FlowSpec) {
        let executor = |step: &StepSpec| {
            step.remote
                .as_ref()
                .map_or(ExecutorKind::Local, |it| it.executor)
        };
        for step in &spec.steps {
            if step.remote.is_some() && executor(step) == ExecutorKind::Local {
                self.errors.push(FlowError::RemoteHere(step.name.clone()));
            }
        }
        let ours = |it: &&StepSpec| it.hook.is_some() || matches!(it.run, Command::Flow(_));
        let (whole, apart): (Vec<&StepSpec>, Vec<&StepSpec>) = spec
            .steps
            .iter()
            .filter(|it| !ours(it))
            .partition(|it| executor(it) == ExecutorKind::StepFunctions);
        if !whole.is_empty() {
            let apart = apart.iter().map(|it| it.name.clone());
            self.errors.extend(apart.map(FlowError::MixedExecutors));
        }
    }

    fn hooks(&mut self, spec: &FlowSpec) -> Vec<(NodeId, HookOn)> {
        let mut hooks = Vec::new();
        for (index, step) in spec.steps.iter().enumerate() {
            let Some(on) = step.hook else {
                continue;
            };
            let node = petgraph::graph::NodeIndex::new(index);
            let alone = self.graph.neighbors_undirected(node).next().is_none();
            if !alone || step.scope != ScopeIndex::ROOT || !step.after.is_empty() {
                self.errors.push(FlowError::HookInGraph(step.name.clone()));
            }
            hooks.push((NodeId(index as u16), on));
        }
        hooks
    }
}

/// Numbers the steps of a Metaflow flow, first branches first: what comes before a join in an earlier branch of its
/// split has a smaller number.
fn walk(spec: &FlowSpec, step_nodes: &BTreeMap<StepName, NodeId>) -> Vec<usize> {
    let Some(metaflow) = &spec.metaflow else {
        return Vec::new();
    };
    let mut places = vec![usize::MAX; spec.steps.len()];
    let (mut count, mut todo) = (0, vec![&metaflow.start]);
    while let Some(name) = todo.pop() {
        let Some(index) = step_nodes.get(name).map(|it| it.index()) else {
            continue;
        };
        if places[index] != usize::MAX {
            continue;
        }
        places[index] = count;
        count += 1;
        if let Command::Metaflow(step) = &spec.steps[index].run {
            todo.extend(step.next.iter().rev());
        }
    }
    places
}

fn number(scope: usize) -> ScopeIndex {
    ScopeIndex(u16::try_from(scope + 1).expect("NODES_MAX fits u16"))
}

fn depth_of(depths: &[usize], scope: ScopeIndex) -> usize {
    usize::from(scope.0)
        .checked_sub(1)
        .map_or(0, |place| depths.get(place).copied().unwrap_or(0))
}

/// The candidate that differs from `name` in the fewest letters, if it is close enough to be meant.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|it| (distance(name, it), it))
        .filter(|(distance, it)| *distance <= (it.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, it)| it)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

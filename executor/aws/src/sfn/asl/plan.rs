//! A flow's graph as blocks: what is done one after the other, and what at the same time.
//!
//! Amazon States Language knows only these two. Where a graph is made of them ("series-parallel") the blocks wait for
//! exactly what the graph waits for. Where it is not, its first level becomes a block of its own: the rest waits for all
//! of that level, which is later than it had to be and never earlier. See docs/adr/0020-step-functions.md.

use dalsegno_scheduler::spec::ScopeIndex;
use dalsegno_scheduler::{Flow, NodeId, NodeKind};
use petgraph::graphmap::DiGraphMap;
use petgraph::unionfind::UnionFind;
use petgraph::visit::NodeIndexable;
use petgraph::{Direction, algo};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A step, or a foreach (by its open node).
    Node(NodeId),
    /// Two or more, one after the other.
    Series(Vec<Self>),
    /// Two or more, at the same time.
    Parallel(Vec<Self>),
}

impl Block {
    /// All nodes in it.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Self::Node(id) => vec![*id],
            Self::Series(parts) | Self::Parallel(parts) => {
                parts.iter().flat_map(Self::nodes).collect()
            }
        }
    }
}

/// What one scope is made of: its steps and the foreachs in it (by their open nodes), hooks left out.
pub struct Members {
    graph: DiGraphMap<u16, ()>,
}

impl Members {
    pub fn of(flow: &Flow, scope: ScopeIndex) -> Self {
        let hooks: BTreeSet<NodeId> = flow.hooks().iter().map(|it| it.0).collect();
        let mut graph = DiGraphMap::new();
        let nodes = flow
            .nodes()
            .iter()
            .filter(|it| it.scope == scope && !hooks.contains(&it.id));
        for node in nodes {
            if matches!(node.kind, NodeKind::Close(_)) {
                continue;
            }
            graph.add_node(node.id.0);
            for &before in &node.predecessors {
                let before = flow.node(before);
                // From around comes only the way in.
                if before.scope != scope {
                    continue;
                }
                let from = match before.kind {
                    NodeKind::Close(inner) => open_of(flow, inner),
                    _ => before.id,
                };
                graph.add_edge(from.0, node.id.0, ());
            }
        }
        Self { graph }
    }

    pub fn all(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.graph.nodes().map(NodeId).collect();
        nodes.sort_unstable();
        nodes
    }

    pub fn before(&self, node: NodeId) -> Vec<NodeId> {
        self.neighbours(node, Direction::Incoming)
    }

    /// Those that nothing comes after.
    pub fn last(&self) -> Vec<NodeId> {
        let mut nodes = self.all();
        nodes.retain(|it| self.neighbours(*it, Direction::Outgoing).is_empty());
        nodes
    }

    /// In an order in which each comes after all it needs.
    pub fn in_order(&self) -> Vec<NodeId> {
        let order = algo::toposort(&self.graph, None).expect("a checked flow is acyclic");
        order.into_iter().map(NodeId).collect()
    }

    /// For each node, all that come before it.
    pub fn ancestors(&self) -> BTreeMap<NodeId, BTreeSet<NodeId>> {
        let mut all: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        for node in self.in_order() {
            let mut mine = BTreeSet::new();
            for before in self.before(node) {
                mine.insert(before);
                mine.extend(&all[&before]);
            }
            all.insert(node, mine);
        }
        all
    }

    /// The blocks; `None` when `without` leaves nothing.
    pub fn blocks(&self, without: &BTreeSet<NodeId>) -> Option<Block> {
        let nodes: BTreeSet<u16> = self
            .graph
            .nodes()
            .filter(|it| !without.contains(&NodeId(*it)))
            .collect();
        (!nodes.is_empty()).then(|| self.block(&nodes))
    }

    fn neighbours(&self, node: NodeId, direction: Direction) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self
            .graph
            .neighbors_directed(node.0, direction)
            .map(NodeId)
            .collect();
        nodes.sort_unstable();
        nodes
    }

    fn block(&self, nodes: &BTreeSet<u16>) -> Block {
        if let [one] = nodes.iter().collect::<Vec<_>>()[..] {
            return Block::Node(NodeId(*one));
        }
        let parts = self.components(nodes);
        if parts.len() > 1 {
            return Block::Parallel(parts.iter().map(|it| self.block(it)).collect());
        }
        let mut series = Vec::new();
        for part in self.cut(nodes) {
            match self.block(&part) {
                Block::Series(parts) => series.extend(parts),
                other => series.push(other),
            }
        }
        Block::Series(series)
    }

    /// What hangs together, by its smallest node.
    fn components(&self, nodes: &BTreeSet<u16>) -> Vec<BTreeSet<u16>> {
        let mut sets = UnionFind::<usize>::new(self.graph.node_bound());
        for &node in nodes {
            for next in self.after(node, nodes) {
                sets.union(self.graph.to_index(node), self.graph.to_index(next));
            }
        }
        let mut parts: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for &node in nodes {
            let set = sets.find(self.graph.to_index(node));
            parts.entry(set).or_default().insert(node);
        }
        let mut parts: Vec<_> = parts.into_values().collect();
        parts.sort_unstable();
        parts
    }

    fn after(&self, node: u16, nodes: &BTreeSet<u16>) -> Vec<u16> {
        let next = self.graph.neighbors_directed(node, Direction::Outgoing);
        next.filter(|it| nodes.contains(it)).collect()
    }

    /// Cuts between levels where all that begins after waits for all that ends before; if there is no such cut, after
    /// the first level. Two or more parts.
    ///
    /// A level is the longest way from the beginning, so what begins right after the cut at `k` is the level `k + 1`
    /// that has nothing of its own part before it, and what ends there has its first successor on that level. The cut
    /// is exact when each of the ones has an edge to each of the others.
    fn cut(&self, nodes: &BTreeSet<u16>) -> Vec<BTreeSet<u16>> {
        let mut level: BTreeMap<u16, usize> = BTreeMap::new();
        for node in self.in_order().iter().map(|it| it.0) {
            if !nodes.contains(&node) {
                continue;
            }
            let before = self.graph.neighbors_directed(node, Direction::Incoming);
            let before = before.filter_map(|it| level.get(&it).map(|it| it + 1));
            let mine = before.max().unwrap_or(0);
            level.insert(node, mine);
        }
        let levels = level.values().max().map_or(0, |it| it + 1);
        // Per level: how many nodes, how many edges from what ends right before it, and what ends before it.
        let mut width = vec![0usize; levels + 1];
        let mut edges = vec![0usize; levels + 1];
        let mut ends = vec![0isize; levels + 2];
        for (&node, &at) in &level {
            width[at] += 1;
            let after: Vec<usize> = self.after(node, nodes).iter().map(|it| level[it]).collect();
            // It ends its part at every cut between its own level and that of its first successor.
            let first = after.iter().copied().min().unwrap_or(levels);
            ends[at + 1] += 1;
            ends[first + 1] -= 1;
            if first < levels {
                edges[first] += after.iter().filter(|it| **it == first).count();
            }
        }
        let mut ending = 0isize;
        let mut cuts = Vec::new();
        for at in 0..levels {
            ending += ends[at];
            let wanted = usize::try_from(ending).unwrap_or(0) * width[at];
            if at > 0 && edges[at] == wanted {
                cuts.push(at);
            }
        }
        if cuts.is_empty() {
            cuts.push(1);
        }
        let mut parts = vec![BTreeSet::new(); cuts.len() + 1];
        for (node, at) in level {
            parts[cuts.partition_point(|cut| *cut <= at)].insert(node);
        }
        parts
    }
}

/// The open node of a foreach by its place in the flow's scopes.
pub fn open_of(flow: &Flow, scope: usize) -> NodeId {
    let index = ScopeIndex(u16::try_from(scope + 1).expect("a flow has fewer scopes"));
    flow.scope_at(index).expect("an open has a scope").1
}

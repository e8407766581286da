//! Who comes after whom: what the checks of expressions need to know of the steps.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

/// A step or block as written.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) name_span: Range<usize>,
    /// The block around it.
    pub(crate) parent: Option<usize>,
    pub(crate) block: bool,
    pub(crate) foreach: bool,
    /// It runs another flow.
    pub(crate) sub_flow: bool,
    pub(crate) outputs: Vec<String>,
    pub(crate) after: Vec<(String, Range<usize>)>,
}

/// All steps and blocks; a block comes before its steps.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    pub(crate) items: Vec<Item>,
    by_name: HashMap<String, usize>,
    /// Per item, the items that its `after` names; made once all are known.
    before: OnceCell<Vec<Vec<usize>>>,
}

impl Outline {
    /// Adds an item, or returns the earlier one of the same name.
    pub(crate) fn add(&mut self, item: Item) -> Result<usize, &Item> {
        let place = self.items.len();
        match self.by_name.get(&item.name) {
            Some(&first) => Err(&self.items[first]),
            None => {
                self.by_name.insert(item.name.clone(), place);
                self.items.push(item);
                Ok(place)
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.items.iter().map(|it| it.name.as_str()).collect()
    }

    /// Whether `target` has ended whenever `user` starts. If not, what `after` would have to name.
    pub(crate) fn runs_before(&self, target: usize, user: usize) -> Result<(), Option<&str>> {
        let Some((level_target, level_user)) = self.meet(target, user) else {
            return Err(None);
        };
        if self.reaches(level_user, level_target) {
            return Ok(());
        }
        match self.reaches(level_target, level_user) {
            true => Err(None),
            false => Err(Some(&self.items[level_target].name)),
        }
    }

    /// The item whose `after` would have to name something, so that `target` runs before `user`.
    pub(crate) fn joins(&self, target: usize, user: usize) -> &str {
        let at = self.meet(target, user).map_or(user, |(_, user)| user);
        &self.items[at].name
    }

    /// The two items in one block that contain `target` and `user`; `None` if they are the same.
    fn meet(&self, target: usize, user: usize) -> Option<(usize, usize)> {
        let (targets, users) = (self.chain(target), self.chain(user));
        let common = targets
            .iter()
            .zip(&users)
            .take_while(|(a, b)| a == b)
            .count();
        Some((*targets.get(common)?, *users.get(common)?))
    }

    /// From the outermost block around an item to the item.
    fn chain(&self, item: usize) -> Vec<usize> {
        let mut chain = vec![item];
        while let Some(parent) = self.items[chain[chain.len() - 1]].parent {
            chain.push(parent);
        }
        chain.reverse();
        chain
    }

    /// Whether `from` comes after `to`, in one step or many.
    fn reaches(&self, from: usize, to: usize) -> bool {
        let before = self.before.get_or_init(|| {
            let named = |it: &Item| {
                it.after
                    .iter()
                    .filter_map(|(it, _)| self.find(it))
                    .collect()
            };
            self.items.iter().map(named).collect()
        });
        let (mut todo, mut seen) = (vec![from], vec![false; self.items.len()]);
        while let Some(item) = todo.pop() {
            for &next in &before[item] {
                if next == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[next], true) {
                    todo.push(next);
                }
            }
        }
        false
    }
}

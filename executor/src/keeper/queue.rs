//! Attempts in line, of whom anyone may leave at any time.

use super::protocol::Key;
use std::collections::{HashMap, VecDeque};

/// A first-in-first-out queue in which leaving costs the same wherever one stands: a cancelled foreach may have tens
/// of thousands in it.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: HashMap<Key, T>,
    /// Also of those that have left since.
    order: VecDeque<Key>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, key: Key, item: T) {
        self.order.push_back(key.clone());
        self.items.insert(key, item);
    }

    pub(crate) fn pop(&mut self) -> Option<(Key, T)> {
        loop {
            let key = self.order.pop_front()?;
            if let Some(item) = self.items.remove(&key) {
                return Some((key, item));
            }
        }
    }

    pub(crate) fn leave(&mut self, key: &Key) {
        self.items.remove(key);
        if self.items.is_empty() {
            self.order.clear();
        }
    }

    /// All that are in it, in their order.
    pub(crate) fn drain(&mut self) -> Vec<Key> {
        std::iter::from_fn(|| Some(self.pop()?.0)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_left_is_passed_over_and_may_come_again() {
        let mut queue = Queue::new();
        for key in ["a", "b", "c"] {
            queue.push(key.into(), key);
        }
        queue.leave(&"a".into());
        queue.leave(&"nobody".into());
        queue.push("a".into(), "a again");
        assert_eq!(queue.len(), 3);
        let all: Vec<_> = std::iter::from_fn(|| Some(queue.pop()?.1)).collect();
        assert_eq!(all.len(), 3);
        assert!(all.contains(&"a again") && !all.contains(&"a"));
        assert!(queue.is_empty() && queue.drain().is_empty());
    }

    #[test]
    fn many_leave_from_the_end_in_no_time() {
        let keys: Vec<Key> = (0..200_000)
            .map(|it| format!("1/a[{it}]/1").into())
            .collect();
        let mut queue = Queue::new();
        for key in &keys {
            queue.push(key.clone(), ());
        }
        // Looking at each that stands before would be 20,000,000,000 looks, and a minute.
        let begun = std::time::Instant::now();
        for key in keys.iter().rev() {
            queue.leave(key);
        }
        assert!(queue.is_empty() && begun.elapsed().as_secs() < 10);
    }
}

//! What is around every page.

use crate::assets;

/// The head, navigation and foot of a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// The navigation entry that is lit: `flows`, `runs`, `events`, `backfills`, `slas`, `alerts`, or nothing.
    pub(crate) nav: &'static str,
    /// Where changes are told; empty for pages that do not change.
    pub(crate) live: String,
    pub(crate) version: String,
}

impl Frame {
    /// The address of an asset, with its content hash.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

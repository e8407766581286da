//! Backfills at work: items that become runs in their lane, and what people do to them.

//! Promises about time: their rows are made from occurrences, days, runs and successes; they are met, or their moment
//! passes.
//!
//! A row is made when its period begins to matter: with the occurrence that is expected, not with the run that may never
//! come. So a breach needs nobody: its timer follows from the row.

mod rows;
mod runs;
mod tell;

pub(super) use rows::Unseen;

//! The behaviours that every store has.

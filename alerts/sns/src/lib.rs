//! Publishes alerts to topics of Amazon SNS.

mod topics;

pub use topics::Sns;

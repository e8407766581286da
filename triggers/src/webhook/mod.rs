//! Webhooks: deliveries of other systems, proven by their signatures, that become events.

mod body;
mod config;
mod route;
mod verify;

pub use config::{Webhook, WebhookSpec};
pub use route::{WEBHOOK_BYTES_MAX, Webhooks, router};

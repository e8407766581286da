//! A router that remembers its routes, so that a test can hold the OpenAPI document against it.

use crate::state::App;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{delete, get, post};
use std::sync::Arc;

/// Routes in the making.
pub(crate) struct Routes {
    pub(crate) router: Router<Arc<App>>,
    /// Method and path, in axum's notation, which OpenAPI shares: `/flows/{name}`.
    pub(crate) names: Vec<(Method, &'static str)>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            names: Vec::new(),
        }
    }

    pub(crate) fn get<H, T>(mut self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.names.push((Method::GET, path));
        self.router = self.router.route(path, get(handler));
        self
    }

    pub(crate) fn delete<H, T>(mut self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.names.push((Method::DELETE, path));
        self.router = self.router.route(path, delete(handler));
        self
    }

    pub(crate) fn post<H, T>(mut self, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.names.push((Method::POST, path));
        self.router = self.router.route(path, post(handler));
        self
    }
}

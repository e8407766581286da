//! Pages beside the main ones.

use super::{Frame, Html};
use askama::Template;
use dalsegno_engine::Problem;

#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage {
    pub(crate) frame: Frame,
    pub(crate) problem: Problem,
    pub(crate) cure: Html,
}

#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    pub(crate) frame: Frame,
    /// Where to go afterwards.
    pub(crate) to: String,
    pub(crate) wrong: bool,
}

#[derive(Template)]
#[template(path = "errors.html")]
pub(crate) struct ErrorsPage {
    pub(crate) frame: Frame,
    pub(crate) errors: Vec<ErrorLine>,
}

pub(crate) struct ErrorLine {
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    pub(crate) title: &'static str,
    pub(crate) cure: &'static str,
}

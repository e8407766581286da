//! A form field for a declared parameter.

use super::Html;
use crate::text::escape;
use dalsegno_scheduler::expr::{Template, plain};
use dalsegno_scheduler::spec::{ParamKind, ParamSpec};
use serde_json::Value;
use std::fmt::Write as _;

/// The name under which a parameter is sent by a form.
pub(crate) fn field_name(param: &str) -> String {
    format!("param.{param}")
}

/// The field of one parameter: its type decides the control; `given` is what was sent before, if it has to be
/// shown again.
pub(crate) fn field(param: &ParamSpec, given: Option<&str>) -> Html {
    let default = param.default.as_ref().map(shown_template);
    let required = default.is_none() && !param.optional;
    let name = escape(&field_name(&param.name));
    let mut html = format!(
        r#"<label><span>{} <small>{}{}</small></span>"#,
        escape(&param.name),
        kind_text(param.kind),
        if required { ", needed" } else { "" }
    );
    let value = given
        .map(|it| format!(r#" value="{}""#, escape(it)))
        .unwrap_or_default();
    let need = if required { " required" } else { "" };
    let hint = default
        .as_deref()
        .map(|it| format!(r#" placeholder="{}""#, escape(it)))
        .unwrap_or_default();
    if !param.choices.is_empty() || param.kind == ParamKind::Bool {
        select(&mut html, param, &name, default.as_deref(), given);
    } else {
        let kind = match param.kind {
            ParamKind::Int => r#" type="number" step="1""#.to_owned(),
            ParamKind::Float => r#" type="number" step="any""#.to_owned(),
            ParamKind::Date if default.is_none() => r#" type="date""#.to_owned(),
            _ => r#" type="text""#.to_owned(),
        };
        let min = param
            .min
            .map(|it| format!(r#" min="{it}""#))
            .unwrap_or_default();
        let max = param
            .max
            .map(|it| format!(r#" max="{it}""#))
            .unwrap_or_default();
        let _ = write!(
            html,
            r#"<input name="{name}"{kind}{min}{max}{hint}{need}{value}>"#
        );
    }
    if let Some(text) = &param.description {
        let _ = write!(html, "<em>{}</em>", escape(text));
    }
    html.push_str("</label>");
    Html(html)
}

fn select(
    html: &mut String,
    param: &ParamSpec,
    name: &str,
    default: Option<&str>,
    given: Option<&str>,
) {
    let _ = write!(html, r#"<select name="{name}">"#);
    if let Some(default) = default {
        let _ = write!(
            html,
            r#"<option value="">default: {}</option>"#,
            escape(default)
        );
    }
    let choices = if param.choices.is_empty() {
        vec![Value::Bool(true), Value::Bool(false)]
    } else {
        param.choices.clone()
    };
    for choice in choices {
        let text = plain(&choice);
        let selected = if given == Some(text.as_str()) {
            " selected"
        } else {
            ""
        };
        let text = escape(&text);
        let _ = write!(html, r#"<option value="{text}"{selected}>{text}</option>"#);
    }
    html.push_str("</select>");
}

const fn kind_text(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::String => "text",
        ParamKind::Int => "whole number",
        ParamKind::Float => "number",
        ParamKind::Bool => "yes or no",
        ParamKind::Date => "date",
        ParamKind::Datetime => "date and time, RFC 3339",
        ParamKind::Json => "JSON",
    }
}

fn shown_template(template: &Template) -> String {
    plain(&serde_json::to_value(template).unwrap_or_default())
}

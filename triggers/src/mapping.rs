//! Rules by which a delivery of any form becomes an event: templates over what was delivered.

use dalsegno_scheduler::expr::{Expr, Scope, Template, plain};
use dalsegno_scheduler::{NewEvent, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// A rule as written in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingSpec {
    /// CEL; the rule counts for deliveries of which it is true.
    pub when: Option<String>,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: Option<String>,
    pub id: Option<String>,
    pub subject: Option<String>,
    /// RFC 3339, or seconds since 1970.
    pub time: Option<String>,
    /// A template, or a table or list of templates.
    pub data: Option<Value>,
}

/// A rule whose expressions parse.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    when: Option<Expr>,
    kind: Template,
    source: Option<Template>,
    id: Option<Template>,
    subject: Option<Template>,
    time: Option<Template>,
    data: Option<Shape>,
}

/// Templates in the shape of the value that they make.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    One(Template),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// What an event is made of where a rule is silent.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub source: String,
    pub id: String,
    pub time: Option<Timestamp>,
    pub data: Value,
}

impl Mapping {
    /// Checks a rule; `roots` are the names that its expressions may use.
    ///
    /// # Errors
    /// Which key is wrong, and how.
    pub fn parse(spec: &MappingSpec, roots: &[&str]) -> Result<Self, String> {
        let optional = |name: &str, text: &Option<String>| {
            let text = text.as_ref();
            text.map(|it| template(name, &Value::String(it.clone()), roots))
                .transpose()
        };
        if spec.kind.trim().is_empty() {
            return Err("`type` is empty; it must be what happened, such as orders.ready".into());
        }
        let when = match &spec.when {
            None => None,
            Some(text) => {
                let expr = Expr::parse(text).map_err(|error| format!("`when`: {error}"))?;
                known("when", &expr, roots)?;
                Some(expr)
            }
        };
        Ok(Self {
            when,
            kind: template("type", &Value::String(spec.kind.clone()), roots)?,
            source: optional("source", &spec.source)?,
            id: optional("id", &spec.id)?,
            subject: optional("subject", &spec.subject)?,
            time: optional("time", &spec.time)?,
            data: spec.data.as_ref().map(|it| shape(it, roots)).transpose()?,
        })
    }

    /// Whether it counts only for some deliveries.
    pub fn is_conditional(&self) -> bool {
        self.when.is_some()
    }

    /// Whether it counts for this delivery.
    ///
    /// # Errors
    /// When `when` cannot be evaluated on it.
    pub fn applies(&self, scope: &Scope) -> Result<bool, String> {
        match &self.when {
            None => Ok(true),
            Some(expr) => expr
                .eval_bool(scope)
                .map_err(|error| format!("`when` of a mapping: {error}")),
        }
    }

    /// The event that it makes of a delivery.
    ///
    /// # Errors
    /// Which key of the rule finds no value in it.
    pub fn event(&self, scope: &Scope, defaults: Defaults) -> Result<NewEvent, String> {
        let of = |name: &str, it: &Template| {
            it.eval(scope)
                .map_err(|error| format!("`{name}` of the mapping: {error}"))
        };
        let text = |name: &str, it: &Option<Template>| match it {
            None => Ok(None),
            Some(it) => of(name, it).map(|it| Some(plain(&it)).filter(|it| !it.is_empty())),
        };
        let kind = plain(&of("type", &self.kind)?);
        let time = match self.time.as_ref().map(|it| of("time", it)).transpose()? {
            None | Some(Value::Null) => defaults.time,
            Some(value) => Some(instant(&value)?),
        };
        let data = match &self.data {
            None => defaults.data,
            Some(shape) => shape.eval(scope)?,
        };
        Ok(NewEvent {
            source: text("source", &self.source)?.unwrap_or(defaults.source),
            id: text("id", &self.id)?.unwrap_or(defaults.id),
            kind,
            subject: text("subject", &self.subject)?,
            time,
            data,
        })
    }
}

impl Shape {
    fn eval(&self, scope: &Scope) -> Result<Value, String> {
        match self {
            Self::One(it) => it
                .eval(scope)
                .map_err(|error| format!("`data` of the mapping: {error}")),
            Self::List(items) => items.iter().map(|it| it.eval(scope)).collect(),
            Self::Map(fields) => {
                let fields = fields.iter();
                let map: Result<_, String> = fields
                    .map(|(name, it)| Ok((name.clone(), it.eval(scope)?)))
                    .collect();
                Ok(Value::Object(map?))
            }
        }
    }
}

fn shape(value: &Value, roots: &[&str]) -> Result<Shape, String> {
    Ok(match value {
        Value::Array(items) => Shape::List(
            items
                .iter()
                .map(|it| shape(it, roots))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => {
            let fields = map.iter();
            let fields: Result<_, String> = fields
                .map(|(name, it)| Ok((name.clone(), shape(it, roots)?)))
                .collect();
            Shape::Map(fields?)
        }
        other => Shape::One(template("data", other, roots)?),
    })
}

fn template(name: &str, value: &Value, roots: &[&str]) -> Result<Template, String> {
    let template = Template::parse(value).map_err(|error| format!("`{name}`: {error}"))?;
    for expr in template.exprs() {
        known(name, expr, roots)?;
    }
    Ok(template)
}

fn known(name: &str, expr: &Expr, roots: &[&str]) -> Result<(), String> {
    let mut used = expr.names().roots.iter();
    match used.find(|it| !roots.contains(&it.as_str())) {
        None => Ok(()),
        Some(other) => Err(format!(
            "`{name}`: there is no `{other}` here; known are {}",
            roots.join(", ")
        )),
    }
}

fn instant(value: &Value) -> Result<Timestamp, String> {
    let seconds_max = 253_402_300_799.0;
    let at = match value {
        Value::String(text) => Timestamp::parse_rfc3339(text),
        Value::Number(seconds) => seconds
            .as_f64()
            .filter(|it| (0.0..seconds_max).contains(it))
            .map(|it| Timestamp((it * 1e6).round() as i64)),
        _ => None,
    };
    at.ok_or_else(|| {
        format!(
            "`time` of the mapping is {value}; an instant such as 2026-11-22T06:00:00Z, or seconds since 1970, is expected"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(spec: Value) -> Result<Mapping, String> {
        let spec: MappingSpec = serde_json::from_value(spec).map_err(|it| it.to_string())?;
        Mapping::parse(&spec, &["message"])
    }

    fn scope(message: Value) -> Scope {
        Scope::from([("message", message)])
    }

    fn defaults() -> Defaults {
        Defaults {
            source: "queue:orders".into(),
            id: "m-1".into(),
            time: None,
            data: json!("all of it"),
        }
    }

    #[test]
    fn a_rule_takes_what_it_names_and_the_rest_from_the_delivery() {
        let rule = rule(json!({
            "type": "orders.${{ message.body.kind }}",
            "subject": "${{ message.body.day }}",
            "time": "${{ message.body.at }}",
            "data": { "day": "${{ message.body.day }}", "rows": "${{ message.body.rows }}" },
        }))
        .expect("valid");
        let body = json!({"kind": "ready", "day": "monday", "rows": [1, 2], "at": 1_700_000_000});
        let event = rule
            .event(&scope(json!({ "body": body })), defaults())
            .expect("an event");
        assert_eq!(event.kind, "orders.ready");
        assert_eq!(event.source, "queue:orders");
        assert_eq!(event.id, "m-1");
        assert_eq!(event.subject.as_deref(), Some("monday"));
        assert_eq!(event.data, json!({"day": "monday", "rows": [1, 2]}));
        assert_eq!(event.time, Some(Timestamp::from_secs(1_700_000_000)));
    }

    #[test]
    fn what_a_rule_does_not_find_is_told() {
        let rule = rule(json!({"type": "orders.${{ message.body.kind }}"})).expect("valid");
        let error = rule
            .event(&scope(json!({"body": {}})), defaults())
            .expect_err("no kind");
        assert!(error.contains("`type` of the mapping"), "{error}");
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused_when_it_is_read() {
        let error = rule(json!({"type": "x", "id": "${{ event.id }}"})).expect_err("no event here");
        assert_eq!(error, "`id`: there is no `event` here; known are message");
        assert!(rule(json!({"type": "x", "id": "${{ message. }}"})).is_err());
        assert!(rule(json!({"type": " "})).is_err());
    }
}

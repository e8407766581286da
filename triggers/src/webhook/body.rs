//! The content of a delivery as expressions see it.

use super::config::Scheme;
use crate::cloud_event::media_type;
use axum::http::{HeaderMap, Uri};
use dalsegno_scheduler::expr::Scope;
use serde_json::{Map, Value};

/// Headers that prove or identify who sends; expressions do not see them.
const HIDDEN: [&str; 6] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "webhook-signature",
    "x-hub-signature",
    "x-hub-signature-256",
];

/// `body`, `headers` and `query` of a delivery whose signature is good.
///
/// # Errors
/// When the body is not what its content type says.
pub(super) fn scope(
    scheme: Scheme,
    headers: &HeaderMap,
    uri: &Uri,
    body: &[u8],
) -> Result<Scope, String> {
    Ok(Scope::from([
        ("body", content(scheme, headers, body)?),
        ("headers", Value::Object(shown(headers))),
        ("query", fields(uri.query().unwrap_or_default().as_bytes())),
    ]))
}

fn content(scheme: Scheme, headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    let json = |text: &[u8]| {
        serde_json::from_slice(text).map_err(|error| format!("the body is not valid JSON: {error}"))
    };
    match media_type(headers).as_str() {
        _ if body.is_empty() => Ok(Value::Null),
        "application/x-www-form-urlencoded" => {
            let fields = fields(body);
            match fields.get("payload") {
                // How GitHub sends when it is told to send forms.
                Some(Value::String(payload)) if scheme == Scheme::Github => {
                    json(payload.as_bytes())
                }
                _ => Ok(fields),
            }
        }
        kind if kind.is_empty() || kind == "application/json" || kind.ends_with("+json") => {
            json(body)
        }
        kind if kind.starts_with("text/") => String::from_utf8(body.to_owned())
            .map(Value::String)
            .map_err(|_| "the body is not UTF-8 text".into()),
        kind => Err(format!(
            "content type `{kind}` is not taken; send application/json, application/x-www-form-urlencoded or text"
        )),
    }
}

/// Headers by their names in lower case; of a header that is given several times all values, joined by `, `.
fn shown(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys().filter(|it| !HIDDEN.contains(&it.as_str())) {
        let values = headers.get_all(name).iter();
        let texts: Vec<_> = values
            .map(|it| String::from_utf8_lossy(it.as_bytes()))
            .collect();
        shown.insert(name.as_str().to_owned(), texts.join(", ").into());
    }
    shown
}

/// The fields of a form or a query; of a field that is given several times the last value.
fn fields(text: &[u8]) -> Value {
    let pairs = form_urlencoded::parse(text);
    let map: Map<String, Value> = pairs
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde_json::json;

    fn headers(kind: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers
    }

    fn body(kind: &'static str, text: &str) -> Result<Value, String> {
        content(Scheme::Github, &headers(kind), text.as_bytes())
    }

    #[test]
    fn json_forms_and_text_are_read() {
        assert_eq!(body("application/json", r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert_eq!(
            body(
                "application/x-www-form-urlencoded",
                "payload=%7B%22a%22%3A1%7D"
            ),
            Ok(json!({"a": 1}))
        );
        assert_eq!(
            body("application/x-www-form-urlencoded", "a=1&b=x+y"),
            Ok(json!({"a": "1", "b": "x y"}))
        );
        assert_eq!(
            body("text/plain; charset=utf-8", "hello"),
            Ok(json!("hello"))
        );
        assert_eq!(body("application/json", ""), Ok(Value::Null));
        assert!(body("application/json", "{").is_err());
        assert!(body("image/png", "x").is_err());
    }

    #[test]
    fn signatures_and_passwords_are_not_seen_by_expressions() {
        let mut headers = headers("application/json");
        for name in HIDDEN {
            headers.insert(name, HeaderValue::from_static("secret"));
        }
        headers.append("x-tag", HeaderValue::from_static("a"));
        headers.append("x-tag", HeaderValue::from_static("b"));
        let uri = "/api/v1/webhooks/x?day=monday&day=friday"
            .parse()
            .expect("a URI");
        let scope = scope(Scheme::Standard, &headers, &uri, b"1").expect("a scope");
        assert_eq!(
            scope["headers"],
            json!({"content-type": "application/json", "x-tag": "a, b"})
        );
        assert_eq!(scope["query"], json!({"day": "friday"}));
    }
}

//! Stylesheet and scripts, in the binary, under names that carry their content's hash.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use std::collections::BTreeMap;
use std::sync::LazyLock;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Files;

/// Name with hash to name.
static NAMES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let names = Files::iter();
    names
        .map(|name| (hashed(&name), name.into_owned()))
        .collect()
});

/// The address of an asset.
pub(crate) fn address(name: &str) -> String {
    format!("/assets/{}", hashed(name))
}

/// Serves an asset. With the hash of its content in the name it may be kept for ever; modules import each
/// other by plain names, which are checked again each time.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    let known = NAMES.get(&name);
    let Some(file) = Files::get(known.unwrap_or(&name)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let cache = match known {
        Some(_) => "public, max-age=31536000, immutable",
        None => "no-cache",
    };
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
    ];
    (headers, file.data.into_owned()).into_response()
}

fn hashed(name: &str) -> String {
    let Some(file) = Files::get(name) else {
        return name.to_owned();
    };
    let hash = &file.metadata.sha256_hash()[..6];
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    match name.rsplit_once('.') {
        Some((stem, end)) => format!("{stem}.{hash}.{end}"),
        None => format!("{name}.{hash}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_has_an_address_of_its_own_content() {
        let style = address("style.css");
        assert!(
            style.starts_with("/assets/style.") && style.ends_with(".css"),
            "{style}"
        );
        assert_ne!(style, "/assets/style.css");
        assert_eq!(NAMES.len(), Files::iter().count());
    }
}

//! Documents that must stay true.

use dalsegno_engine::Code;
use std::fmt::Write as _;

#[test]
fn the_page_of_errors_lists_every_code() {
    let mut page = String::from(
        "# Errors of the API\n\nEvery error is a problem (RFC 9457, `application/problem+json`) with `type`, `title`, \
         `status`, `code`\nand `detail`; some codes add members. The `code` is stable. The same list is served by the \
         daemon at `/docs/errors`.\n",
    );
    for code in Code::ALL {
        let (status, title, cure) = code.about();
        let _ = write!(
            page,
            "\n## {}\n\n{status}. {title}.\n{cure}\n",
            code.as_str()
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).expect("written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(written, page, "run the test once with UPDATE_DOCS=1");
}

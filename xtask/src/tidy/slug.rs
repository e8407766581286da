//! Anchors of headings, as code hosts make them.

use std::collections::BTreeMap;

/// The anchors of a Markdown text: of its headings, and what it names with `id="…"`.
pub(super) fn anchors(markdown: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut anchors = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        if let Some(heading) = heading(line) {
            let slug = slug(heading);
            let count = seen.entry(slug.clone()).or_default();
            anchors.push(if *count == 0 {
                slug
            } else {
                format!("{slug}-{count}")
            });
            *count += 1;
        }
        let named = line
            .split("id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        anchors.extend(named.map(str::to_owned));
    }
    anchors
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let depth = line.len() - text.len();
    ((1..=6).contains(&depth) && text.starts_with(' ')).then(|| text.trim())
}

fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ if letter.is_alphanumeric() => Some(letter.to_lowercase().next().unwrap_or(letter)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors_as_on_code_hosts() {
        let text = "# The *house*, in short\n## `when` and `after`\n## Again\n## Again\n```\n# not one\n```\n";
        assert_eq!(
            anchors(text),
            ["the-house-in-short", "when-and-after", "again", "again-1"]
        );
    }

    #[test]
    fn named_places_are_anchors() {
        assert_eq!(anchors("<a id=\"here\"></a>\n"), ["here"]);
    }
}

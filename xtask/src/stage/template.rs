//! Fills in a configuration file in which words stand between `@`. Pure.

use anyhow::bail;

/// The text with every `@NAME@` replaced. A name that nobody gives is an error, and so is a value that would
/// end the TOML string that it stands in.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut text = String::with_capacity(template.len());
    for (number, line) in template.lines().enumerate() {
        // Comments may talk about the marks.
        if line.starts_with('#') {
            text.push_str(line);
        } else {
            for (part_number, part) in line.split('@').enumerate() {
                if part_number % 2 == 0 {
                    text.push_str(part);
                    continue;
                }
                let Some((_, value)) = values.iter().find(|(name, _)| *name == part) else {
                    bail!("line {}: nothing is known for @{part}@", number + 1);
                };
                if value.contains(['"', '\\']) || value.chars().any(char::is_control) {
                    bail!("line {}: the value for @{part}@ does not fit in a string", number + 1);
                }
                text.push_str(value);
            }
        }
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_replaced_outside_of_comments() {
        let filled = fill("# between @\na = \"@A@/x@B@\"\n", &[("A", "1"), ("B", "2")]).expect("all are known");
        assert_eq!(filled, "# between @\na = \"1/x2\"\n");
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_an_error_with_its_line() {
        let unknown = fill("\na = \"@A@\"", &[]).expect_err("nobody gives it").to_string();
        assert!(unknown.starts_with("line 2") && unknown.contains("@A@"), "{unknown}");
        assert!(fill("a = \"@A@\"", &[("A", "x\"y")]).is_err());
    }
}

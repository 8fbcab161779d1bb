//! `${NAME}` and `${NAME:-default}` in values.

/// Looks an environment variable up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills variables in. `$${` writes a literal `${`; a lone `$` stays.
///
/// What a variable holds is taken as text: it is never read as YAML and never expanded again.
///
/// # Errors
/// A message naming the variable that is not set and has no default, or the bracket that never closes.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, tail) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = tail.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let inner = tail.get(2..).unwrap_or_default();
        let end = inner
            .find('}')
            .ok_or_else(|| format!("{text:?} has a \"${{\" that is never closed"))?;
        let (variable, after) = inner.split_at(end);
        out.push_str(&value(variable, lookup)?);
        rest = after.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

fn value(variable: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(format!(
            "{name:?} is not the name of an environment variable"
        ));
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    let set = lookup(name).filter(|value| default.is_none() || !value.is_empty());
    set.or_else(|| default.map(str::to_owned))
        .ok_or_else(|| format!("the environment variable {name} is not set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_missing_ones_named() {
        let lookup = |name: &str| match name {
            "PORT" => Some("80".to_owned()),
            "EMPTY" => Some(String::new()),
            "SNEAKY" => Some("${PORT}".to_owned()),
            _ => None,
        };
        for (text, want) in [
            ("plain $ text $5", "plain $ text $5"),
            ("127.0.0.1:${PORT}", "127.0.0.1:80"),
            ("${HOST:-localhost}:${PORT:-81}", "localhost:80"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("$${PORT}", "${PORT}"),
            ("${SNEAKY}", "${PORT}"),
            ("${NONE:-}", ""),
        ] {
            assert_eq!(expand(text, &lookup).as_deref(), Ok(want), "{text}");
        }
        for (text, part) in [
            ("${NONE}", "NONE is not set"),
            ("a ${PORT", "never closed"),
            ("${a b}", "not the name"),
        ] {
            assert!(expand(text, &lookup).unwrap_err().contains(part), "{text}");
        }
    }
}

//! The rules of Traefik's routers: Go-like expressions of matchers, `Host(`a`) && (PathPrefix(`/b`) || Method(`POST`))`.
//!
//! An expression is read into a tree and then laid out as alternatives, each of which has to hold as a whole: what a
//! route can say. Both forms of the grammar are taken, that of version 2 (several values, `{name:regex}`) and that of version 3.

/// Longest rule, in bytes.
const MAX_RULE: usize = 8 * 1024;
/// Parentheses and negations within each other.
const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    /// Any of them.
    Or(Vec<Expr>),
    /// All of them.
    And(Vec<Expr>),
    Not(Box<Expr>),
    Matcher {
        name: String,
        values: Vec<String>,
    },
}

/// Reads a rule.
///
/// # Errors
/// What is wrong, and after how many characters.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    if text.len() > MAX_RULE {
        return Err(format!("a rule has at most {MAX_RULE} bytes"));
    }
    let mut parser = Parser { text, at: 0 };
    let expr = parser.or(0)?;
    match parser.next() {
        None => Ok(expr),
        Some(_) => Err(parser.expected("&&, || or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that is no space, not taken.
    fn next(&mut self) -> Option<char> {
        let spaces = self.rest().len() - self.rest().trim_start().len();
        self.at += spaces;
        self.rest().chars().next()
    }

    fn takes(&mut self, word: &str) -> bool {
        self.next();
        let takes = self.rest().starts_with(word);
        if takes {
            self.at += word.len();
        }
        takes
    }

    fn expected(&self, what: &str) -> String {
        format!(
            "{what} is expected after {:?}",
            self.text.get(..self.at).unwrap_or_default().trim_end()
        )
    }

    fn or(&mut self, depth: usize) -> Result<Expr, String> {
        let mut all = vec![self.and(depth)?];
        while self.takes("||") {
            all.push(self.and(depth)?);
        }
        Ok(single(all, Expr::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Expr, String> {
        let mut all = vec![self.unary(depth)?];
        while self.takes("&&") {
            all.push(self.unary(depth)?);
        }
        Ok(single(all, Expr::And))
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, String> {
        if depth > MAX_DEPTH {
            return Err(format!(
                "more than {MAX_DEPTH} parentheses are within each other"
            ));
        }
        if self.takes("!") {
            return Ok(Expr::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.takes("(") {
            let inner = self.or(depth + 1)?;
            return match self.takes(")") {
                true => Ok(inner),
                false => Err(self.expected("a closing parenthesis")),
            };
        }
        self.matcher()
    }

    fn matcher(&mut self) -> Result<Expr, String> {
        self.next();
        let letters = self.rest().bytes().take_while(u8::is_ascii_alphabetic);
        let length = letters.count();
        let name = self.rest().get(..length).unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(self.expected("a matcher such as Host(`example.com`)"));
        }
        self.at += length;
        if !self.takes("(") {
            return Err(self.expected("an opening parenthesis"));
        }
        let mut values = Vec::new();
        while !self.takes(")") {
            if !values.is_empty() && !self.takes(",") {
                return Err(self.expected("a comma or a closing parenthesis"));
            }
            values.push(self.value()?);
        }
        match values.is_empty() {
            true => Err(format!("{name}() has no value")),
            false => Ok(Expr::Matcher { name, values }),
        }
    }

    /// In backticks as it is, in double quotes with `\"` and `\\`.
    fn value(&mut self) -> Result<String, String> {
        let Some(quote @ ('`' | '"')) = self.next() else {
            return Err(self.expected("a value in backticks"));
        };
        let begin = self.at + 1;
        let mut value = String::new();
        let mut escaped = false;
        for (offset, c) in self.text.get(begin..).unwrap_or_default().char_indices() {
            match c {
                _ if escaped => {
                    value.push(c);
                    escaped = false;
                }
                '\\' if quote == '"' => escaped = true,
                _ if c == quote => {
                    self.at = begin + offset + 1;
                    return Ok(value);
                }
                _ => value.push(c),
            }
        }
        Err(format!("the value that begins with {quote} has no end"))
    }
}

fn single(mut all: Vec<Expr>, many: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            all.push(last);
            many(all)
        }
        (_, None) => many(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(name: &str, values: &[&str]) -> Expr {
        Expr::Matcher {
            name: name.into(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        }
    }

    #[test]
    fn and_binds_more_than_or_and_parentheses_more_than_both() {
        let (a, b, c) = (
            matcher("A", &["a"]),
            matcher("B", &["b", "x"]),
            matcher("C", &["c"]),
        );
        assert_eq!(parse("A(`a`)"), Ok(a.clone()));
        assert_eq!(
            parse(" A(`a`)||B(`b`, \"x\")&&C(`c`) "),
            Ok(Expr::Or(vec![
                a.clone(),
                Expr::And(vec![b.clone(), c.clone()])
            ]))
        );
        assert_eq!(
            parse("(A(`a`) || B(`b`,`x`)) && !C(`c`)"),
            Ok(Expr::And(vec![
                Expr::Or(vec![a, b]),
                Expr::Not(Box::new(c))
            ]))
        );
        assert_eq!(parse(r#"A("a\"b\\")"#), Ok(matcher("A", &[r#"a"b\"#])));
    }

    #[test]
    fn what_is_no_rule_is_told_with_its_place() {
        for (text, says) in [
            ("", "a matcher such as"),
            ("Host", "an opening parenthesis is expected after \"Host\""),
            ("Host()", "has no value"),
            ("Host(a)", "a value in backticks"),
            ("Host(`a)", "has no end"),
            ("Host(`a`", "a comma or a closing parenthesis"),
            ("Host(`a`) Path(`b`)", "&&, || or the end"),
            ("Host(`a`) &&", "a matcher such as"),
            ("(Host(`a`)", "a closing parenthesis"),
            ("Host(`a` `b`)", "a comma"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
        assert!(
            parse(&"(".repeat(5000))
                .unwrap_err()
                .contains("within each other")
        );
        assert!(parse(&"!".repeat(5000)).is_err());
        assert!(parse(&"a".repeat(9000)).unwrap_err().contains("bytes"));
    }
}

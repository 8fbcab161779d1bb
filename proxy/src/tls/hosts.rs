//! What stands for a host: an exact name before wildcards, of these the longest.

use rustc_hash::FxHashMap;

/// Things by name. Names are in lower case.
#[derive(Debug)]
pub(super) struct Hosts<T> {
    exact: FxHashMap<Box<str>, T>,
    /// By what follows the star, with its dot: `.example.com`.
    wildcard: FxHashMap<Box<str>, T>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self {
            exact: FxHashMap::default(),
            wildcard: FxHashMap::default(),
        }
    }
}

impl<T> Hosts<T> {
    /// The place of a name, or of a wildcard such as `*.example.com`.
    pub(super) fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        let (of, name) = match name.strip_prefix('*') {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, name),
        };
        of.entry(name.into()).or_default()
    }

    pub(super) fn each(&mut self, change: impl FnMut(&mut T)) {
        let all = self.exact.values_mut().chain(self.wildcard.values_mut());
        all.for_each(change);
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values())
    }

    /// What stands for a host, whether or not it is written with a dot at the end. A wildcard stands for one label or more, as in
    /// routes. Labels are gone through from the left, so the first wildcard is the longest.
    pub(super) fn get(&self, host: &str) -> Option<&T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut suffixes = (host.match_indices('.')).filter_map(|(at, _)| suffix(host, at));
        let wildcard = || suffixes.find_map(|suffix| self.wildcard.get(suffix));
        self.exact.get(host).or_else(wildcard)
    }

    /// The same where a wildcard stands for one label and no more, as in certificates (RFC 9525, section 6.3).
    pub(super) fn get_by_label(&self, host: &str) -> Option<&T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let wildcard = || self.wildcard.get(suffix(host, host.find('.')?)?);
        self.exact.get(host).or_else(wildcard)
    }
}

/// What follows the labels before a dot, if there are any.
fn suffix(host: &str, dot: usize) -> Option<&str> {
    host.get(dot..).filter(|_| dot > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_stands_before_the_longest_wildcard_of_one_label_or_of_many() {
        let mut hosts = Hosts::default();
        for name in ["a.example.com", "*.example.com", "*.b.example.com", "*.com"] {
            *hosts.entry(name) = name;
        }
        let (one, many) = (true, false);
        for (host, expected, labels) in [
            ("a.example.com", Some("a.example.com"), one),
            ("a.example.com.", Some("a.example.com"), one),
            ("c.example.com.", Some("*.example.com"), one),
            ("c.example.com", Some("*.example.com"), one),
            ("x.a.example.com", Some("*.example.com"), many),
            ("x.a.example.com.", Some("*.example.com"), many),
            ("b.example.com", Some("*.example.com"), one),
            ("x.b.example.com", Some("*.b.example.com"), one),
            ("x.y.b.example.com", Some("*.b.example.com"), many),
            ("example.com", Some("*.com"), one),
            (".example.com", Some("*.com"), many),
            (".com", None, one),
            ("com", None, one),
            ("example.org", None, one),
            ("", None, one),
        ] {
            assert_eq!(hosts.get(host).copied(), expected, "{host}");
            let expected = expected.filter(|_| labels == one);
            assert_eq!(hosts.get_by_label(host).copied(), expected, "{host}");
        }
    }
}

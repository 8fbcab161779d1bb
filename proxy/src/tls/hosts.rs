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

    /// What stands for a host, whether or not it is written with a dot at the end. Its labels are gone through from the left, so the first wildcard is the longest.
    pub(super) fn get(&self, host: &str) -> Option<&T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(exact) = self.exact.get(host) {
            return Some(exact);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        host.match_indices('.')
            .filter(|(at, _)| *at > 0)
            .find_map(|(at, _)| self.wildcard.get(&host[at..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_stands_before_the_longest_wildcard_before_shorter_ones() {
        let mut hosts = Hosts::default();
        for name in ["a.example.com", "*.example.com", "*.b.example.com", "*.com"] {
            *hosts.entry(name) = name;
        }
        for (host, expected) in [
            ("a.example.com", Some("a.example.com")),
            ("a.example.com.", Some("a.example.com")),
            ("c.example.com.", Some("*.example.com")),
            ("c.example.com", Some("*.example.com")),
            ("x.a.example.com", Some("*.example.com")),
            ("b.example.com", Some("*.example.com")),
            ("x.b.example.com", Some("*.b.example.com")),
            ("example.com", Some("*.com")),
            (".com", None),
            ("com", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(hosts.get(host).copied(), expected, "{host}");
        }
    }
}

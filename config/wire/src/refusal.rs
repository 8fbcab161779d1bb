//! What a resource says that is not understood, and where it says so.
//!
//! Nothing that is set may be passed over: the parts of a message are taken apart by [`take!`], which names every field of its
//! type. A field that the types gain does not compile until somebody decides about it.

use std::fmt;

/// A field that cannot be taken, by its path in the resource, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    path: String,
    why: String,
}

impl Refusal {
    /// About the message itself; the callers say where it is ([`Within`]).
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            path: String::new(),
            why: why.into(),
        }
    }

    /// A field, or a value of it, that is not supported.
    pub(crate) fn unsupported(field: &str) -> Self {
        Self::new("is not supported").within(field)
    }

    /// A field that must be there.
    pub(crate) fn missing(field: &str) -> Self {
        Self::new("is missing").within(field)
    }

    /// The same, seen from the message that holds `field`.
    pub(crate) fn within(mut self, field: &str) -> Self {
        let field = field.trim_start_matches("r#");
        self.path = match self.path.as_str() {
            "" => field.to_owned(),
            rest => format!("{field}.{rest}"),
        };
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.why),
            path => write!(f, "{path} {}", self.why),
        }
    }
}

/// Says where something was refused.
pub(crate) trait Within<T> {
    /// In this field.
    fn within(self, field: &str) -> Result<T, Refusal>;
    /// In this element of a repeated field.
    fn at(self, field: &str, index: usize) -> Result<T, Refusal>;
}

impl<T> Within<T> for Result<T, Refusal> {
    fn within(self, field: &str) -> Self {
        self.map_err(|refusal| refusal.within(field))
    }

    fn at(self, field: &str, index: usize) -> Self {
        let field = field.trim_start_matches("r#");
        self.map_err(|refusal| refusal.within(&format!("{field}[{index}]")))
    }
}

/// Whether a field says anything.
pub(crate) fn is_set<T: Default + PartialEq>(field: &T) -> bool {
    *field != T::default()
}

/// Takes a message apart: the fields that are read get names, the others must not be set.
macro_rules! take {
    ($value:expr => $ty:path { $($known:ident),* $(,)? } refuse { $($other:ident),* $(,)? }) => {
        #[allow(deprecated)]
        let $ty { $($known,)* $($other,)* } = $value;
        $(
            if $crate::refusal::is_set(&$other) {
                return Err($crate::refusal::Refusal::unsupported(stringify!($other)));
            }
        )*
    };
}
pub(crate) use take;

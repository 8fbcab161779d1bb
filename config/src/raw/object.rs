//! The macros that define the objects and words of a file once: type, reader, key list and JSON schema together.

/// Defines an object of a file. Every field is optional; the compiler says what is missing.
///
/// `extra` fields come from labels only: no file can write them.
macro_rules! object {
    (
        $(#[$meta:meta])*
        $name:ident = $what:literal {
            $( $(#[$fmeta:meta])* $field:ident : $ty:ty = $key:literal ),* $(,)?
        }
        $( extra { $( $(#[$emeta:meta])* $efield:ident : $ety:ty ),* $(,)? } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            #[schemars(skip)]
            pub meta: $crate::raw::Meta,
            $( $(#[$fmeta])* #[schemars(rename = $key)] pub $field: Option<$ty>, )*
            $( $( $(#[$emeta])* #[schemars(skip)] pub $efield: $ety, )* )?
        }

        impl $crate::raw::read::Read for $name {
            fn read(node: &$crate::yaml::Node, reader: &mut $crate::raw::read::Reader<'_>) -> Option<Self> {
                let entries = reader.mapping(node, $what)?;
                let errors = reader.errors();
                let mut object = Self::default();
                object.meta.place = reader.place(node.mark);
                for entry in entries {
                    match entry.0.text.as_str() {
                        $( $key => object.$field = reader.field(entry), )*
                        _ => reader.unknown(&entry.0, $what, &[$($key),*]),
                    }
                }
                object.meta.broken = reader.errors() > errors;
                Some(object)
            }
        }
    };
}

/// Defines a closed set of words that a value can be.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident = $what:literal { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[$vmeta])* $variant ),* }

        impl $crate::raw::Scalar for $name {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, $crate::raw::scalar::Refused> {
                match text {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err($crate::raw::scalar::Refused::word($what, text, &[$($word),*])),
                }
            }

            fn schema() -> schemars::Schema {
                schemars::json_schema!({ "enum": [$($word),*] })
            }
        }
    };
}

pub(crate) use object;
pub(crate) use words;

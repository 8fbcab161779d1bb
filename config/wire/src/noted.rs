//! What only Weir knows, noted beside the fields that everybody knows.
//!
//! A resource is encoded in the fields that Envoy has. What those alone would give back ([`crate::decode`] reads a foreign
//! control plane's resources by them) is compared with what was meant, and every difference is noted in the resource's
//! metadata. So nothing is said twice, and nothing that the fields cannot say, or say less exactly, is lost. The very same
//! differences are what an Envoy is not told ([`crate::LeftOut`]).
//!
//! A note is a JSON value. A struct's is an object of the fields that differ, a list's of the same length an object by index;
//! anything else is whole. An enum with data is an array of the variant's name and its data.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

mod authorization;
mod listener;
mod route;
mod service;

/// Can be noted and read again.
pub(crate) trait Noted: Sized {
    /// The whole value.
    fn note(&self) -> Value;

    /// The value of a whole note; `None` if it is none.
    fn read(note: &Value) -> Option<Self>;

    /// What turns `plain` into this one; `None` when they are equal.
    fn beyond(&self, plain: &Self) -> Option<Value> {
        let note = self.note();
        (note != plain.note()).then_some(note)
    }

    /// Takes what [`Noted::beyond`] gave; `None` if it is no such note.
    fn amend(&mut self, note: &Value) -> Option<()> {
        *self = Self::read(note)?;
        Some(())
    }
}

/// A struct by its fields, each of which must be listed.
macro_rules! noted_struct {
    ($ty:ident { $($field:ident),* $(,)? } $(skip { $($skip:ident),* })?) => {
        impl $crate::noted::Noted for $ty {
            fn note(&self) -> ::serde_json::Value {
                let Self { $($field,)* $($($skip: _,)*)? } = self;
                let mut fields = ::serde_json::Map::new();
                $(fields.insert(stringify!($field).to_owned(), $field.note());)*
                fields.into()
            }

            noted_struct!(@read $ty { $($field),* } $(skip { $($skip),* })?);

            fn beyond(&self, plain: &Self) -> Option<::serde_json::Value> {
                let Self { $($field,)* $($($skip: _,)*)? } = self;
                let mut fields = ::serde_json::Map::new();
                $(
                    if let Some(note) = $field.beyond(&plain.$field) {
                        fields.insert(stringify!($field).to_owned(), note);
                    }
                )*
                (!fields.is_empty()).then(|| fields.into())
            }

            fn amend(&mut self, note: &::serde_json::Value) -> Option<()> {
                let fields = note.as_object()?;
                for (name, note) in fields {
                    match name.as_str() {
                        $(stringify!($field) => self.$field.amend(note)?,)*
                        _ => return None,
                    }
                }
                Some(())
            }
        }
    };
    (@read $ty:ident { $($field:ident),* }) => {
        fn read(note: &::serde_json::Value) -> Option<Self> {
            let fields = note.as_object()?;
            Some(Self { $($field: $crate::noted::Noted::read(fields.get(stringify!($field))?)?),* })
        }
    };
    (@read $ty:ident { $($field:ident),* } skip { $($skip:ident),* }) => {
        /// What is skipped has a resource of its own: there is nothing to make a whole of.
        fn read(_: &::serde_json::Value) -> Option<Self> {
            None
        }
    };
}
use noted_struct;

/// An enum by its variants: those without data, with one value, with named values.
macro_rules! noted_enum {
    ($ty:ident { units [$($unit:ident),*] values [$($value:ident),*] structs [$($named:ident { $($field:ident),* }),*] }) => {
        impl $crate::noted::Noted for $ty {
            fn note(&self) -> ::serde_json::Value {
                match self {
                    $(Self::$unit => stringify!($unit).into(),)*
                    $(Self::$value(inner) => ::serde_json::Value::from(vec![::serde_json::Value::from(stringify!($value)), inner.note()]),)*
                    $(Self::$named { $($field),* } => {
                        let mut fields = ::serde_json::Map::new();
                        $(fields.insert(stringify!($field).to_owned(), $field.note());)*
                        ::serde_json::Value::from(vec![::serde_json::Value::from(stringify!($named)), ::serde_json::Value::from(fields)])
                    })*
                }
            }

            #[allow(unused_variables, unreachable_patterns)]
            fn read(note: &::serde_json::Value) -> Option<Self> {
                let (name, data) = $crate::noted::variant(note)?;
                match name {
                    $(stringify!($unit) => Some(Self::$unit),)*
                    $(stringify!($value) => Some(Self::$value($crate::noted::Noted::read(data)?)),)*
                    $(stringify!($named) => Some(Self::$named {
                        $($field: $crate::noted::Noted::read(data.get(stringify!($field))?)?),*
                    }),)*
                    _ => None,
                }
            }
        }
    };
}
use noted_enum;

/// A type that is written and read as text.
macro_rules! noted_text {
    ($ty:ty, $value:ident => $write:expr, $text:ident => $read:expr) => {
        impl $crate::noted::Noted for $ty {
            fn note(&self) -> ::serde_json::Value {
                let $value = self;
                ::serde_json::Value::String($write)
            }

            fn read(note: &::serde_json::Value) -> Option<Self> {
                let $text = note.as_str()?;
                $read
            }
        }
    };
}
use noted_text;

/// What many share is copied where a note changes it.
macro_rules! noted_shared {
    ($($ty:ident),*) => {$(
        impl $crate::noted::Noted for ::std::sync::Arc<$ty> {
            fn note(&self) -> ::serde_json::Value {
                $ty::note(self)
            }

            fn read(note: &::serde_json::Value) -> Option<Self> {
                $ty::read(note).map(Self::new)
            }

            fn beyond(&self, plain: &Self) -> Option<::serde_json::Value> {
                $ty::beyond(self, plain)
            }

            fn amend(&mut self, note: &::serde_json::Value) -> Option<()> {
                ::std::sync::Arc::make_mut(self).amend(note)
            }
        }
    )*};
}
use noted_shared;

/// The variant that a note names, and its data; null where it has none.
fn variant(note: &Value) -> Option<(&str, &Value)> {
    match note {
        Value::String(name) => Some((name, &Value::Null)),
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(name), data] => Some((name, data)),
            _ => None,
        },
        _ => None,
    }
}

macro_rules! noted_numbers {
    ($($ty:ty),*) => {$(
        impl Noted for $ty {
            fn note(&self) -> Value {
                (*self as u64).into()
            }

            fn read(note: &Value) -> Option<Self> {
                note.as_u64()?.try_into().ok()
            }
        }
    )*};
}
noted_numbers!(u8, u16, u32, u64, usize);

impl Noted for bool {
    fn note(&self) -> Value {
        (*self).into()
    }

    fn read(note: &Value) -> Option<Self> {
        note.as_bool()
    }
}

impl Noted for i64 {
    fn note(&self) -> Value {
        (*self).into()
    }

    fn read(note: &Value) -> Option<Self> {
        note.as_i64()
    }
}

// Rust's shortest text of a number reads as that very number again; JSON readers may round.
noted_text!(f64, value => format!("{value:?}"), text => text.parse().ok().filter(|v: &f64| v.is_finite()));
noted_text!(String, value => value.clone(), text => Some(text.to_owned()));
noted_text!(Arc<str>, value => value.to_string(), text => Some(Arc::from(text)));
noted_text!(Arc<[u8]>, value => hex(value), text => unhex(text).map(Arc::from));
noted_text!([u8; 32], value => hex(value), text => unhex(text)?.try_into().ok());
noted_text!(SocketAddr, value => value.to_string(), text => text.parse().ok());
noted_text!(IpAddr, value => value.to_string(), text => text.parse().ok());
noted_text!(IpNet, value => value.to_string(), text => text.parse().ok());
noted_text!(NonZeroU16, value => value.to_string(), text => text.parse().ok());
noted_text!(Duration, value => format!("{}.{:09}", value.as_secs(), value.subsec_nanos()), text => {
    let (seconds, nanos) = text.split_once('.')?;
    let nanos: u32 = nanos.parse().ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(seconds.parse().ok()?, nanos))
});

impl<T: Noted> Noted for Option<T> {
    fn note(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::note)
    }

    fn read(note: &Value) -> Option<Self> {
        match note.is_null() {
            true => Some(None),
            false => T::read(note).map(Some),
        }
    }

    fn beyond(&self, plain: &Self) -> Option<Value> {
        match (self, plain) {
            (Some(own), Some(plain)) => own.beyond(plain),
            (None, None) => None,
            _ => Some(self.note()),
        }
    }

    fn amend(&mut self, note: &Value) -> Option<()> {
        match self {
            Some(own) if !note.is_null() => own.amend(note),
            _ => {
                *self = Self::read(note)?;
                Some(())
            }
        }
    }
}

impl<T: Noted> Noted for Vec<T> {
    fn note(&self) -> Value {
        self.iter().map(Noted::note).collect::<Vec<_>>().into()
    }

    fn read(note: &Value) -> Option<Self> {
        note.as_array()?.iter().map(Noted::read).collect()
    }

    fn beyond(&self, plain: &Self) -> Option<Value> {
        if self.len() != plain.len() {
            return Some(self.note());
        }
        let pairs = self.iter().zip(plain).enumerate();
        let differing = pairs
            .filter_map(|(at, (own, plain))| own.beyond(plain).map(|note| (at.to_string(), note)));
        let differing: Map<String, Value> = differing.collect();
        (!differing.is_empty()).then(|| differing.into())
    }

    fn amend(&mut self, note: &Value) -> Option<()> {
        let Some(differing) = note.as_object() else {
            *self = Self::read(note)?;
            return Some(());
        };
        for (at, note) in differing {
            self.get_mut(at.parse::<usize>().ok()?)?.amend(note)?;
        }
        Some(())
    }
}

impl<A: Noted, B: Noted> Noted for (A, B) {
    fn note(&self) -> Value {
        vec![self.0.note(), self.1.note()].into()
    }

    fn read(note: &Value) -> Option<Self> {
        match note.as_array()?.as_slice() {
            [a, b] => Some((A::read(a)?, B::read(b)?)),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    pairs
        .iter()
        .map(|[a, b]| Some(digit(*a)? << 4 | digit(*b)?))
        .collect()
}

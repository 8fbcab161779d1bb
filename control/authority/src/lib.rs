//! The mesh's authority: who gets which certificate, and how its root is replaced.
//!
//! [`Authority`] is all of it around a few pure parts: [`csr`] takes a public key out of a request, `ca` signs, [`token`] lets in who
//! has no certificate yet, [`rotation`] says which root signs and which are trusted, [`holders`] who still has to hear of it, and
//! [`attempts`] how often one may be wrong. Nothing in here opens a socket or knows a runtime; where records are kept is given
//! in ([`Records`]), and so are time and randomness ([`World`]).

pub mod attempts;
mod authority;
mod ca;
pub mod csr;
mod error;
mod files;
mod given;
pub mod holders;
mod home;
pub mod pem;
mod records;
mod refused;
pub mod rotation;
mod source;
pub mod token;
mod verify;

pub use authority::rotate::Standing;
pub use authority::tokens::TokenError;
pub use authority::{Asked, Authority, Bundle, Issued, Options, Shown, World};
pub use ca::{Leaf, Random, fingerprint, hex};
pub use error::OpenError;
pub use records::{Change, Entries, Records, RecordsError};
pub use refused::{Refused, RotationRefused};
pub use source::{RootShown, ServerCertificate, View};
pub use token::{Token, TokenText};

//! The binary as a person, a script or a client meets it.

mod common;
mod offline;
mod origin;
mod served;
mod starting;

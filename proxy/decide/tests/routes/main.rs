//! The route table against a reference that asks every rule in turn, and by example.

mod build;
mod precedence;
mod reference;
mod table;

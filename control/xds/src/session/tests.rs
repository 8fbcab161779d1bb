//! The rules one by one, and a simulation of all of them together.

mod client;
mod rules;
mod simulation;
mod world;

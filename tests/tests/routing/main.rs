//! Which rule answers, what it does to a request, and which version gets it.

mod filters;
mod paths;
mod precedence;
mod split;
mod sticky;

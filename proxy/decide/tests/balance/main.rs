//! Seeded simulations of the balancers.

mod feedback;
mod groups;
mod pool;
mod shares;

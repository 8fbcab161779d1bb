//! A real container engine, through its command line.

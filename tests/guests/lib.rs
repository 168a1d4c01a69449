//! Guests for the suites. Each is an example of this package, built as a component by
//! `tests/build.rs`.

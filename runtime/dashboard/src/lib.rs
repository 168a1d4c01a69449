//! The dashboard: its configuration, the audit log, drains, everything that answers HTTP, and the
//! application that runs them.
//!
//! **Invariant:** a request is answered by [`web`] alone, after the gate of `portcullis-auth`
//! decided.

pub mod app;
pub mod audit;
pub mod config;
pub mod drain;
pub mod users_file;
pub mod web;
mod yaml;

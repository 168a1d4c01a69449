//! Portcullis: a dashboard for agent gateways with every auth provider in a sandbox.
//!
//! The modules in the order in which they depend on one another; `ARCHITECTURE.md` has the map.

pub mod atomic_file;
pub mod exposition;
pub mod flood_limit;
pub mod home_lock;
pub mod listen;
pub mod parent_watch;
pub mod request_id;
pub mod secret_strength;
pub mod tls;
pub mod trust;
pub mod users_file;

pub mod auth;

pub mod audit;
pub mod drain;
pub mod sandbox;

pub mod gateway;

pub mod web;

pub mod bundled;
pub mod conformance;
pub mod scaffold;
pub mod torture;

pub mod config;

pub mod app;

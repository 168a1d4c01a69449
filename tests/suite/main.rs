//! Every suite over the real binary, and the two that hold the architecture and the admission.

mod admission;
mod adversity;
mod architecture;
mod bad_components;
mod commands;
mod contract;
mod docs;
mod drain_endpoint;
mod edge;
mod fail_closed;
mod grants;
mod hostile;
mod languages;
mod live_validation;
mod made_up_components;
mod people;
mod properties;
mod quarantine;
mod reload;
mod secrets;
mod sessions;
mod status_file;
mod turns;
mod up;
mod wall;
mod wit_reference;

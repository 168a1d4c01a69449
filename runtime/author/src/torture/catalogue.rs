//! The attacks, and the limit that has to stop each.

/// What stops an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Catch {
    /// It was not loaded.
    Refused,
    /// Its deadline, in wall clock time.
    DeadlineExceeded,
    /// The memory limit, or a table's.
    OutOfMemory,
    /// A trap: its own, or the host's answer to a call that asks for too much.
    Trapped,
    /// What it answered was refused.
    Malformed,
    /// Its claims cannot be used: the caller was refused.
    Unusable,
    /// It found nothing to get hold of: the host said no, and it did not know the token.
    Denied,
    /// Its claims were cut to what it was granted.
    Cut,
    /// It said that its store is out of reach, as it may.
    Unavailable,
    /// The memory of all calls together was taken.
    Saturated,
}

/// One hostile guest, and the limit that has to stop it.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// The name of the guest.
    pub name: &'static str,
    /// What it tries, in a sentence.
    pub tries: &'static str,
    /// The bytes of its component.
    pub component: &'static [u8],
    /// What may catch it: more than one where a clock can be quicker than a cap.
    pub meets: &'static [Catch],
}

/// Name, what it tries, component: the build script lists what is in `hostile/`.
const GUESTS: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

/// All of them, in the order of the table below.
pub static ATTACKS: std::sync::LazyLock<Vec<Attack>> = std::sync::LazyLock::new(|| {
    let attack = |&(name, meets): &(&'static str, &'static [Catch])| {
        let &(_, tries, component) = GUESTS.iter().find(|(known, ..)| *known == name)?;
        Some(Attack {
            name,
            tries,
            component,
            meets,
        })
    };
    EXPECTED.iter().filter_map(attack).collect()
});

use Catch::{
    Cut, DeadlineExceeded, Denied, Malformed, OutOfMemory, Refused, Saturated, Trapped,
    Unavailable, Unusable,
};

const EXPECTED: &[(&str, &[Catch])] = &[
    // Time.
    ("loops_for_ever", &[DeadlineExceeded]),
    ("loops_in_start", &[Refused]),
    ("loops_in_realloc", &[DeadlineExceeded]),
    ("nan_flood", &[DeadlineExceeded]),
    ("sleeps_in_poll", &[DeadlineExceeded]),
    ("polls_busily", &[DeadlineExceeded]),
    ("reads_the_clock", &[Denied, DeadlineExceeded]),
    ("supports_token_loops", &[Refused]),
    // Traps.
    ("aborts", &[Trapped]),
    ("traps_in_start", &[Refused]),
    ("traps_in_realloc", &[Trapped]),
    ("traps_in_post_return", &[Trapped]),
    ("panics_hugely", &[Trapped]),
    ("recurses", &[Trapped]),
    ("division_by_zero", &[Trapped]),
    ("jumps_anywhere", &[Trapped]),
    ("supports_token_traps", &[Refused]),
    // Its answer about tokens is asked for once: no later call changes it.
    ("supports_token_flips", &[Refused, Trapped]),
    // Memory.
    ("grows_at_once", &[OutOfMemory, Saturated]),
    ("grows_by_pages", &[OutOfMemory, Saturated]),
    (
        "fills_its_memory",
        &[OutOfMemory, DeadlineExceeded, Saturated],
    ),
    ("grows_at_instantiation", &[Refused]),
    ("grows_tables", &[OutOfMemory]),
    // Answers.
    ("huge_string", &[Malformed, OutOfMemory, Saturated]),
    ("ten_million_scopes", &[Malformed, OutOfMemory, Saturated]),
    ("aliased_scopes", &[Malformed]),
    ("ten_thousand_scopes", &[Malformed, Unusable]),
    ("principal_of_a_mebibyte", &[Malformed]),
    ("forges_a_principal", &[Unusable]),
    ("repeats_the_token", &[Malformed]),
    ("invalid_utf8", &[Malformed]),
    ("pointer_out_of_range", &[Malformed]),
    ("result_out_of_range", &[Malformed]),
    ("result_unaligned", &[Malformed]),
    ("realloc_out_of_range", &[Trapped]),
    ("wrong_discriminant", &[Malformed]),
    ("lies_about_its_store", &[Unavailable, Malformed]),
    ("session_expired", &[Unusable]),
    ("session_for_ever", &[Unusable]),
    // Claims.
    ("names_itself_another", &[Cut]),
    ("claims_the_drain_scope", &[Cut]),
    ("remembers_calls", &[Denied]),
    // Floods of what every guest may call.
    ("floods_random", &[Trapped]),
    ("floods_stdout", &[DeadlineExceeded]),
    ("floods_the_log", &[DeadlineExceeded]),
    ("forges_log_lines", &[Trapped]),
    ("floods_handles", &[Trapped]),
    ("never_drops_pollables", &[Trapped]),
    ("hoards_requests", &[Trapped]),
    // Ways out.
    ("looks_around", &[Denied]),
    ("opens_a_socket", &[Denied]),
    ("reads_anothers_settings", &[Denied]),
    ("sends_a_thousand_headers", &[Denied, Trapped]),
    ("calls_an_ungranted_host", &[Denied]),
    ("calls_by_absolute_form", &[Denied]),
    ("calls_by_user_info", &[Denied]),
    ("follows_a_redirect", &[Denied]),
    ("calls_a_name_of_loopback", &[Denied, DeadlineExceeded]),
    ("calls_a_mapped_address", &[Denied]),
    ("calls_the_metadata_service", &[Denied]),
    ("calls_too_often", &[Denied, DeadlineExceeded]),
    ("reads_an_endless_response", &[Denied, DeadlineExceeded]),
    ("waits_for_a_slow_body", &[DeadlineExceeded]),
    // What it may keep.
    ("keeps_too_many_keys", &[Denied, DeadlineExceeded]),
    ("keeps_too_much", &[Denied, DeadlineExceeded]),
    ("keeps_one_huge_value", &[Malformed]),
    ("opens_another_bucket", &[Denied]),
    // Components that are none, or of another world.
    ("exports_nothing", &[Refused]),
    ("exports_another_version", &[Refused]),
    ("wrong_types", &[Refused]),
    ("nested_variant", &[Refused]),
    ("imports_unknown", &[Refused]),
    ("memory64", &[Refused]),
    ("spins_on_atomics", &[Refused]),
    // The second attack: host work on guest data, straight lines, compile bombs, names,
    // credentials, memory.
    ("traps_in_an_exponential_name", &[Trapped]),
    ("traps_in_twenty_exponential_names", &[Trapped]),
    ("traps_in_a_deeply_nested_name", &[Trapped]),
    ("traps_in_a_long_name", &[Trapped]),
    ("traps_in_a_name_of_back_references", &[Trapped]),
    ("traps_in_a_module_of_a_long_name", &[Trapped]),
    ("traps_in_a_name_that_clears_the_screen", &[Trapped]),
    ("traps_in_a_name_that_is_not_utf8", &[Trapped, Refused]),
    ("traps_in_a_name_that_is_given_often", &[Trapped, Refused]),
    ("blames_its_store_in_escapes", &[Unavailable, Malformed]),
    ("logs_in_a_straight_line", &[DeadlineExceeded, Denied]),
    (
        "asks_for_settings_in_a_straight_line",
        &[DeadlineExceeded, Denied],
    ),
    (
        "drops_handles_in_a_straight_line",
        &[DeadlineExceeded, Denied],
    ),
    (
        "fills_tables_in_a_straight_line",
        &[DeadlineExceeded, Denied],
    ),
    (
        "fills_memory_in_a_straight_line",
        &[DeadlineExceeded, Denied, Saturated],
    ),
    (
        "copies_memory_in_a_straight_line",
        &[DeadlineExceeded, Denied, Saturated],
    ),
    (
        "grows_memory_in_a_straight_line",
        &[DeadlineExceeded, Denied],
    ),
    (
        "fills_memory_in_realloc",
        &[DeadlineExceeded, Denied, Saturated],
    ),
    (
        "takes_roots_in_a_straight_line",
        &[Denied, DeadlineExceeded, Refused],
    ),
    (
        "initializes_memory_at_instantiation",
        &[Denied, DeadlineExceeded, Refused],
    ),
    ("makes_handles_in_a_straight_line", &[Trapped]),
    ("calls_the_host_in_post_return", &[Trapped]),
    ("calls_the_host_in_realloc", &[Trapped]),
    ("loops_in_a_destructor", &[DeadlineExceeded]),
    ("loops_in_post_return", &[DeadlineExceeded]),
    ("fills_its_tables_and_spins", &[DeadlineExceeded]),
    ("grows_tables_one_by_one", &[OutOfMemory, DeadlineExceeded]),
    (
        "calls_the_host_in_its_start",
        &[Refused, DeadlineExceeded, Denied],
    ),
    ("instantiates_a_hundred_trillion_components", &[Refused]),
    ("instantiates_a_hundred_million_components", &[Refused]),
    ("instantiates_components_that_it_is_given", &[Refused]),
    (
        "instantiates_a_module_in_each_of_many_components",
        &[Refused],
    ),
    ("instantiates_one_module_many_times", &[Refused]),
    ("declares_a_hundred_thousand_types", &[Refused]),
    ("fills_tables_at_an_imported_offset", &[Refused, Denied]),
    ("fills_tables_with_expressions", &[Refused, Denied]),
    ("defines_a_hundred_thousand_functions", &[Refused, Denied]),
    ("compiles_to_megabytes", &[Refused, Denied]),
    ("jumps_by_huge_tables", &[Refused, Denied]),
    ("declares_thousands_of_globals", &[Refused, Denied]),
    (
        "declares_fifty_thousand_locals_many_times",
        &[Refused, Denied],
    ),
    (
        "exports_a_type_of_half_a_million_fields",
        &[Refused, Denied],
    ),
    ("declares_hundreds_of_types", &[Refused, Denied]),
    ("declares_a_hundred_thousand_locals", &[Refused]),
    ("exports_a_type_of_billions_of_fields", &[Refused]),
    ("nests_loops", &[Refused, Denied]),
    ("carries_locals_through_nested_loops", &[Refused, Denied]),
    ("nests_blocks", &[Refused, Denied]),
    ("burns_its_budget", &[Denied, DeadlineExceeded]),
    (
        "burns_and_traps_at_times",
        &[Trapped, Denied, DeadlineExceeded],
    ),
    ("takes_a_third_of_its_time", &[Denied, DeadlineExceeded]),
    ("imports_a_name_that_clears_the_screen", &[Refused]),
    ("imports_a_long_name", &[Refused]),
    ("exports_only_other_names", &[Refused]),
    ("exports_thousands_of_names", &[Refused, Denied]),
    ("exports_a_long_name", &[Refused, Denied]),
    ("session_named_by_its_token", &[Malformed]),
    ("session_that_mentions_its_token", &[Malformed]),
    ("session_named_by_another_token", &[Malformed]),
    ("prints_the_token_in_disguise", &[Denied]),
    ("panics_with_the_token", &[Trapped]),
    ("blames_its_store_with_the_token", &[Unavailable]),
    ("hides_the_token_in_a_scope", &[Cut, Unusable]),
    (
        "fills_its_memory_and_sleeps",
        &[Denied, DeadlineExceeded, OutOfMemory, Saturated],
    ),
    ("keeps_host_references_in_a_table", &[Refused, Denied]),
    ("keeps_a_host_reference_in_a_global", &[Refused, Denied]),
    ("passes_host_references", &[Refused, Denied]),
    ("principal_that_is_invisible", &[Unusable]),
    ("principal_that_reads_backwards", &[Unusable]),
    ("principal_of_tag_characters", &[Unusable]),
    ("principal_of_two_lines", &[Unusable]),
    ("lone_surrogate", &[Malformed]),
    ("unaligned_utf16", &[Malformed]),
    ("tagged_utf16_out_of_range", &[Malformed]),
    (
        "loops_in_a_realloc_of_its_own_component",
        &[DeadlineExceeded],
    ),
    ("lies_to_its_own_component", &[Trapped, Malformed, Refused]),
    ("two_memories", &[Refused]),
    ("three_memories_in_three_modules", &[Refused]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_guest_is_run() {
        let built: BTreeSet<_> = GUESTS.iter().map(|(name, ..)| *name).collect();
        let run: BTreeSet<_> = EXPECTED.iter().map(|(name, _)| *name).collect();
        assert_eq!(built, run);
        assert_eq!(EXPECTED.len(), run.len(), "none twice");
        assert!(run.len() >= 110);
    }
}

//! Groups of people and services, as their identity provider names them.

use person_text::is_visible;

/// Most groups of one person or service.
const MAX_GROUPS: usize = 256;
/// Longest name of a group, in bytes.
const MAX_GROUP_BYTES: usize = 256;

/// Leaves the first 256 of the groups that the host can use: up to 256 bytes, each character
/// visible, no space around it. Others are dropped, since one odd group in a directory must not
/// keep its members out.
pub(super) fn usable(mut groups: Vec<String>) -> Vec<String> {
    groups.retain(|group| is_usable(group));
    groups.truncate(MAX_GROUPS);
    groups
}

fn is_usable(group: &str) -> bool {
    !group.is_empty()
        && group.len() <= MAX_GROUP_BYTES
        && group.trim() == group
        && is_visible(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_cannot_be_used_are_dropped_and_the_others_stay() {
        let longest = "x".repeat(MAX_GROUP_BYTES);
        let said = [
            "admins",
            "",
            " padded",
            "zero\u{200b}width",
            "two\nlines",
            "cn=a,ou=b, 100%",
            &longest,
        ];
        let kept = usable(said.map(str::to_owned).into());
        assert_eq!(kept, ["admins", "cn=a,ou=b, 100%", &longest]);
        assert!(usable(vec![longest + "x"]).is_empty());
    }

    #[test]
    fn groups_beyond_the_most_are_dropped() {
        let many: Vec<_> = (0..1_000).map(|number| format!("group-{number}")).collect();
        let kept = usable(many);
        assert_eq!(
            (kept.len(), kept.last().map(String::as_str)),
            (MAX_GROUPS, Some("group-255"))
        );
    }
}

//! What people read of a sign-in that came to nothing.

use maud::{Markup, Render, html};
use portcullis_auth::ProviderFault;

/// Why a person was not signed in, as far as they may know it. It travels to the sign-in page as
/// one word of a fixed set, so a link cannot put text of its own on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It failed, and the reason would help only an attacker.
    Failed,
    /// The person is known, and may not enter.
    Denied,
    /// `dashboard.access` gives the person no role.
    NoRole,
    /// The host cannot use what the provider says of the person.
    Unusable,
    /// The identity provider refused.
    Refused,
    /// The sign-in is too old, came back before, or was begun elsewhere.
    Expired,
    /// The provider gave no answer in time.
    Unanswered,
    /// The provider does not work.
    OutOfOrder,
    /// The provider's session fits no cookie.
    TooLarge,
}

impl Notice {
    const ALL: [Self; 9] = [
        Self::Failed,
        Self::Denied,
        Self::NoRole,
        Self::Unusable,
        Self::Refused,
        Self::Expired,
        Self::Unanswered,
        Self::OutOfOrder,
        Self::TooLarge,
    ];

    /// The word in the query.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failed => "1",
            Self::Denied => "denied",
            Self::NoRole => "not_permitted",
            Self::Unusable => "unusable",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Unanswered => "unanswered",
            Self::OutOfOrder => "out_of_order",
            Self::TooLarge => "too_large",
        }
    }

    /// The notice of a word. An unknown word is a failure without a reason.
    pub(super) fn of_word(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|notice| notice.word() == word)
            .unwrap_or(Self::Failed)
    }

    /// The sentence, with the name of the person where one is known. The name is isolated, so that
    /// its characters do not reorder the sentence.
    pub(super) fn sentence_for(self, person: Option<&str>) -> Markup {
        match (self, person) {
            (Self::Denied, Some(person)) => html! {
                bdi { (person) }
                " is signed in at the identity provider, but may not enter this dashboard. Ask its operator for access."
            },
            (Self::NoRole, Some(person)) => html! {
                bdi { (person) } " has no role on this dashboard. Ask its operator for access."
            },
            _ => self.sentence().render(),
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Failed => "Sign-in failed. Please try again.",
            Self::Denied => {
                "You are signed in at the identity provider, but you may not enter this dashboard. Ask its operator for \
                 access."
            }
            Self::NoRole => {
                "Your account has no role on this dashboard. Ask its operator for access."
            }
            Self::Unusable => {
                "Your account has a name or an address that this dashboard cannot use. Ask its operator for help."
            }
            Self::Refused => "The identity provider did not sign you in. Please try again.",
            Self::Expired => {
                "This sign-in took too long, or was begun in another tab or browser. Please start again."
            }
            Self::Unanswered => {
                "The sign-in provider did not answer. Please try again in a moment."
            }
            Self::OutOfOrder => {
                "Sign-in is out of order. Please tell the operator of this dashboard."
            }
            Self::TooLarge => {
                "The sign-in provider's session is too large for this dashboard. Ask its operator for help."
            }
        }
    }

    /// What a provider's fault means to a person.
    pub(super) fn of_fault(fault: &ProviderFault) -> Self {
        match fault {
            ProviderFault::Unavailable(_)
            | ProviderFault::Saturated { .. }
            | ProviderFault::NoTimeLeft
            | ProviderFault::DeadlineExceeded { .. } => Self::Unanswered,
            ProviderFault::Quarantined { .. }
            | ProviderFault::OutOfMemory { .. }
            | ProviderFault::Trapped(_)
            | ProviderFault::Malformed(_)
            | ProviderFault::Host(_) => Self::OutOfOrder,
        }
    }

    /// What an error of the authorization endpoint means (RFC 6749, section 4.1.2.1).
    pub(super) fn of_authorization_error(error: &str) -> Self {
        match error {
            "server_error" | "temporarily_unavailable" => Self::Unanswered,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_their_notice_and_others_to_the_general_one() {
        for notice in Notice::ALL {
            assert_eq!(Notice::of_word(notice.word()), notice);
        }
        for word in ["", "0", "Denied", "<script>", "expired "] {
            assert_eq!(Notice::of_word(word), Notice::Failed, "{word}");
        }
    }
}

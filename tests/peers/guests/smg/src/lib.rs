//! What every guest for smg shares: the bindings, and `plugin!`, which makes a component of one
//! function that says what becomes of a request without a good credential.

wit_bindgen::generate!({ path: "wit", world: "smg", pub_export_macro: true });

use smg::gateway::middleware_types::Request;

/// Either header will do: not every gateway shows its plugins `Authorization`.
pub fn credential_is_good(request: &Request) -> bool {
    request.headers.iter().any(|h| match h.name.as_str() {
        "authorization" => h.value == "Bearer good-token",
        "x-api-key" => h.value == "good-token",
        _ => false,
    })
}

#[macro_export]
macro_rules! plugin {
    ($refuse:path) => {
        use $crate::smg::gateway::middleware_types::{Action, Request, Response};

        struct Plugin;

        impl $crate::exports::smg::gateway::middleware_on_request::Guest for Plugin {
            fn on_request(request: Request) -> Action {
                if $crate::credential_is_good(&request) {
                    Action::Continue
                } else {
                    Action::Reject($refuse())
                }
            }
        }

        impl $crate::exports::smg::gateway::middleware_on_response::Guest for Plugin {
            fn on_response(_: Response) -> Action {
                Action::Continue
            }
        }

        $crate::export!(Plugin with_types_in $crate);
    };
}

//! What every guest for vllm-router shares: the bindings, and `plugin!`, which makes a component
//! of one function that says what becomes of a request without a good credential.

wit_bindgen::generate!({ path: "wit", world: "middleware", pub_export_macro: true });

use vllm::router_middleware::types::Request;

/// Either header will do: this gateway hides `Authorization` from its plugins.
pub fn credential_is_good(request: &Request) -> bool {
    request.headers.iter().any(|h| match h.name.as_str() {
        "authorization" => h.value == b"Bearer good-token",
        "x-api-key" => h.value == b"good-token",
        _ => false,
    })
}

#[macro_export]
macro_rules! plugin {
    ($refuse:path) => {
        use $crate::vllm::router_middleware::types::{Action, Request};

        struct Plugin;

        impl $crate::exports::vllm::router_middleware::on_request::Guest for Plugin {
            fn handle(request: Request) -> Action {
                if $crate::credential_is_good(&request) {
                    Action::Continue
                } else {
                    Action::Reject($refuse())
                }
            }
        }

        $crate::export!(Plugin with_types_in $crate);
    };
}

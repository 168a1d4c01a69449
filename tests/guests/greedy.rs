//! Imports something that no provider may have.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({
        inline: "package test:greedy;
                 interface secrets { read: func() -> string; }
                 world greedy { import secrets; include portcullis:auth/auth-provider@0.2.0; }",
        path: "../../wit",
        world: "test:greedy/greedy",
        generate_all,
    });

    use exports::portcullis::auth::provider;

    struct Guest;

    impl provider::Guest for Guest {
        fn supports_token() -> bool {
            true
        }

        fn verify_token(
            token: String,
        ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
            let principal = test::greedy::secrets::read();
            let is_known = token == principal;
            let (scopes, groups) = (Vec::new(), Vec::new());
            Ok(is_known.then_some(provider::TokenPrincipal {
                principal,
                scopes,
                groups,
            }))
        }

        fn verify_session(_: String) -> Result<Option<provider::Session>, provider::ProviderError> {
            Ok(None)
        }
    }

    export!(Guest);
}

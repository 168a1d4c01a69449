use wit_bindgen_core::wit_parser::{Resolve, WorldId};

/// Above the lines that call a function of an object file, so that the linker takes it in.
const OBJECT_FILE: &str = "// Ensure that the *_component_type.o object is linked in";

pub(super) fn bindings(resolve: Resolve, world: WorldId) -> Vec<(String, String)> {
    // `wasm-tools component embed` does the object file's work.
    let options = wit_bindgen_c::Opts {
        no_object_file: true,
        ..wit_bindgen_c::Opts::default()
    };
    let files = super::generate(options.build(), resolve, world).into_iter();

    files
        .map(|(name, text)| {
            let code = text
                .split(OBJECT_FILE)
                .next()
                .unwrap_or_default()
                .trim_end();
            (name, format!("{code}\n"))
        })
        .collect()
}

//! How deep components are nested in a component.
//!
//! For each of them wasmtime takes memory for all those around it: a file of a megabyte, nested a hundred thousand deep,
//! takes more than there is, and the process with it. Toolchains nest once.

use wasmparser::{Parser, Payload};

/// Components in components, and a module in the innermost.
const MOST: usize = 16;

/// Is it nested no deeper than it may be? What cannot be parsed is for the compiler to refuse.
pub(super) fn is_shallow(component: &[u8]) -> bool {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ComponentSection { .. } | Payload::ModuleSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(_) => break,
        }
        if depth > MOST {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{Component, NestedComponentSection};

    fn nested(depth: usize) -> Vec<u8> {
        let around = |inner: Component, _| {
            let mut outer = Component::new();
            outer.section(&NestedComponentSection(&inner));
            outer
        };
        (0..depth).fold(Component::new(), around).finish()
    }

    #[test]
    fn components_are_nested_only_so_deep() {
        assert!(is_shallow(&nested(MOST)));
        assert!(!is_shallow(&nested(MOST + 1)));
        assert!(!is_shallow(&nested(2_000)));
        let cut_off = &nested(MOST)[..40];
        assert!(is_shallow(cut_off));
    }
}

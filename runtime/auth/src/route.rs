use super::Scope;
use std::collections::BTreeMap;

/// What a caller needs for a token route beyond being known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Required {
    /// A token with this scope.
    Scope(Scope),
    /// Nothing: the route only says who the caller is.
    NoScope,
    /// What no token has: the route is closed.
    Closed,
}

/// The paths that bearer tokens guard, for every method. Exact: `/x/` is not `/x`.
#[derive(Clone, Debug, Default)]
pub struct TokenRoutes(BTreeMap<String, Required>);

impl TokenRoutes {
    /// The same table with one more route. The last one wins.
    #[must_use]
    pub fn with(mut self, path: &str, required: Required) -> Self {
        self.0.insert(path.to_owned(), required);
        self
    }

    /// Returns what this exact path requires, if bearer tokens guard it.
    pub fn required(&self, path: &str) -> Option<&Required> {
        self.0.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_exact_paths() {
        let routes = TokenRoutes::default().with("/x", Required::NoScope);
        assert!(routes.required("/x").is_some());
        for other in ["/x/", "/X", "/x?", "/", "", "/xy", "//x"] {
            assert!(routes.required(other).is_none(), "{other}");
        }
    }
}

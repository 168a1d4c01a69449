use portcullis_sandbox::CONTRACT_VERSIONS;

/// A language that a provider can be begun in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust with the SDK.
    Rust,
    /// CPython in the component, by componentize-py.
    Python,
    /// StarlingMonkey in the component, by componentize-js.
    JavaScript,
    /// The same, with types.
    TypeScript,
    /// By the Go compiler itself.
    Go,
    /// By clang, or by zig.
    C,
    /// C++, by clang or by zig.
    Cpp,
    /// Zig, by its own compiler.
    Zig,
    /// AssemblyScript, by its compiler `asc`.
    AssemblyScript,
    /// The text format of WebAssembly.
    Wat,
}

/// How one works in a language. Texts are templates of `name` and `snake`.
pub(super) struct LanguageFacts {
    /// The file to fill in.
    pub(super) edit: &'static str,
    pub(super) setup: &'static [&'static str],
    pub(super) build: &'static str,
    pub(super) test: &'static str,
    /// The path of the component that the build makes.
    pub(super) component: &'static str,
}

/// The contract of every language but Rust, whose SDK has the newest.
const FROZEN: &str = "0.1.0";

const BUILT: &str = "{{ name }}.wasm";

impl Language {
    /// All languages, in the order in which they are listed.
    pub const ALL: [Self; 10] = [
        Self::Rust,
        Self::Python,
        Self::JavaScript,
        Self::TypeScript,
        Self::Go,
        Self::C,
        Self::Cpp,
        Self::Zig,
        Self::AssemblyScript,
        Self::Wat,
    ];

    /// Returns the name that is typed, which is also that of the folder with its templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Go => "go",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::AssemblyScript => "assemblyscript",
            Self::Wat => "wat",
        }
    }

    /// Returns the name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Go => "Go",
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Zig => "Zig",
            Self::AssemblyScript => "AssemblyScript",
            Self::Wat => "WAT",
        }
    }

    /// Returns other names that may be typed for it.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["rs"],
            Self::Python => &["py"],
            Self::JavaScript => &["js"],
            Self::TypeScript => &["ts"],
            Self::Go => &["golang"],
            Self::Cpp => &["c++"],
            Self::AssemblyScript => &["as"],
            Self::C | Self::Zig | Self::Wat => &[],
        }
    }

    /// Where the bindings go that its own tools do not make, and which of them.
    pub(super) fn bindings(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::C | Self::Cpp => Some(("c", "bindings")),
            Self::Go => Some(("go", "internal/wit")),
            _ => None,
        }
    }

    /// The version of the contract that its scaffold is written for.
    pub(super) fn contract(self) -> &'static str {
        match self {
            Self::Rust => CONTRACT_VERSIONS[0],
            _ => FROZEN,
        }
    }

    /// Returns whether its compiler leaves out imports that are never called. Where it does not,
    /// the world names less.
    pub(super) fn drops_unused_imports(self) -> bool {
        !matches!(self, Self::Python | Self::JavaScript | Self::TypeScript)
    }

    pub(super) fn facts(self) -> LanguageFacts {
        match self {
            Self::Rust => LanguageFacts {
                edit: "src/lib.rs",
                setup: &["rustup target add wasm32-wasip2"],
                build: "cargo build --release --target wasm32-wasip2",
                test: "cargo test",
                component: "target/wasm32-wasip2/release/{{ snake }}.wasm",
            },
            Self::Python => made("src/provider.py", &["make setup"]),
            Self::JavaScript => npm("provider.js"),
            Self::TypeScript | Self::AssemblyScript => npm("provider.ts"),
            Self::Go => made("provider.go", &["make setup"]),
            Self::C => made(
                "provider.c",
                &[
                    "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32",
                    "make setup",
                ],
            ),
            Self::Cpp => made(
                "provider.cpp",
                &[
                    "apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 libc++-19-dev-wasm32 libc++abi-19-dev-wasm32",
                    "make setup",
                ],
            ),
            Self::Zig => made("provider.zig", &["make setup"]),
            Self::Wat => made("provider.wat", &["make setup"]),
        }
    }
}

fn made(edit: &'static str, setup: &'static [&'static str]) -> LanguageFacts {
    LanguageFacts {
        edit,
        setup,
        build: "make",
        test: "make test",
        component: BUILT,
    }
}

fn npm(edit: &'static str) -> LanguageFacts {
    LanguageFacts {
        edit,
        setup: &["npm install"],
        build: "npm run build",
        test: "npm test",
        component: BUILT,
    }
}

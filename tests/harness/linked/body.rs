//! The core modules of a component that is wired at random: what they import, define and do.

use super::choices::Choices;
use std::fmt::Write;

/// What core modules give each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A function from a number to a number.
    Unary,
    /// A function without parameters that returns a number.
    Nullary,
    /// The host's, which notes a number.
    Note,
    /// The host's, which notes a part of a memory.
    Show,
    Memory,
    Table,
    /// A global that never changes.
    Constant,
    /// A global that changes.
    Variable,
}

impl Kind {
    /// Returns the keyword of the kind in the text format.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unary | Self::Nullary | Self::Note | Self::Show => "func",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Constant | Self::Variable => "global",
        }
    }

    /// Returns the type that an import of this kind has.
    fn import_type(self) -> &'static str {
        match self {
            Self::Unary => "(param i32) (result i32)",
            Self::Nullary => "(result i32)",
            Self::Note => "(param i32)",
            Self::Show => "(param i32 i32)",
            Self::Memory => "1",
            Self::Table => "8 funcref",
            Self::Constant => "i32",
            Self::Variable => "(mut i32)",
        }
    }
}

/// Numbers at which something changes: of addresses, of indices, of arithmetic.
const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    100,
    255,
    256,
    65_535,
    65_536,
    -1,
    -2_147_483_648,
];
const BINARY: &[&str] = &[
    "add", "sub", "mul", "and", "xor", "shl", "div_s", "rem_u", "lt_s",
];
/// How deep expressions nest.
const DEPTH: usize = 3;

/// A core module as it is written.
#[derive(Default)]
pub(super) struct Body {
    imports: String,
    rest: String,
    /// What it has so far, imported and its own: kind, identifier, and whether it is imported.
    has: Vec<(Kind, String, bool)>,
}

impl Body {
    /// Returns the identifiers of what it has of some kinds.
    fn all(&self, kinds: &[Kind]) -> Vec<String> {
        self.has
            .iter()
            .filter(|(kind, ..)| kinds.contains(kind))
            .map(|(_, id, _)| id.clone())
            .collect()
    }

    fn functions(&self) -> Vec<String> {
        self.all(&[Kind::Unary, Kind::Nullary, Kind::Note, Kind::Show])
    }

    pub(super) fn has_memory(&self) -> bool {
        self.has.iter().any(|(kind, ..)| *kind == Kind::Memory)
    }

    pub(super) fn import(&mut self, kind: Kind, module: &str, name: &str) {
        let id = format!("$x{}", self.has.len());
        let (word, of_type) = (kind.word(), kind.import_type());
        self.imports += &format!("(import \"{module}\" \"{name}\" ({word} {id} {of_type}))\n");
        self.has.push((kind, id, true));
    }

    fn define(&mut self, kind: Kind, what: &str) {
        let id = format!("$x{}", self.has.len());
        let word = kind.word();
        self.rest += &format!("({word} {id} {what})\n");
        self.has.push((kind, id, false));
    }

    /// Defines what the module has of its own. A memory only where `owns_memory` is set.
    pub(super) fn fill(&mut self, choices: &mut Choices<'_>, owns_memory: bool) {
        if owns_memory {
            self.define(Kind::Memory, "1 3");
        }
        if self.all(&[Kind::Table]).is_empty() || choices.one_in(4) {
            self.define(Kind::Table, "8 funcref");
        }
        for _ in 0..choices.below(3) {
            let number = choices.below(5);
            self.define(Kind::Constant, &format!("i32 (i32.const {number})"));
        }
        let imported = self.constants();
        for _ in 0..choices.below(3) {
            let start = match choices.of(&imported) {
                Some(constant) if choices.one_in(3) => format!("(global.get {constant})"),
                _ => number(choices),
            };
            self.define(Kind::Variable, &format!("(mut i32) {start}"));
        }
        // The functions copy from it, or drop it.
        self.rest += "(data $d \"\\01\\02\\03\\04\")\n";
        for _ in 0..=choices.below(3) {
            self.function(choices);
        }
        self.segments(choices);
    }

    /// Constants that an initial value or an offset may name: imported ones.
    fn constants(&self) -> Vec<String> {
        let of_others = self
            .has
            .iter()
            .filter(|(kind, _, is_imported)| *kind == Kind::Constant && *is_imported);
        of_others.map(|(_, id, _)| id.clone()).collect()
    }

    /// A function, which calls only what is there before it, so that direct calls end.
    fn function(&mut self, choices: &mut Choices<'_>) {
        let (kind, head) = match choices.one_in(3) {
            true => (Kind::Nullary, "(result i32) (local i32 i64)"),
            false => (Kind::Unary, "(param i32) (result i32) (local i64)"),
        };
        let mut text = head.to_owned();
        for _ in 0..choices.below(4) {
            text.push(' ');
            text += &self.statement(choices, DEPTH);
        }
        text.push(' ');
        text += &self.expression(choices, DEPTH);
        self.define(kind, &text);
    }

    /// What is written at instantiation, what a function may write later, and perhaps a start
    /// function.
    fn segments(&mut self, choices: &mut Choices<'_>) {
        let functions = self.functions();
        let _ = writeln!(self.rest, "(elem $p func {})", functions.join(" "));
        for table in self.all(&[Kind::Table]) {
            if choices.below(3) > 0 {
                let (offset, function) = (self.offset(choices), choices.of(&functions).cloned());
                let function = function.unwrap_or_default();
                let _ = writeln!(self.rest, "(elem (table {table}) {offset} func {function})");
            }
        }
        if self.has_memory() && choices.below(3) > 0 {
            let (offset, byte) = (self.offset(choices), choices.below(256));
            let _ = writeln!(self.rest, "(data {offset} \"\\{byte:02x}\\ff\")");
        }
        if choices.one_in(8) {
            let text = format!("(local i32 i64) (drop {})", self.expression(choices, DEPTH));
            let _ = writeln!(self.rest, "(func $start {text})\n(start $start)");
        }
    }

    /// Mostly small. Now and then beyond the end of a table or a memory.
    fn offset(&self, choices: &mut Choices<'_>) -> String {
        match choices.of(&self.constants()) {
            Some(constant) if choices.below(2) == 0 => format!("(global.get {constant})"),
            _ if choices.one_in(24) => "(i32.const 65535)".to_owned(),
            _ => format!("(i32.const {})", choices.below(8)),
        }
    }

    /// An expression of a number. The first choice is the shortest one.
    fn expression(&self, choices: &mut Choices<'_>, depth: usize) -> String {
        let choice = choices.below(if depth == 0 { 3 } else { 14 });
        let deeper = |choices: &mut Choices<'_>| self.expression(choices, depth.saturating_sub(1));
        match choice {
            0 => "(local.get 0)".to_owned(),
            2 => match choices.of(&self.all(&[Kind::Constant, Kind::Variable])) {
                Some(global) => format!("(global.get {global})"),
                None => number(choices),
            },
            3 if self.has_memory() => "(memory.size)".to_owned(),
            4 | 5 => {
                let operation = choices.of(BINARY).copied().unwrap_or("add");
                format!("(i32.{operation} {} {})", deeper(choices), deeper(choices))
            }
            6 if self.has_memory() => format!("(i32.load {})", self.address(choices, depth)),
            7 | 8 => self.call(choices, depth),
            9 => match choices.of(&self.all(&[Kind::Table])) {
                Some(table) => {
                    let index = self.index(choices, depth);
                    format!(
                        "(call_indirect {table} (type $unary) {} {index})",
                        deeper(choices)
                    )
                }
                None => number(choices),
            },
            10 => match choices.of(&self.all(&[Kind::Table])) {
                Some(table) => format!(
                    "(ref.is_null (table.get {table} {}))",
                    self.index(choices, depth)
                ),
                None => number(choices),
            },
            11 => {
                let statement = self.statement(choices, depth - 1);
                format!("(block (result i32) {statement} {})", deeper(choices))
            }
            12 if self.has_memory() => format!("(memory.grow (i32.const {}))", choices.below(2)),
            13 => format!(
                "(select {} {} {})",
                deeper(choices),
                deeper(choices),
                deeper(choices)
            ),
            _ => number(choices),
        }
    }

    fn call(&self, choices: &mut Choices<'_>, depth: usize) -> String {
        let callable = self
            .has
            .iter()
            .filter(|(kind, ..)| matches!(kind, Kind::Unary | Kind::Nullary));
        let callable: Vec<_> = callable.collect();
        match choices.of(&callable) {
            Some((Kind::Unary, id, _)) => {
                format!("(call {id} {})", self.expression(choices, depth - 1))
            }
            Some((_, id, _)) => format!("(call {id})"),
            None => number(choices),
        }
    }

    /// An address, mostly near the beginning of the memory.
    fn address(&self, choices: &mut Choices<'_>, depth: usize) -> String {
        let anywhere = self.expression(choices, depth - 1);
        if choices.one_in(8) {
            anywhere
        } else {
            format!("(i32.and {anywhere} (i32.const 255))")
        }
    }

    /// An index of a table, mostly within it.
    fn index(&self, choices: &mut Choices<'_>, depth: usize) -> String {
        let anywhere = self.expression(choices, depth - 1);
        if choices.one_in(8) {
            anywhere
        } else {
            format!("(i32.and {anywhere} (i32.const 7))")
        }
    }

    /// Something that changes the state, or shows it to the host.
    fn statement(&self, choices: &mut Choices<'_>, depth: usize) -> String {
        if depth == 0 {
            return "(nop)".to_owned();
        }
        let choice = choices.below(13);
        let value = |choices: &mut Choices<'_>| self.expression(choices, depth - 1);
        let variable = choices.of(&self.all(&[Kind::Variable])).cloned();
        let table = choices.of(&self.all(&[Kind::Table])).cloned();
        let function = choices.of(&self.functions()).cloned();
        match (choice, variable, table) {
            (0, ..) => "(nop)".to_owned(),
            (1 | 2, ..) if self.has_memory() => {
                format!(
                    "(i32.store {} {})",
                    self.address(choices, depth),
                    value(choices)
                )
            }
            (3, Some(variable), _) => format!("(global.set {variable} {})", value(choices)),
            (4, ..) => match choices.of(&self.all(&[Kind::Note])) {
                Some(note) => format!("(call {note} {})", value(choices)),
                None => "(nop)".to_owned(),
            },
            (5, ..) => match choices.of(&self.all(&[Kind::Show])) {
                Some(show) => format!("(call {show} (i32.const 0) (i32.const 300))"),
                None => "(nop)".to_owned(),
            },
            // A function that the passive segment declares: those that are there before this one.
            (6, _, Some(table)) => match function {
                Some(function) => {
                    format!(
                        "(table.set {table} {} (ref.func {function}))",
                        self.index(choices, depth)
                    )
                }
                None => "(nop)".to_owned(),
            },
            (7, _, Some(table)) => {
                let index = self.index(choices, depth);
                format!("(table.init {table} $p {index} (i32.const 0) (i32.const 1))")
            }
            (8, ..) if self.has_memory() => {
                let (address, from) = (self.address(choices, depth), choices.below(4));
                format!("(memory.init $d {address} (i32.const {from}) (i32.const 2))")
            }
            (10, ..) => {
                let (condition, then) = (value(choices), self.statement(choices, depth - 1));
                format!("(if {condition} (then {then}))")
            }
            (11, ..) => ["(elem.drop $p)", "(data.drop $d)"][choices.below(2)].to_owned(),
            (12, ..) if self.has_memory() => {
                let (to, from) = (self.address(choices, depth), self.address(choices, depth));
                format!("(memory.copy {to} {from} (i32.const 16))")
            }
            _ => format!("(drop {})", value(choices)),
        }
    }

    /// Returns the text of the module, and what it exports: kind and name.
    pub(super) fn finish(
        self,
        id: &str,
        choices: &mut Choices<'_>,
    ) -> (String, Vec<(Kind, String)>) {
        // Other types before those that are used, so that the indices of the modules' types differ.
        let others = "(type (func (param i64 f32)))\n".repeat(choices.below(3));
        let mut text =
            format!("(core module {id}\n{others}(type $unary (func (param i32) (result i32)))\n");
        text += &self.imports;
        text += &self.rest;
        let mut exports = Vec::new();
        for (kind, item, is_imported) in &self.has {
            if *is_imported && choices.below(3) > 0 {
                continue;
            }
            let name = format!("e{}", exports.len());
            let _ = writeln!(text, "(export \"{name}\" ({} {item}))", kind.word());
            exports.push((*kind, name));
        }
        text += ")\n";
        (text, exports)
    }
}

fn number(choices: &mut Choices<'_>) -> String {
    format!(
        "(i32.const {})",
        choices.of(NUMBERS).copied().unwrap_or_default()
    )
}

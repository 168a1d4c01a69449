//! Core modules that are wired at random into a component.

use super::body::{Body, Kind};
use super::choices::Choices;
use std::fmt::Write;

/// A component in the text format.
pub(super) struct Wired {
    pub(super) text: String,
    /// It exports this many functions from a number to a number: `run0`, `run1` and so on.
    pub(super) runs: usize,
    /// It exports this many functions that show a memory, and what is in tables and globals:
    /// `observe0` and so on.
    pub(super) observers: usize,
}

/// Something that core modules can import.
#[derive(Clone)]
struct Thing {
    kind: Kind,
    definition: Definition,
}

#[derive(Clone, PartialEq, Eq)]
enum Definition {
    /// A core function of the component, which the host provides.
    Lowered(String),
    /// An export of a core instance.
    Export { instance: String, name: String },
}

impl Thing {
    /// Returns what a bag of exports says of it.
    fn reference(&self) -> String {
        let word = self.kind.word();
        match &self.definition {
            Definition::Lowered(id) => format!("({word} {id})"),
            Definition::Export { instance, name } => format!("({word} {instance} \"{name}\")"),
        }
    }
}

/// What a core instance is given: the exports of bags by their name, and whole instances.
#[derive(Default)]
struct Arguments {
    bag: String,
    instances: Vec<String>,
}

impl Arguments {
    fn instantiate(&self, instance: &str, module: &str) -> String {
        let mut text = format!("(core instance {instance} (instantiate {module}");
        if !self.bag.is_empty() {
            let _ = write!(text, " (with \"env\" (instance {}))", self.bag);
        }
        for other in &self.instances {
            let _ = write!(text, " (with \"{other}\" (instance {other}))");
        }
        text + "))\n"
    }
}

const HEAD: &str = r#"(component
(import "note" (func $note (param "value" u32)))
(import "show" (func $show (param "bytes" (list u8))))
(core func $note (canon lower (func $note)))
"#;

/// A function of the host's that needs a memory is called through a table, which is filled once
/// there is one: the way of `wit-component`.
const SHIM: &str = r#"(core module $shim
(type $show (func (param i32 i32)))
(table (export "table") 1 1 funcref)
(func (export "show") (param i32 i32) (call_indirect (type $show) (local.get 0) (local.get 1) (i32.const 0))))
(core module $fixup
(import "" "table" (table 1 1 funcref))
(import "" "show" (func $show (param i32 i32)))
(elem (i32.const 0) func $show))
(core instance $shim (instantiate $shim))
"#;

/// Makes a component of choices. All choices make a valid one.
pub(super) fn wire(choices: &mut Choices<'_>) -> Wired {
    let mut wiring = Wiring::new();
    let mut awaits_memory = choices.one_in(2);
    if awaits_memory {
        wiring.text += SHIM;
        wiring.offer(
            Kind::Show,
            Definition::Export {
                instance: "$shim".to_owned(),
                name: "show".to_owned(),
            },
        );
    }
    for _ in 0..choices.below(5) + 2 {
        wiring.instance(choices);
        if choices.one_in(8) {
            wiring.lift(choices);
        }
        if awaits_memory && choices.one_in(3) {
            awaits_memory = !wiring.fill_shim();
        }
    }
    if awaits_memory {
        wiring.fill_shim();
    }
    for memory in wiring.memories.clone() {
        wiring.observer(&memory);
    }
    for _ in 0..4 {
        wiring.lift(choices);
    }
    wiring.text += ")\n";
    Wired {
        text: wiring.text,
        runs: wiring.runs,
        observers: wiring.observers,
    }
}

struct Wiring {
    text: String,
    things: Vec<Thing>,
    /// The memories by the instances that own them.
    memories: Vec<Thing>,
    instances: usize,
    shows: usize,
    runs: usize,
    observers: usize,
}

impl Wiring {
    fn new() -> Self {
        let note = Thing {
            kind: Kind::Note,
            definition: Definition::Lowered("$note".to_owned()),
        };
        Self {
            text: HEAD.to_owned(),
            things: vec![note],
            memories: Vec::new(),
            instances: 0,
            shows: 0,
            runs: 0,
            observers: 0,
        }
    }

    fn offer(&mut self, kind: Kind, definition: Definition) {
        self.things.push(Thing { kind, definition });
    }

    /// A module and an instance of it, now and then two.
    fn instance(&mut self, choices: &mut Choices<'_>) {
        let mut body = Body::default();
        let arguments = self.import(&mut body, choices);
        let owns_memory =
            !body.has_memory() && choices.one_in(if self.memories.is_empty() { 2 } else { 5 });
        body.fill(choices, owns_memory);
        let module = format!("$m{}", self.instances);
        let (text, exports) = body.finish(&module, choices);
        self.text += &text;

        let count = if choices.one_in(8) { 2 } else { 1 };
        for _ in 0..count {
            let instance = format!("$i{}", self.instances);
            self.instances += 1;
            self.text += &arguments.instantiate(&instance, &module);
            for (kind, name) in &exports {
                let definition = Definition::Export {
                    instance: instance.clone(),
                    name: name.clone(),
                };
                if *kind == Kind::Memory && owns_memory {
                    self.memories.push(Thing {
                        kind: *kind,
                        definition: definition.clone(),
                    });
                }
                self.offer(*kind, definition);
            }
            if owns_memory && choices.one_in(2) {
                self.show();
            }
        }
    }

    /// Imports some of what there is, one by one or by whole instances.
    fn import(&self, body: &mut Body, choices: &mut Choices<'_>) -> Arguments {
        let mut arguments = Arguments::default();
        let mut taken = Vec::new();
        for number in 0..choices.below(9) {
            let Some(thing) = choices.of(&self.things) else {
                break;
            };
            if thing.kind == Kind::Memory && body.has_memory() || taken.contains(&&thing.definition)
            {
                continue;
            }
            taken.push(&thing.definition);
            match &thing.definition {
                Definition::Export { instance, name } if choices.one_in(3) => {
                    body.import(thing.kind, instance, name);
                    if !arguments.instances.contains(instance) {
                        arguments.instances.push(instance.clone());
                    }
                }
                _ => {
                    let name = format!("n{number}");
                    body.import(thing.kind, "env", &name);
                    let _ = write!(arguments.bag, " (export \"{name}\" {})", thing.reference());
                }
            }
        }
        arguments
    }

    /// The host's function that shows the newest memory.
    fn show(&mut self) -> Option<String> {
        let memory = self.memories.last()?.reference().replacen('(', "(core ", 1);
        let id = format!("$show{}", self.shows);
        self.shows += 1;
        let _ = writeln!(
            self.text,
            "(core func {id} (canon lower (func $show) (memory {memory})))"
        );
        self.offer(Kind::Show, Definition::Lowered(id.clone()));
        Some(id)
    }

    /// Fills the table of the shim, if there is a memory. Returns whether there is.
    fn fill_shim(&mut self) -> bool {
        let Some(show) = self.show() else {
            return false;
        };
        let _ = writeln!(
            self.text,
            "(core instance (instantiate $fixup (with \"\" (instance (export \"table\" (table $shim \"table\")) \
             (export \"show\" (func {show}))))))"
        );
        true
    }

    /// Exports a function.
    fn lift(&mut self, choices: &mut Choices<'_>) {
        let is_liftable = |thing: &&Thing| thing.kind == Kind::Unary;
        let liftable: Vec<_> = self.things.iter().filter(is_liftable).collect();
        let Some(Definition::Export { instance, name }) =
            choices.of(&liftable).map(|thing| &thing.definition)
        else {
            return;
        };
        let number = self.runs;
        let _ = writeln!(
            self.text,
            "(func (export \"run{number}\") (param \"value\" u32) (result u32) (canon lift (core func {instance} \"{name}\")))"
        );
        self.runs += 1;
    }

    /// A module that shows a memory, and notes what is in some tables and globals.
    fn observer(&mut self, memory: &Thing) {
        let number = self.observers;
        let shown = memory.reference().replacen('(', "(core ", 1);
        let mut bag = format!(" (export \"memory\" {})", memory.reference());
        let _ = write!(
            bag,
            " (export \"show\" (func $shown{number})) (export \"note\" (func $note))"
        );
        let mut imports = String::new();
        let mut notes = String::new();
        let is_state = |thing: &&Thing| matches!(thing.kind, Kind::Table | Kind::Variable);
        for (index, thing) in self.things.iter().filter(is_state).take(20).enumerate() {
            let _ = write!(bag, " (export \"s{index}\" {})", thing.reference());
            if thing.kind == Kind::Variable {
                let _ = writeln!(
                    imports,
                    "(import \"env\" \"s{index}\" (global $s{index} (mut i32)))"
                );
                let _ = writeln!(notes, "(call $note (global.get $s{index}))");
                continue;
            }
            let _ = writeln!(
                imports,
                "(import \"env\" \"s{index}\" (table $s{index} 8 funcref))"
            );
            for place in 0..8 {
                let _ = writeln!(
                    notes,
                    "(call $note (ref.is_null (table.get $s{index} (i32.const {place}))))"
                );
            }
        }
        let _ = writeln!(
            self.text,
            "(core func $shown{number} (canon lower (func $show) (memory {shown})))
(core module $o{number}
(import \"env\" \"memory\" (memory 1))
(import \"env\" \"show\" (func $show (param i32 i32)))
(import \"env\" \"note\" (func $note (param i32)))
{imports}(func (export \"observe\") (param i32) (result i32)
(call $show (i32.const 0) (i32.mul (memory.size) (i32.const 65536)))
{notes}(local.get 0)))
(core instance $o{number} (instantiate $o{number} (with \"env\" (instance{bag}))))
(func (export \"observe{number}\") (param \"value\" u32) (result u32) (canon lift (core func $o{number} \"observe\")))"
        );
        self.observers += 1;
    }
}

//! Components of core modules that are wired at random, as they are and linked: for a property test
//! in this workspace, and for the fuzzer in `fuzz/`.
//!
//! Both versions are instantiated and called in the same way. They must return the same numbers,
//! trap in the same way, and show the host the same: numbers that they note, parts of memories, and
//! after each call all memories, tables and globals. One difference is allowed: of several segments
//! beyond the end of a table or a memory, another one may be the first to end the instantiation.

mod body;
mod choices;
mod wiring;

use choices::Choices;
use portcullis_module_linker::{NotLinked, link};
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::LazyLock;
use wasmtime::component::{Component, Instance, Linker, WasmList};
use wasmtime::{Config, Engine, OptLevel, Store, StoreContextMut, Trap};
use wiring::{Wired, wire};

/// Instructions of one call. Little enough that no recursion reaches the end of the stack, whose
/// frames may differ.
const FUEL: u64 = 5_000;
/// Instructions of a call that only shows what there is.
const FUEL_TO_OBSERVE: u64 = 100_000;
/// Calls of one instance.
const CALLS: usize = 8;

/// Without garbage collection, as most hosts are.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config
        .wasm_gc(false)
        .consume_fuel(true)
        .cranelift_opt_level(OptLevel::None);
    Engine::new(&config).expect("a configuration that wasmtime has")
});

/// What came of a comparison that found no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compared {
    /// The linker left the component as it is.
    NotLinked,
    /// One of the two ran out of fuel, so that they need not be alike.
    CutShort,
    /// Both could not be instantiated.
    NeverBegan,
    /// Both trapped in a call, in the same way.
    Trapped,
    /// All calls of both returned.
    Returned,
}

/// Makes a component of the bytes, and compares it with its linked version.
///
/// # Panics
/// They behave differently, or one of the two does not compile.
pub fn linked_is_alike(data: &[u8]) -> Compared {
    let mut choices = Choices::new(data);
    let wired = wire(&mut choices);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| (choices.below(256), choices.below(300) as u32))
        .collect();
    let component =
        wat::parse_str(&wired.text).unwrap_or_else(|error| broken(&wired, &error.to_string()));
    let linked = match link(&component) {
        Ok(linked) => linked,
        // Any other refusal is a mistake of the generator or of the linker.
        Err(NotLinked::OneModule | NotLinked::Demanding(_)) => return Compared::NotLinked,
        Err(error) => broken(&wired, &error.to_string()),
    };

    let as_it_is = run(&component, &wired, &calls);
    let when_linked = run(&linked, &wired, &calls);
    if as_it_is.is_cut_short || when_linked.is_cut_short {
        return Compared::CutShort;
    }
    assert_eq!(as_it_is, when_linked, "{}", wired.text);
    match as_it_is.steps.last() {
        Some(Step::NeverBegan) => Compared::NeverBegan,
        Some(Step::Trapped(_)) => Compared::Trapped,
        _ => Compared::Returned,
    }
}

#[expect(clippy::panic, reason = "the component is named")]
fn broken(wired: &Wired, why: &str) -> ! {
    panic!("{why}\n{}", wired.text)
}

/// All that can be seen of a component from outside.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    steps: Vec<Step>,
    /// What it showed the host, in order.
    events: Vec<Event>,
    is_cut_short: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    NeverBegan,
    Returned(u32),
    Trapped(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Noted(u32),
    /// A part of a memory: its length, and a hash of its content.
    Shown(usize, u64),
}

impl Run {
    /// Notes how a call ended. Returns whether there can be another one.
    fn note(&mut self, outcome: wasmtime::Result<u32>) -> bool {
        match outcome {
            Ok(value) => self.steps.push(Step::Returned(value)),
            Err(error) => {
                let trap = error.downcast_ref::<Trap>();
                self.is_cut_short = trap == Some(&Trap::OutOfFuel);
                let words = trap.map_or_else(
                    || error.root_cause().to_string(),
                    |trap| format!("{trap:?}"),
                );
                self.steps.push(Step::Trapped(words));
                return false;
            }
        }
        true
    }
}

fn host() -> Linker<Vec<Event>> {
    let mut host = Linker::new(&ENGINE);
    let mut root = host.root();
    root.func_wrap(
        "note",
        |mut store: StoreContextMut<'_, Vec<Event>>, (value,): (u32,)| {
            store.data_mut().push(Event::Noted(value));
            Ok(())
        },
    )
    .expect("a name that is free");
    root.func_wrap(
        "show",
        |mut store: StoreContextMut<'_, Vec<Event>>, (bytes,): (WasmList<u8>,)| {
            let mut hasher = DefaultHasher::new();
            let bytes = bytes.as_le_slice(&store);
            hasher.write(bytes);
            let shown = Event::Shown(bytes.len(), hasher.finish());
            store.data_mut().push(shown);
            Ok(())
        },
    )
    .expect("a name that is free");
    host
}

/// Instantiates a component and makes the calls: for each, a number that chooses the function, and
/// its argument.
fn run(bytes: &[u8], wired: &Wired, calls: &[(usize, u32)]) -> Run {
    let component = Component::from_binary(&ENGINE, bytes)
        .unwrap_or_else(|error| broken(wired, &format!("{error:#}")));
    let mut store = Store::new(&ENGINE, Vec::new());
    store.set_fuel(FUEL).expect("fuel is on");
    let mut run = Run::default();
    match host().instantiate(&mut store, &component) {
        Ok(instance) => make_calls(&mut run, &mut store, &instance, wired, calls),
        Err(error) => {
            let trap = error.downcast_ref::<Trap>();
            assert!(trap.is_some(), "{error:#}\n{}", wired.text);
            run.is_cut_short = trap == Some(&Trap::OutOfFuel);
            run.steps.push(Step::NeverBegan);
        }
    }
    run.events = store.into_data();
    run
}

fn make_calls(
    run: &mut Run,
    store: &mut Store<Vec<Event>>,
    instance: &Instance,
    wired: &Wired,
    calls: &[(usize, u32)],
) {
    for (choice, argument) in calls {
        if wired.runs > 0 {
            let name = format!("run{}", choice % wired.runs);
            if !run.note(call(store, instance, &name, *argument, FUEL)) {
                return;
            }
        }
        for number in 0..wired.observers {
            let name = format!("observe{number}");
            if !run.note(call(store, instance, &name, 0, FUEL_TO_OBSERVE)) {
                return;
            }
        }
    }
}

fn call(
    store: &mut Store<Vec<Event>>,
    instance: &Instance,
    name: &str,
    argument: u32,
    fuel: u64,
) -> wasmtime::Result<u32> {
    store.set_fuel(fuel)?;
    let function = instance.get_typed_func::<(u32,), (u32,)>(&mut *store, name)?;
    Ok(function.call(&mut *store, (argument,))?.0)
}

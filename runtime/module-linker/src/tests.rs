//! A linked component answers what it would have answered.

use super::{NotLinked, link, modules};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is WebAssembly")
}

/// Without the proposal for garbage collection, as most hosts are.
fn engine() -> Engine {
    Engine::new(Config::new().wasm_gc(false)).unwrap()
}

/// What the component's `run` says, on a host called "portcullis".
fn answer(component: &[u8]) -> u32 {
    let engine = &engine();
    let mut host = Linker::new(engine);
    host.root()
        .func_wrap("name", |_, (): ()| Ok(("portcullis".to_owned(),)))
        .unwrap();
    let mut store = Store::new(engine, ());
    let component = Component::from_binary(engine, component).unwrap();
    let instance = host.instantiate(&mut store, &component).unwrap();
    let run = instance
        .get_typed_func::<(), (u32,)>(&mut store, "run")
        .unwrap();
    run.call(&mut store, ()).unwrap().0
}

/// The component gives `expected` linked and unlinked, and `left` modules remain.
fn assert_linked(text: &str, left: usize, expected: u32) {
    let component = parse(text);
    assert_eq!(answer(&component), expected, "before");
    let linked = link(&component).unwrap();
    assert_eq!(modules(&linked).unwrap(), left, "modules");
    assert_eq!(answer(&linked), expected, "linked");
}

/// Two libraries in the memory and the table of a third module, which import each other's
/// functions, and a function of the host's behind a shim, since it needs the memory: the way of
/// `wit-component`.
const LIBRARIES: &str = r#"(component
    (import "name" (func $name (result string)))
    (core module $shim
        (type $lowered (func (param i32)))
        (table (export "table") 1 1 funcref)
        (func (export "name") (param i32) local.get 0 i32.const 0 call_indirect (type $lowered)))
    (core module $owner
        (memory (export "memory") 1)
        (table (export "table") 8 funcref)
        (global (export "base") i32 i32.const 256)
        (global (export "first") i32 i32.const 2)
        (global (export "stack") (mut i32) i32.const 1000)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 512))
    (core module $unary
        (type $unary (func (param i32) (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "table" (table 8 funcref))
        (import "env" "base" (global $base i32))
        (import "env" "first" (global $first i32))
        (import "env" "stack" (global $stack (mut i32)))
        (elem (global.get $first) func $add $negate)
        (elem $later func $double)
        (data (global.get $base) "\07")
        (data $more "\05\06")
        (func $add (type $unary) (i32.add (local.get 0) (i32.load8_u (global.get $base))))
        (func $negate (type $unary) (i32.sub (i32.const 0) (local.get 0)))
        (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
        (func (export "fill")
            (table.init $later (i32.const 4) (i32.const 0) (i32.const 1))
            (memory.init $more (i32.const 257) (i32.const 1) (i32.const 1))
            (global.set $stack (i32.sub (global.get $stack) (i32.const 100)))))
    (core module $main
        (type $other (func (param i64)))
        (type $unary (func (param i32) (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "table" (table 1 funcref))
        (import "env" "stack" (global $stack (mut i32)))
        (import "env" "fill" (func $fill))
        (import "host" "name" (func $name (param i32)))
        (elem $mine func $third)
        (data $mine "\01\02\03")
        (func $third (type $unary) (i32.div_s (local.get 0) (i32.const 3)))
        (func $apply (param i32 i32) (result i32)
            (call_indirect (type $unary) (local.get 0) (local.get 1)))
        ;; The length of the name, its first letter, the stack, what was filled in, and ((1 + 7) * 2) * -1 / 3.
        (func (export "run") (result i32)
            (call $fill)
            (table.init $mine (i32.const 5) (i32.const 0) (i32.const 1))
            (memory.init $mine (i32.const 258) (i32.const 2) (i32.const 1))
            (call $name (i32.const 768))
            (i32.load (i32.const 772))
            (i32.add (i32.load8_u (i32.load (i32.const 768))))
            (i32.add (global.get $stack))
            (i32.add (i32.load8_u (i32.const 257)))
            (i32.add (i32.load8_u (i32.const 258)))
            (call $apply (call $apply (call $apply (i32.const 1) (i32.const 2)) (i32.const 4)) (i32.const 3))
            (i32.add (call $apply (i32.const 5)))))
    (core module $fixup
        (import "" "table" (table 1 1 funcref))
        (import "" "0" (func (param i32)))
        (elem (i32.const 0) func 0))
    (core instance $shim (instantiate $shim))
    (core instance $owner (instantiate $owner))
    (alias core export $owner "stack" (core global $stack))
    (core instance $unary (instantiate $unary (with "env" (instance $owner))))
    (core instance $env
        (export "memory" (memory $owner "memory"))
        (export "table" (table $owner "table"))
        (export "stack" (global $stack))
        (export "fill" (func $unary "fill")))
    (core instance $main (instantiate $main (with "env" (instance $env)) (with "host" (instance $shim))))
    (core func $lowered (canon lower (func $name) (memory (core memory $owner "memory")) (realloc (core func $owner "realloc"))))
    (core instance (instantiate $fixup (with "" (instance
        (export "table" (table $shim "table"))
        (export "0" (func $lowered))))))
    (func (export "run") (result u32) (canon lift (core func $main "run"))))"#;

#[test]
fn libraries_become_one_module() {
    assert_linked(LIBRARIES, 2, 10 + u32::from(b'p') + 900 + 6 + 3 - 5);
}

/// A toolchain makes three modules of each. The build of `portcullis-bundled` links them.
#[test]
fn what_a_toolchain_makes_becomes_one_module_and_what_it_imports() {
    for name in portcullis_bundled::names() {
        let component = portcullis_bundled::component(name).unwrap();
        assert_eq!(modules(component).unwrap(), 2, "{name}");
        assert!(
            matches!(link(component), Err(NotLinked::OneModule)),
            "{name}"
        );
        Component::from_binary(&engine(), component).unwrap();
    }
}

/// Two modules that can be linked, and the beginning of one that cannot.
const PAIR: &str = r#"
    (import "name" (func $name (result string)))
    (core module $a
        (memory (export "memory") 1)
        (table (export "table") 1 funcref)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
        (func (export "seven") (result i32) i32.const 7))
    (core module $b
        (import "a" "seven" (func $seven (result i32)))
        (import "a" "memory" (memory 1))
        (func (export "note") (i32.store (i32.const 4) (i32.load (i32.const 0))))
        (func (export "eight") (result i32) (i32.add (call $seven) (i32.const 1))))
    (core instance $a (instantiate $a))
    (core instance $b (instantiate $b (with "a" (instance $a))))"#;

fn with_pair(rest: &str) -> String {
    format!("(component {PAIR} {rest})")
}

/// It runs when its module is instantiated, before what comes after it.
#[test]
fn a_start_function_runs_when_it_did() {
    let text = with_pair(
        r#"(core module $starts (import "b" "note" (func $note)) (start $note))
        (core module $writes
            (import "a" "memory" (memory 1))
            (import "b" "eight" (func $eight (result i32)))
            (data (i32.const 0) "\14")
            (func (export "run") (result i32) (i32.add (call $eight) (i32.load (i32.const 4)))))
        (core instance (instantiate $starts (with "b" (instance $b))))
        (core instance $writes (instantiate $writes (with "a" (instance $a)) (with "b" (instance $b))))
        (func (export "run") (result u32) (canon lift (core func $writes "run")))"#,
    );
    assert_linked(&text, 3, 8);
}

/// It needs no member, but sees what one has written before it.
#[test]
fn a_start_function_sees_what_was_written_before_it() {
    let table = r#"(component
        (core module $table (table (export "table") 1 funcref) (func $nothing) (start $nothing))
        (core instance $table (instantiate $table))"#;
    let text = with_pair(
        r#"(core module $writes
            (import "t" "table" (table 1 funcref))
            (func $five (result i32) i32.const 5)
            (elem (i32.const 0) func $five))
        (core module $reads
            (import "t" "table" (table 1 funcref))
            (global $seen (mut i32) (i32.const 0))
            (func $begin (global.set $seen (call_indirect (result i32) (i32.const 0))))
            (start $begin)
            (func (export "run") (result i32) (global.get $seen)))
        (core instance (instantiate $writes (with "t" (instance $table))))
        (core instance $reads (instantiate $reads (with "t" (instance $table))))
        (core module $last (import "b" "eight" (func (result i32))))
        (core instance (instantiate $last (with "b" (instance $b))))
        (func (export "run") (result u32) (canon lift (core func $reads "run")))"#,
    )
    .replacen("(component", table, 1);
    assert_linked(&text, 4, 5);
}

/// Of two that write to the same place the second is believed.
#[test]
fn what_is_written_twice_is_written_in_the_same_order() {
    let text = with_pair(
        r#"(core func $lowered
            (canon lower (func $name) (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
        (core module $first
            (import "a" "table" (table 1 funcref))
            (import "" "name" (func $name (param i32)))
            (func $one (result i32) i32.const 1)
            (elem (i32.const 0) func $one))
        (core module $second
            (import "a" "table" (table 1 funcref))
            (func $two (result i32) i32.const 2)
            (elem (i32.const 0) func $two)
            (func (export "run") (result i32) (call_indirect (result i32) (i32.const 0))))
        (core instance (instantiate $first
            (with "a" (instance $a))
            (with "" (instance (export "name" (func $lowered))))))
        (core instance $second (instantiate $second (with "a" (instance $a))))
        (func (export "run") (result u32) (canon lift (core func $second "run")))"#,
    );
    assert_linked(&text, 3, 2);
}

/// What is lifted stays where it is, so the linked module is there before it.
#[test]
fn who_comes_after_a_lifted_function_stays_as_it_is() {
    let text = with_pair(
        r#"(func (export "first") (result u32) (canon lift (core func $b "eight")))
        (core module $late
            (import "b" "eight" (func $eight (result i32)))
            (func (export "run") (result i32) (call $eight)))
        (core instance $late (instantiate $late (with "b" (instance $b))))
        (func (export "run") (result u32) (canon lift (core func $late "run")))"#,
    );
    assert_linked(&text, 2, 8);
}

/// The same memory by another name, which a third instance hands on.
#[test]
fn a_place_is_the_same_whatever_it_is_called() {
    let text = with_pair(
        r#"(core func $lowered
            (canon lower (func $name) (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
        (core module $hands_on (import "a" "memory" (memory 1)) (export "m" (memory 0)))
        (core module $first
            (import "h" "m" (memory 1))
            (import "" "name" (func $name (param i32)))
            (data (i32.const 0) "\05"))
        (core module $second
            (import "a" "memory" (memory 1))
            (data (i32.const 0) "\07")
            (func (export "run") (result i32) (i32.load (i32.const 0))))
        (core instance $hands_on (instantiate $hands_on (with "a" (instance $a))))
        (core instance (instantiate $first
            (with "h" (instance $hands_on))
            (with "" (instance (export "name" (func $lowered))))))
        (core instance $second (instantiate $second (with "a" (instance $a))))
        (func (export "run") (result u32) (canon lift (core func $second "run")))"#,
    );
    assert_linked(&text, 3, 7);
}

/// It may call the host when it is instantiated, which a module that traps before it prevents.
#[test]
fn who_comes_after_a_component_stays_as_it_is() {
    let text = with_pair(
        r#"(component $inner (core module $m) (core instance (instantiate $m)))
        (instance (instantiate $inner))
        (core module $late
            (import "b" "eight" (func $eight (result i32)))
            (func (export "run") (result i32) (call $eight)))
        (core instance $late (instantiate $late (with "b" (instance $b))))
        (func (export "run") (result u32) (canon lift (core func $late "run")))"#,
    );
    assert_linked(&text, 3, 8);
}

#[test]
fn two_instances_of_a_module_have_a_state_each() {
    let text = with_pair(
        r#"(core module $counter
            (global $count (mut i32) i32.const 0)
            (func (export "next") (result i32)
                (global.set $count (i32.add (global.get $count) (i32.const 1)))
                (global.get $count)))
        (core module $main
            (import "one" "next" (func $one (result i32)))
            (import "two" "next" (func $two (result i32)))
            (func (export "run") (result i32) (drop (call $one)) (drop (call $one)) (call $two)))
        (core instance $one (instantiate $counter))
        (core instance $two (instantiate $counter))
        (core instance $main (instantiate $main (with "one" (instance $one)) (with "two" (instance $two))))
        (func (export "run") (result u32) (canon lift (core func $main "run")))"#,
    );
    assert_linked(&text, 2, 1);
}

#[test]
fn a_second_memory_stays_one() {
    let text = with_pair(
        r#"(core module $other
            (memory 1)
            (func (export "load") (result i32) (i32.store (i32.const 0) (i32.const 5)) (i32.load (i32.const 0))))
        (core module $main
            (import "a" "memory" (memory 1))
            (import "other" "load" (func $load (result i32)))
            (func (export "run") (result i32) (i32.add (call $load) (i32.load (i32.const 0)))))
        (core instance $other (instantiate $other))
        (core instance $main (instantiate $main (with "a" (instance $a)) (with "other" (instance $other))))
        (func (export "run") (result u32) (canon lift (core func $main "run")))"#,
    );
    assert_linked(&text, 2, 5);
}

/// A constant of the linked module would name a global of its own, which only the proposal for
/// garbage collection has.
#[test]
fn what_would_need_garbage_collection_when_linked_is_refused() {
    let component = parse(
        r#"(component
            (core module $a (global (export "base") i64 i64.const 7))
            (core module $b
                (import "a" "base" (global $base i64))
                (global $copy i64 global.get $base)
                (func (export "run") (result i32) (i32.wrap_i64 (global.get $copy))))
            (core instance $a (instantiate $a))
            (core instance $b (instantiate $b (with "a" (instance $a))))
            (func (export "run") (result u32) (canon lift (core func $b "run"))))"#,
    );
    assert_eq!(answer(&component), 7);
    assert!(matches!(link(&component), Err(NotLinked::Demanding(_))));
}

#[test]
fn what_is_not_known_is_not_linked() {
    let reason = |text: &str| link(&parse(text)).map(|_| ()).unwrap_err().to_string();
    // A name of `name` bytes, imported by `instances` instances.
    let many = |name: usize, instances: usize| {
        let name = "x".repeat(name);
        let instances =
            r#"(core instance (instantiate $many (with "n" (instance $named))))"#.repeat(instances);
        with_pair(&format!(
            r#"(core module $named (func (export "{name}")))
            (core module $many (import "n" "{name}" (func)))
            (core instance $named (instantiate $named)) {instances}"#
        ))
    };
    let cases = [
        ("(component)".to_owned(), "no two of its modules"),
        (
            r#"(component (core module $a) (core instance (instantiate $a)))"#.to_owned(),
            "no two of its modules",
        ),
        (with_pair("(core type (func))"), "a core type"),
        (
            with_pair(r#"(export "m" (core module $a))"#),
            "a core module as a value",
        ),
        (
            with_pair("(component (alias outer 1 0 (core module $outer)))"),
            "a module from elsewhere",
        ),
        (many(1, 70), "too many instances or imports"),
        (many(20_000, 60), "too many instances or imports"),
    ];
    for (text, expected) in &cases {
        assert!(reason(text).contains(expected), "{text}: {}", reason(text));
    }
    assert!(matches!(
        link(b"\0asm\x0d\0\x01\0\x01"),
        Err(NotLinked::Invalid(_))
    ));
    assert!(matches!(
        link(&parse("(module)")),
        Err(NotLinked::NotAComponent)
    ));
    assert!(matches!(
        link(b"no WebAssembly"),
        Err(NotLinked::NotAComponent)
    ));
}

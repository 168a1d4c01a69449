//! How long one call of an extism plugin takes: peer-extism-bench PLUGIN.wasm [CALLS]
//!
//! reuse: one Plugin, called again and again; extism's kernel resets its memory between calls,
//!        the guest's own memory and globals stay.
//! fresh: a new Plugin (store, linking, instance) for each call, from one CompiledPlugin.

use std::hint::black_box;
use std::time::{Duration, Instant};

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

fn verify(plugin: &mut Plugin, token: &str) -> bool {
    plugin.call::<&str, &str>("verify", token).expect("call") == "1"
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_nanos() as f64 / 1000.0;
    println!(
        "{name:12} median {:9.2} us   p10 {:9.2}   p99 {:9.2}   max {:9.2}   calls {}",
        at(0.5), at(0.1), at(0.99), at(1.0), times.len()
    );
}

fn timed(calls: usize, mut call: impl FnMut(usize)) -> Vec<Duration> {
    for i in 0..calls / 10 {
        call(i); // warm-up
    }
    (0..calls)
        .map(|i| {
            let start = Instant::now();
            call(i);
            start.elapsed()
        })
        .collect()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let wasm = args.next().expect("PLUGIN.wasm");
    let calls: usize = args.next().map_or(20_000, |n| n.parse().expect("CALLS"));
    let good = std::env::var("PEER_TOKEN").unwrap_or("good-token".into());
    let bad = "x".repeat(good.len()); // the same length, so that the bytes are compared

    let manifest = Manifest::new([Wasm::data(std::fs::read(wasm).expect("PLUGIN.wasm"))]);
    // No compile cache: it writes under the home folder.
    let builder = PluginBuilder::new(manifest).with_wasi(false).with_cache_disabled();
    let start = Instant::now();
    let compiled = CompiledPlugin::new(builder).expect("compile");
    println!("compile      {:.1} ms, once", start.elapsed().as_secs_f64() * 1000.0);

    // Half the calls carry a good token, half a bad one; each answer is checked.
    let token = |i: usize| if i % 2 == 0 { &good } else { &bad };

    let mut plugin = Plugin::new_from_compiled(&compiled).expect("plugin");
    report("reuse", timed(calls, |i| {
        assert_eq!(black_box(verify(&mut plugin, token(i))), i % 2 == 0);
    }));
    report("fresh", timed(calls / 10, |i| {
        let mut plugin = Plugin::new_from_compiled(&compiled).expect("plugin");
        assert_eq!(black_box(verify(&mut plugin, token(i))), i % 2 == 0);
    }));
}

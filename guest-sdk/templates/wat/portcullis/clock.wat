;; The time. Nothing here needs to be edited.

(import "wasi:clocks/wall-clock@0.2.12" "now" (func $clock_now (param i32)))

;; Seconds since 1970.
(func $now (result i64)
  (local $out i32)
  (local.set $out (call $room (i32.const 16)))
  (call $clock_now (local.get $out))
  (i64.load (local.get $out)))

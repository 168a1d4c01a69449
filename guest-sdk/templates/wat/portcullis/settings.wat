;; The settings of this provider. Nothing here needs to be edited.

(import "wasi:config/store@0.2.0-rc.1" "get" (func $config_get (param i32 i32 i32)))

;; A setting as a text; none if it is not set.
(func $setting (param $key i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 16)))   ;; result<option<string>, error>
  (call $config_get (call $at (local.get $key)) (call $length (local.get $key)) (local.get $out))
  (if (i32.load8_u (local.get $out)) (then (unreachable)))
  (if (result i32) (i32.load8_u offset=4 (local.get $out))
    (then (i32.add (local.get $out) (i32.const 8)))
    (else (i32.const 0))))

;; Nests ten thousand blocks, each with a branch out of all of them.
(module
  (memory (export "memory") 1)
  (func $blocks (param $out i32)
    ;;repeat 10000: block local.get $out br_if {i}
    ;;repeat 10000: end
  )
  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
  (func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (i32.const 1))
  (func (export "portcullis:auth/provider@0.1.0#verify-token") (param i32 i32) (result i32)
    (call $blocks (i32.const 0))
    ;; ok(none)
    (i32.const 512))
  (func (export "portcullis:auth/provider@0.1.0#verify-session") (param i32 i32) (result i32) (i32.const 512)))

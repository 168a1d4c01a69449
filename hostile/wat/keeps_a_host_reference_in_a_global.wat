;; Has a global of a host reference.
(module
  (memory (export "memory") 1)
  (global $host (mut externref) (ref.null extern))
  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
  (func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (i32.const 1))
  (func (export "portcullis:auth/provider@0.1.0#verify-token") (param i32 i32) (result i32)
    (global.set $host (ref.null extern))
    ;; ok(none)
    (i32.const 512))
  (func (export "portcullis:auth/provider@0.1.0#verify-session") (param i32 i32) (result i32) (i32.const 512)))

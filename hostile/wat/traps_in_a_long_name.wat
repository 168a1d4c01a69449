;; Traps in a function with a name of ninety kilobytes, below nineteen others like it.
(module
  (memory (export "memory") 1)
  ;;repeat 19: (func $f{i} (call $f{next}) (nop))
  (func $f19 (@name "\
;;repeat 90000: n\
") (unreachable))
  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
  (func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (i32.const 1))
  (func (export "portcullis:auth/provider@0.1.0#verify-token") (param i32 i32) (result i32)
    (call $f0)
    ;; ok(some({principal: 8 bytes at 256, scopes: 0 items at 0}))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 256))
    (i32.store (i32.const 1036) (i32.const 8))
    (i32.store (i32.const 1040) (i32.const 0))
    (i32.store (i32.const 1044) (i32.const 0))
    (i32.const 1024))
  (func (export "portcullis:auth/provider@0.1.0#verify-session") (param i32 i32) (result i32) (i32.const 512))
  (data (i32.const 256) "breached"))

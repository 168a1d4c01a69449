;; Traps in functions whose C++ names nest scopes, functions and templates thirty thousand deep.
(module
  (memory (export "memory") 1)
  (func $scopes (@name "_Z\
;;repeat 30000: N\
1a\
;;repeat 30000: E\
") (call $functions) (nop))
  (func $functions (@name "_Z1a\
;;repeat 30000: PF\
v\
;;repeat 30000: E\
") (call $templates) (nop))
  (func $templates (@name "_Z\
;;repeat 30000: 1aI\
i\
;;repeat 9000: E\
") (unreachable))
  (global $free (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
  (func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (i32.const 1))
  (func (export "portcullis:auth/provider@0.1.0#verify-token") (param i32 i32) (result i32)
    (call $scopes)
    ;; ok(some({principal: 8 bytes at 256, scopes: 0 items at 0}))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 256))
    (i32.store (i32.const 1036) (i32.const 8))
    (i32.store (i32.const 1040) (i32.const 0))
    (i32.store (i32.const 1044) (i32.const 0))
    (i32.const 1024))
  (func (export "portcullis:auth/provider@0.1.0#verify-session") (param i32 i32) (result i32) (i32.const 512))
  (data (i32.const 256) "breached"))

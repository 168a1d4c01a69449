;; Fills sixty mebibytes of memory five hundred times when the host asks for memory to pass a token in.
(module
  (memory (export "memory") 1)
  (func $fill
    ;;repeat 500: (memory.fill (i32.const 65536) (i32.const {i}) (i32.const 62914560))
  )
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (drop (memory.grow (i32.const 960)))
    (call $fill)
    (i32.const 4096))
  (func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (i32.const 1))
  (func (export "portcullis:auth/provider@0.1.0#verify-token") (param i32 i32) (result i32)
    ;; ok(none)
    (i32.const 512))
  (func (export "portcullis:auth/provider@0.1.0#verify-session") (param i32 i32) (result i32) (i32.const 512)))

;; Copies thirty data segments of 8 KiB to an imported offset in each of ten instances of a module, before any code runs.
(component
  (type $types-t (instance
    (type $s (record
      (field "user-id" string) (field "email" string) (field "display-name" string) (field "org-id" string)
      (field "expires-at" u64) (field "access-token" string) (field "refresh-token" string)))
    (export "session" (type (eq $s)))
    (type $l (list string))
    (type $p (record (field "principal" string) (field "scopes" $l)))
    (export "token-principal" (type (eq $p)))
    (type $e (variant (case "unavailable" string)))
    (export "provider-error" (type (eq $e)))))
  (import "portcullis:auth/types@0.1.0" (instance $types (type $types-t)))
  (alias export $types "session" (type $session))
  (alias export $types "token-principal" (type $token-principal))
  (alias export $types "provider-error" (type $provider-error))
  (core module $memory-module
    (memory (export "memory") 2)
    (global $free (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
    (data (i32.const 256) "breached"))
  (core instance $m (instantiate $memory-module))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (core module $offset-module (global (export "offset") i32 (i32.const 65536)))
  (core instance $o (instantiate $offset-module))
  (core module $data-module
    (import "m" "memory" (memory 1))
    (import "o" "offset" (global $o i32))
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
    (data (global.get $o)
    ;;repeat 128: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    )
  )
  ;;repeat 10: (core instance (instantiate $data-module (with "m" (instance $m)) (with "o" (instance $o))))
  (core module $main-module
    (import "m" "memory" (memory 1))
    (func (export "supports-token") (result i32) (i32.const 1))
    (func (export "verify-token") (param i32 i32) (result i32)
      ;; ok(none)
      (i32.const 512))
    (func (export "verify-session") (param i32 i32) (result i32) (i32.const 512)))
  (core instance $main (instantiate $main-module (with "m" (instance $m))))
  (func $supports-token (result bool) (canon lift (core func $main "supports-token")))
  (func $verify-token (param "token" string) (result (result (option $token-principal) (error $provider-error)))
    (canon lift (core func $main "verify-token") (memory $memory) (realloc $realloc)))
  (func $verify-session (param "access-token" string) (result (result (option $session) (error $provider-error)))
    (canon lift (core func $main "verify-session") (memory $memory) (realloc $realloc)))
  (instance $provider
    (export "session" (type $session))
    (export "token-principal" (type $token-principal))
    (export "provider-error" (type $provider-error))
    (export "supports-token" (func $supports-token))
    (export "verify-token" (func $verify-token))
    (export "verify-session" (func $verify-session)))
  (export "portcullis:auth/provider@0.1.0" (instance $provider)))

;; The provider's own store, the only thing that outlives a call. Nothing here needs to be edited.
;; The operator must have granted `keyvalue`.

(import "wasi:keyvalue/store@0.2.0-draft" "open" (func $keyvalue_open (param i32 i32 i32)))
(import "wasi:keyvalue/store@0.2.0-draft" "[method]bucket.get" (func $keyvalue_get (param i32 i32 i32 i32)))
(import "wasi:keyvalue/store@0.2.0-draft" "[method]bucket.set" (func $keyvalue_set (param i32 i32 i32 i32 i32 i32)))

(data (i32.const 0x100) "no such store\00" "access denied\00")

;; What is kept under a key (none if nothing is), and an error as a text (none if all went well).
(func $bucket_get (param $key i32) (result i32 i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 16)))   ;; result<bucket, error>, then result<option<list<u8>>, error>
  (call $keyvalue_open (i32.const 0) (i32.const 0) (local.get $out))
  (if (i32.eqz (i32.load8_u (local.get $out)))
    (then (call $keyvalue_get
      (i32.load offset=4 (local.get $out)) (call $at (local.get $key)) (call $length (local.get $key)) (local.get $out))))
  (if (i32.load8_u (local.get $out)) (then (return (i32.const 0) (call $keyvalue_error (local.get $out)))))
  (if (result i32) (i32.load8_u offset=4 (local.get $out))
    (then (i32.add (local.get $out) (i32.const 8)))
    (else (i32.const 0)))
  (i32.const 0))

;; Keeps a value under a key; an error as a text (none if all went well).
(func $bucket_set (param $key i32) (param $value i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 16)))   ;; result<bucket, error>, then result<_, error>
  (call $keyvalue_open (i32.const 0) (i32.const 0) (local.get $out))
  (if (i32.eqz (i32.load8_u (local.get $out)))
    (then (call $keyvalue_set
      (i32.load offset=4 (local.get $out)) (call $at (local.get $key)) (call $length (local.get $key))
      (call $at (local.get $value)) (call $length (local.get $value)) (local.get $out))))
  (if (result i32) (i32.load8_u (local.get $out))
    (then (call $keyvalue_error (local.get $out)))
    (else (i32.const 0))))

;; variant { no-such-store, access-denied, other(string) }
(func $keyvalue_error (param $out i32) (result i32)
  (if (result i32) (i32.eq (i32.load8_u offset=4 (local.get $out)) (i32.const 2))
    (then (i32.add (local.get $out) (i32.const 8)))
    (else (call $phrase_at (i32.const 0x100) (i32.load8_u offset=4 (local.get $out))))))

;; The body of a response of http.wat. Nothing here needs to be edited.

(import "wasi:http/types@0.2.12" "[method]incoming-response.consume" (func $consume (param i32 i32)))
(import "wasi:http/types@0.2.12" "[method]incoming-body.stream" (func $stream (param i32 i32)))
(import "wasi:io/streams@0.2.12" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))

;; The body as a text, which can be had once; none if it breaks off.
(func $body (param $response i32) (result i32)
  (local $out i32) (local $stream i32) (local $body i32)
  (local.set $out (call $room (i32.const 12)))
  (call $consume (local.get $response) (local.get $out))
  (call $stream (i32.load offset=4 (local.get $out)) (local.get $out))
  (local.set $stream (i32.load offset=4 (local.get $out)))
  (local.set $body (call $text (i32.const 0) (i32.const 0)))
  (loop $chunks
    (call $read (local.get $stream) (i64.const 65536) (local.get $out))   ;; result<list<u8>, stream-error>
    (if (i32.eqz (i32.load8_u (local.get $out)))
      (then
        (local.set $body (call $join (local.get $body) (i32.add (local.get $out) (i32.const 4))))
        (br $chunks))))
  (if (result i32) (i32.load8_u offset=4 (local.get $out))   ;; variant { last-operation-failed(error), closed }
    (then (local.get $body))
    (else (i32.const 0))))

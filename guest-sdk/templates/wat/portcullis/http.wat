;; Asking over HTTP. Nothing here needs to be edited. The operator must have granted the origin.

(import "wasi:http/types@0.2.12" "[constructor]fields" (func $new_fields (result i32)))
(import "wasi:http/types@0.2.12" "[constructor]outgoing-request" (func $new_request (param i32) (result i32)))
(import "wasi:http/types@0.2.12" "[method]outgoing-request.set-scheme" (func $set_scheme (param i32 i32 i32 i32 i32) (result i32)))
(import "wasi:http/types@0.2.12" "[method]outgoing-request.set-authority" (func $set_authority (param i32 i32 i32 i32) (result i32)))
(import "wasi:http/types@0.2.12" "[method]outgoing-request.set-path-with-query" (func $set_path (param i32 i32 i32 i32) (result i32)))
(import "wasi:http/outgoing-handler@0.2.12" "handle" (func $handle (param i32 i32 i32 i32)))
(import "wasi:http/types@0.2.12" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
(import "wasi:io/poll@0.2.12" "[method]pollable.block" (func $block (param i32)))
(import "wasi:http/types@0.2.12" "[method]future-incoming-response.get" (func $future_get (param i32 i32)))
;; The status of a response.
(import "wasi:http/types@0.2.12" "[method]incoming-response.status" (func $status (param i32) (result i32)))

(data (i32.const 0x200) "http://\00" "https://\00" "/\00" "not a URL that can be asked for\00")
(data (i32.const 0x300)   ;; wasi:http's error-code, in its order
  "DNS timeout\00" "DNS error\00" "destination not found\00" "destination unavailable\00" "destination IP prohibited\00"
  "destination IP unroutable\00" "connection refused\00" "connection terminated\00" "connection timeout\00"
  "connection read timeout\00" "connection write timeout\00" "connection limit reached\00" "TLS protocol error\00"
  "TLS certificate error\00" "TLS alert received\00" "request denied\00" "request length required\00"
  "request body size\00" "request method invalid\00" "request URI invalid\00" "request URI too long\00"
  "request header section size\00" "request header size\00" "request trailer section size\00" "request trailer size\00"
  "response incomplete\00" "response header section size\00" "response header size\00" "response body size\00"
  "response trailer section size\00" "response trailer size\00" "response transfer coding\00"
  "response content coding\00" "response timeout\00" "upgrade failed\00" "protocol error\00" "loop detected\00"
  "configuration error\00" "internal error\00")

;; The response to a GET, for $status and (body.wat) $body; and an error as a text (none if there was a response).
(func $http_get (param $url i32) (result i32 i32)
  (local $https i32) (local $rest i32) (local $host_length i32) (local $path i32)
  (local $request i32) (local $future i32) (local $out i32)
  (local.set $https (call $starts_with (local.get $url) (call $phrase_at (i32.const 0x200) (i32.const 1))))
  (if (i32.eqz (i32.or (local.get $https) (call $starts_with (local.get $url) (call $phrase_at (i32.const 0x200) (i32.const 0)))))
    (then (return (i32.const 0) (call $phrase_at (i32.const 0x200) (i32.const 3)))))
  (local.set $rest (call $text_from (local.get $url) (i32.add (i32.const 7) (local.get $https))))
  (local.set $host_length (call $find_byte (local.get $rest) (i32.const 0x2f)))
  (local.set $path (call $text_from (local.get $rest) (local.get $host_length)))
  (if (i32.eqz (call $length (local.get $path)))
    (then (local.set $path (call $phrase_at (i32.const 0x200) (i32.const 2)))))

  (local.set $request (call $new_request (call $new_fields)))
  (if (i32.or
        (call $set_scheme (local.get $request) (i32.const 1) (local.get $https) (i32.const 0) (i32.const 0))
        (i32.or
          (call $set_authority (local.get $request) (i32.const 1) (call $at (local.get $rest)) (local.get $host_length))
          (call $set_path (local.get $request) (i32.const 1) (call $at (local.get $path)) (call $length (local.get $path)))))
    (then (return (i32.const 0) (call $phrase_at (i32.const 0x200) (i32.const 3)))))

  (local.set $out (call $room (i32.const 56)))
  (call $handle (local.get $request) (i32.const 0) (i32.const 0) (local.get $out))   ;; result<future, error-code>
  (if (i32.load8_u (local.get $out)) (then (return (i32.const 0) (call $http_error (i32.add (local.get $out) (i32.const 8))))))
  (local.set $future (i32.load offset=8 (local.get $out)))
  (call $block (call $subscribe (local.get $future)))
  ;; option<result<result<response, error-code>>>: always there after $block, and not taken before
  (call $future_get (local.get $future) (local.get $out))
  (if (i32.load8_u offset=16 (local.get $out)) (then (return (i32.const 0) (call $http_error (i32.add (local.get $out) (i32.const 24))))))
  (i32.load offset=24 (local.get $out))
  (i32.const 0))

;; variant error-code; internal-error (38) may bring a text.
(func $http_error (param $at i32) (result i32)
  (if (result i32) (i32.and (i32.eq (i32.load8_u (local.get $at)) (i32.const 38)) (i32.load8_u offset=8 (local.get $at)))
    (then (i32.add (local.get $at) (i32.const 12)))
    (else (call $phrase_at (i32.const 0x300) (i32.load8_u (local.get $at))))))

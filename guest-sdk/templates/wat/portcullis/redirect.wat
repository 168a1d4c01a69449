;; What the host calls to send people to an identity provider and to take them back. Nothing here needs to be edited.

;; result<string, provider-error>: $send_to or $unavailable
(func (export "portcullis:auth/redirect@0.1.0#start-login") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
  (call $start_login
    (call $text (local.get 0) (local.get 1)) (call $text (local.get 2) (local.get 3))
    (call $text (local.get 4) (local.get 5)) (call $text (local.get 6) (local.get 7))))

;; result<session, code-error>: $signed_in, $turned_away or $sign_in_unavailable
(func (export "portcullis:auth/redirect@0.1.0#complete-login")
  (param i32 i32 i32 i32 i32 i32 i32 i32) (param $has_issuer i32) (param i32 i32) (result i32)
  (call $complete_login
    (call $text (local.get 0) (local.get 1)) (call $text (local.get 2) (local.get 3))
    (call $text (local.get 4) (local.get 5)) (call $text (local.get 6) (local.get 7))
    (if (result i32) (local.get $has_issuer) (then (call $text (local.get 9) (local.get 10))) (else (i32.const 0)))))

;; The page that the browser goes to: ok(string).
(func $send_to (param $url i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 16)))
  (call $put (i32.add (local.get $out) (i32.const 4)) (local.get $url))
  (local.get $out))

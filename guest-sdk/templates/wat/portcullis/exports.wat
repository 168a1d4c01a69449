;; What the host calls of every provider, and what is answered to it. Nothing here needs to be edited.

;; result<_, string>: $check says what is wrong, none if nothing is.
(func (export "portcullis:auth/settings@0.1.0#check") (result i32)
  (local $wrong i32) (local $out i32)
  (local.set $wrong (call $check))
  (local.set $out (call $room (i32.const 12)))
  (i32.store8 (local.get $out) (i32.ne (local.get $wrong) (i32.const 0)))
  (call $put (i32.add (local.get $out) (i32.const 4)) (local.get $wrong))
  (local.get $out))

(func (export "portcullis:auth/provider@0.1.0#supports-token") (result i32) (call $supports_token))

;; result<option<token-principal>, provider-error>: $nobody, $recognized or $unavailable
(func (export "portcullis:auth/provider@0.1.0#verify-token") (param $at i32) (param $length i32) (result i32)
  (call $verify_token (call $text (local.get $at) (local.get $length))))

;; result<option<session>, provider-error>: $nobody, $somebody or $session_unavailable
(func (export "portcullis:auth/provider@0.1.0#verify-session") (param $at i32) (param $length i32) (result i32)
  (call $verify_session (call $text (local.get $at) (local.get $length))))

;; Not one of ours: ok(none), which is all zero.
(func $nobody (result i32) (call $room (i32.const 72)))

;; The caller has a name and a list of scopes. The host keeps only those that the operator granted.
(func $recognized (param $principal i32) (param $scopes i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 24)))                 ;; ok(
  (i32.store8 offset=4 (local.get $out) (i32.const 1))         ;; some(
  (call $put (i32.add (local.get $out) (i32.const 8)) (local.get $principal))
  (call $put (i32.add (local.get $out) (i32.const 16)) (local.get $scopes))
  (local.get $out))

;; Something that is needed is out of reach (of verify-token and start-login).
(func $unavailable (param $why i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 24)))
  (i32.store8 (local.get $out) (i32.const 1))                  ;; err(unavailable(
  (call $put (i32.add (local.get $out) (i32.const 8)) (local.get $why))
  (local.get $out))

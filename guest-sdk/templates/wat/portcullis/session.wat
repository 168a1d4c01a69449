;; Sessions, and what is answered about them. Nothing here needs to be edited.

;; record session: texts, but for the seconds since 1970. What is unknown is none.
(func $new_session
  (param $user_id i32) (param $email i32) (param $display_name i32) (param $org_id i32)
  (param $expires_at i64) (param $access_token i32) (param $refresh_token i32) (result i32)
  (local $session i32)
  (local.set $session (call $room (i32.const 56)))
  (call $put (local.get $session) (local.get $user_id))
  (call $put (i32.add (local.get $session) (i32.const 8)) (local.get $email))
  (call $put (i32.add (local.get $session) (i32.const 16)) (local.get $display_name))
  (call $put (i32.add (local.get $session) (i32.const 24)) (local.get $org_id))
  (i64.store offset=32 (local.get $session) (local.get $expires_at))
  (call $put (i32.add (local.get $session) (i32.const 40)) (local.get $access_token))
  (call $put (i32.add (local.get $session) (i32.const 48)) (local.get $refresh_token))
  (local.get $session))

;; To verify-session: this is the session.
(func $somebody (param $session i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 72)))                 ;; ok(
  (i32.store8 offset=8 (local.get $out) (i32.const 1))         ;; some(
  (memory.copy (i32.add (local.get $out) (i32.const 16)) (local.get $session) (i32.const 56))
  (local.get $out))

;; To verify-session: something that is needed is out of reach. It looks like the first case below.
(func $session_unavailable (param $why i32) (result i32) (call $no_session (i32.const 0) (local.get $why)))

;; To a sign-in or a refresh: this is the session.
(func $signed_in (param $session i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 64)))                 ;; ok(
  (memory.copy (i32.add (local.get $out) (i32.const 8)) (local.get $session) (i32.const 56))
  (local.get $out))

;; To a sign-in or a refresh: wrong password, wrong code (only here does the host hear why) or expired.
(func $turned_away (param $why i32) (result i32) (call $no_session (i32.const 0) (local.get $why)))

;; To a sign-in or a refresh: something that is needed is out of reach.
(func $sign_in_unavailable (param $why i32) (result i32) (call $no_session (i32.const 1) (local.get $why)))

(func $no_session (param $case i32) (param $why i32) (result i32)
  (local $out i32)
  (local.set $out (call $room (i32.const 72)))
  (i32.store8 (local.get $out) (i32.const 1))                  ;; err(
  (i32.store8 offset=8 (local.get $out) (local.get $case))
  (call $put (i32.add (local.get $out) (i32.const 12)) (local.get $why))
  (local.get $out))

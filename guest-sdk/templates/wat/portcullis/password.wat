;; What the host calls to sign people in by a password. Nothing here needs to be edited.

;; result<session, password-error>: $signed_in, $turned_away or $sign_in_unavailable
(func (export "portcullis:auth/password@0.1.0#complete-password-login") (param i32 i32 i32 i32) (result i32)
  (call $complete_password_login (call $text (local.get 0) (local.get 1)) (call $text (local.get 2) (local.get 3))))

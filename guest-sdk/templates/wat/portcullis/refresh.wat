;; What the host calls for sessions that outlive their access token. Nothing here needs to be edited.

;; result<session, refresh-error>: $signed_in, $turned_away or $sign_in_unavailable
(func (export "portcullis:auth/refresh@0.1.0#refresh-session") (param i32 i32) (result i32)
  (call $refresh_session (call $text (local.get 0) (local.get 1))))

(func (export "portcullis:auth/refresh@0.1.0#revoke-session") (param i32 i32)
  (call $revoke_session (call $text (local.get 0) (local.get 1))))

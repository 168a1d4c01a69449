;; example: an auth provider for Portcullis. A table of tokens in its settings, and a service that knows who has left.
;; What is handed around is the address of a text, and 0 is "none". What there is to work with is in portcullis/*.wat,
;; and the line USES names those files that are taken into the component; text.wat says what a text is.

;; USES: text settings bucket http exports

;; The phrases of this file: each has a number, from 0, ends with \00 and is had as a text by its name.
(data (i32.const 0x1000)
  (; 0 ;) "tokens\00"
  (; 1 ;) "lookup\00"
  (; 2 ;) "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`\00"
  (; 3 ;) "`tokens`, line \00"
  (; 4 ;) ": it needs a token and a principal\00"
  (; 5 ;) "revoked:\00"
  (; 6 ;) "1\00"
  (; 7 ;) "the bucket: \00"
  (; 8 ;) "the look-up: \00"
  (; 9 ;) "the look-up answered \00"
  (; 10 ;) "#\00")
(func $TOKENS (result i32) (call $phrase (i32.const 0)))
(func $LOOKUP (result i32) (call $phrase (i32.const 1)))
(func $TOKENS_IS_MISSING (result i32) (call $phrase (i32.const 2)))
(func $TOKENS_LINE (result i32) (call $phrase (i32.const 3)))
(func $IT_NEEDS (result i32) (call $phrase (i32.const 4)))
(func $REVOKED (result i32) (call $phrase (i32.const 5)))
(func $ONE (result i32) (call $phrase (i32.const 6)))
(func $THE_BUCKET (result i32) (call $phrase (i32.const 7)))
(func $THE_LOOK_UP (result i32) (call $phrase (i32.const 8)))
(func $ANSWERED (result i32) (call $phrase (i32.const 9)))
(func $COMMENT (result i32) (call $phrase (i32.const 10)))

;; Asked once, when the provider is loaded: one sentence for the operator, if something must be mended; else none.
(func $check (result i32)
  (local $rest i32) (local $line i32) (local $number i32)
  (local.set $rest (call $setting (call $TOKENS)))
  (if (i32.eqz (local.get $rest)) (then (return (call $TOKENS_IS_MISSING))))
  (loop $lines
    (call $cut (local.get $rest) (i32.const 0x0a))   ;; two results: the last is taken off first
    (local.set $rest)
    (local.set $line)
    (local.set $number (i32.add (local.get $number) (i32.const 1)))
    ;; The line itself is not shown: it holds a secret.
    (if (i32.eq (call $length (call $fields_of (local.get $line))) (i32.const 1))
      (then (return (call $join (call $TOKENS_LINE) (call $join (call $decimal (local.get $number)) (call $IT_NEEDS))))))
    (br_if $lines (local.get $rest)))
  (i32.const 0))

;; 0: it is never handed a token.
(func $supports_token (result i32) (i32.const 1))

;; Whose token is this? $nobody: not one of ours, and the next provider is asked.
(func $verify_token (param $token i32) (result i32)
  (local $caller i32) (local $principal i32) (local $key i32) (local $lookup i32)
  (local $found i32) (local $response i32) (local $error i32)
  (local.set $caller (call $find (local.get $token)))
  (if (i32.eqz (local.get $caller)) (then (return (call $nobody))))
  (local.set $principal (call $item (local.get $caller) (i32.const 1)))

  (local.set $key (call $join (call $REVOKED) (local.get $principal)))
  (call $bucket_get (local.get $key))
  (local.set $error)
  (local.set $found)
  (if (local.get $error) (then (return (call $unavailable (call $join (call $THE_BUCKET) (local.get $error))))))
  (if (local.get $found) (then (return (call $nobody))))

  (local.set $lookup (call $setting (call $LOOKUP)))
  (if (i32.eqz (local.get $lookup)) (then (return (call $recognized_line (local.get $caller)))))

  (call $http_get (call $join (local.get $lookup) (local.get $principal)))
  (local.set $error)
  (local.set $response)
  (if (local.get $error) (then (return (call $unavailable (call $join (call $THE_LOOK_UP) (local.get $error))))))
  (if (i32.eq (call $status (local.get $response)) (i32.const 200))
    (then (return (call $recognized_line (local.get $caller)))))
  (if (i32.ne (call $status (local.get $response)) (i32.const 410))
    (then (return (call $unavailable (call $join (call $ANSWERED) (call $decimal (call $status (local.get $response))))))))

  (local.set $error (call $bucket_set (local.get $key) (call $ONE)))
  (if (local.get $error) (then (return (call $unavailable (call $join (call $THE_BUCKET) (local.get $error))))))
  (call $nobody))

;; Whose session is this? Nobody signs in here.
(func $verify_session (param $access_token i32) (result i32) (call $nobody))

;; The fields of the line with this token, or none. Looks at every line, found or not: the time must not tell where.
(func $find (param $token i32) (result i32)
  (local $rest i32) (local $line i32) (local $fields i32) (local $found i32)
  (local.set $rest (call $setting (call $TOKENS)))
  (loop $lines
    (call $cut (local.get $rest) (i32.const 0x0a))
    (local.set $rest)
    (local.set $line)
    (local.set $fields (call $fields_of (local.get $line)))
    (if (i32.ge_u (call $length (local.get $fields)) (i32.const 2))
      (then
        (if (call $same (call $item (local.get $fields) (i32.const 0)) (local.get $token))
          (then (local.set $found (local.get $fields))))))
    (br_if $lines (local.get $rest)))
  (local.get $found))

;; `TOKEN PRINCIPAL [SCOPE ...]` as a list; empty for a blank line and for a comment.
(func $fields_of (param $line i32) (result i32)
  (if (result i32) (call $starts_with (local.get $line) (call $COMMENT))
    (then (call $text (i32.const 0) (i32.const 0)))
    (else (call $words (local.get $line)))))

(func $recognized_line (param $fields i32) (result i32)
  (call $recognized (call $item (local.get $fields) (i32.const 1)) (call $list_from (local.get $fields) (i32.const 2))))

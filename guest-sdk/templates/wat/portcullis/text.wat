;; Memory, texts and lists. Nothing here needs to be edited.
;;
;; A TEXT is the address of 8 bytes: where its bytes (UTF-8) lie, and how many there are. A LIST of texts is the same:
;; where its texts lie, 8 bytes after 8 bytes, and how many there are. So does the canonical ABI want strings and lists
;; within a record, and nothing has to be converted. Address 0 is "none"; it can be read, and is empty.
;;
;; Every call runs in a fresh instance: memory is zero at first, and nothing is ever freed.
;; Below 0x1000 lie the constants of these files, below 0x8000 those of provider.wat, and above it all the rest.

(memory (export "memory") 1)
(global $free (mut i32) (i32.const 0x8000))

;; So many fresh bytes, all zero: in a result that means "ok", in an option "none", in a variant the first case.
(func $room (param $size i32) (result i32)
  (call $cabi_realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $size)))

;; The host asks here for the room for what it hands over. All is aligned to 8, and nothing needs more.
(func $cabi_realloc (export "cabi_realloc")
  (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $new i32)
  (local.set $new (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
  (global.set $free (i32.add (local.get $new) (local.get $size)))
  (if (i32.gt_u (global.get $free) (i32.shl (memory.size) (i32.const 16)))
    (then
      (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
        (then (unreachable)))))
  (if (local.get $old_size) (then (memory.copy (local.get $new) (local.get $old) (local.get $old_size))))
  (local.get $new))

;; A text (or a list) of what lies there.
(func $text (param $at i32) (param $length i32) (result i32)
  (local $text i32)
  (local.set $text (call $room (i32.const 8)))
  (i32.store (local.get $text) (local.get $at))
  (i32.store offset=4 (local.get $text) (local.get $length))
  (local.get $text))

(func $at (param $text i32) (result i32) (i32.load (local.get $text)))
(func $length (param $text i32) (result i32) (i32.load offset=4 (local.get $text)))

;; Writes a text (or a list) into a record.
(func $put (param $where i32) (param $text i32) (i64.store (local.get $where) (i64.load (local.get $text))))

;; The n-th of the phrases at $base, from 0; each ends with \00.
(func $phrase_at (param $base i32) (param $n i32) (result i32)
  (local $length i32)
  (loop $scan
    (if (i32.load8_u (i32.add (local.get $base) (local.get $length)))
      (then (local.set $length (i32.add (local.get $length) (i32.const 1))) (br $scan)))
    (if (local.get $n)
      (then
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $base (i32.add (i32.add (local.get $base) (local.get $length)) (i32.const 1)))
        (local.set $length (i32.const 0))
        (br $scan))))
  (call $text (local.get $base) (local.get $length)))

;; The n-th of the phrases of provider.wat.
(func $phrase (param $n i32) (result i32) (call $phrase_at (i32.const 0x1000) (local.get $n)))

;; Whether two texts are the same, in a time that depends on their length alone.
(func $same (param $a i32) (param $b i32) (result i32)
  (local $i i32) (local $difference i32)
  (if (i32.ne (call $length (local.get $a)) (call $length (local.get $b))) (then (return (i32.const 0))))
  (loop $scan
    (if (i32.lt_u (local.get $i) (call $length (local.get $a)))
      (then
        (local.set $difference (i32.or (local.get $difference) (i32.xor
          (i32.load8_u (i32.add (call $at (local.get $a)) (local.get $i)))
          (i32.load8_u (i32.add (call $at (local.get $b)) (local.get $i))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $scan))))
  (i32.eqz (local.get $difference)))

(func $starts_with (param $text i32) (param $start i32) (result i32)
  (if (result i32) (i32.lt_u (call $length (local.get $text)) (call $length (local.get $start)))
    (then (i32.const 0))
    (else (call $same (call $text (call $at (local.get $text)) (call $length (local.get $start))) (local.get $start)))))

(func $join (param $a i32) (param $b i32) (result i32)
  (local $bytes i32)
  (local.set $bytes (call $room (i32.add (call $length (local.get $a)) (call $length (local.get $b)))))
  (memory.copy (local.get $bytes) (call $at (local.get $a)) (call $length (local.get $a)))
  (memory.copy
    (i32.add (local.get $bytes) (call $length (local.get $a))) (call $at (local.get $b)) (call $length (local.get $b)))
  (call $text (local.get $bytes) (i32.add (call $length (local.get $a)) (call $length (local.get $b)))))

;; A number as a text.
(func $decimal (param $n i32) (result i32)
  (local $digit i32)
  (local.set $digit (call $room (i32.const 1)))
  (i32.store8 (local.get $digit) (i32.add (i32.const 0x30) (i32.rem_u (local.get $n) (i32.const 10))))
  (local.set $digit (call $text (local.get $digit) (i32.const 1)))
  (if (result i32) (i32.lt_u (local.get $n) (i32.const 10))
    (then (local.get $digit))
    (else (call $join (call $decimal (i32.div_u (local.get $n) (i32.const 10))) (local.get $digit)))))

;; A text without its first $n bytes.
(func $text_from (param $text i32) (param $n i32) (result i32)
  (call $text (i32.add (call $at (local.get $text)) (local.get $n)) (i32.sub (call $length (local.get $text)) (local.get $n))))

;; Where $byte first comes in a text; its length if it does not.
(func $find_byte (param $text i32) (param $byte i32) (result i32)
  (local $i i32)
  (loop $scan
    (if (i32.lt_u (local.get $i) (call $length (local.get $text)))
      (then
        (if (i32.ne (i32.load8_u (i32.add (call $at (local.get $text)) (local.get $i))) (local.get $byte))
          (then (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $scan))))))
  (local.get $i))

;; A text cut at the first $byte: what is before it, and what is behind it (none if it does not come).
(func $cut (param $text i32) (param $byte i32) (result i32 i32)
  (local $i i32)
  (local.set $i (call $find_byte (local.get $text) (local.get $byte)))
  (call $text (call $at (local.get $text)) (local.get $i))
  (if (result i32) (i32.eq (local.get $i) (call $length (local.get $text)))
    (then (i32.const 0))
    (else (call $text_from (local.get $text) (i32.add (local.get $i) (i32.const 1))))))

;; The list of the words of a text: what stands between spaces.
(func $words (param $text i32) (result i32)
  (local $list i32) (local $word i32)
  (local.set $list (call $text (call $room (i32.shl (call $length (local.get $text)) (i32.const 3))) (i32.const 0)))
  (loop $scan
    (call $cut (local.get $text) (i32.const 0x20))
    (local.set $text)
    (local.set $word)
    (if (call $length (local.get $word))
      (then
        (call $put (call $item (local.get $list) (call $length (local.get $list))) (local.get $word))
        (i32.store offset=4 (local.get $list) (i32.add (call $length (local.get $list)) (i32.const 1)))))
    (br_if $scan (local.get $text)))
  (local.get $list))

;; The n-th item of a list, from 0.
(func $item (param $list i32) (param $n i32) (result i32)
  (i32.add (call $at (local.get $list)) (i32.shl (local.get $n) (i32.const 3))))

;; A list without its first $n items.
(func $list_from (param $list i32) (param $n i32) (result i32)
  (call $text (call $item (local.get $list) (local.get $n)) (i32.sub (call $length (local.get $list)) (local.get $n))))

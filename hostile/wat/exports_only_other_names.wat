;; Exports three thousand functions and nothing of the contract, so that the refusal lists them all.
(component
  (core module $main-module (func (export "f")))
  (core instance $main (instantiate $main-module))
  (func $f (canon lift (core func $main "f")))
  ;;repeat 3000: (export "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy{i}" (func $f))
)

;; Imports something that no host has.
(component
  (import "evil:secrets/read@1.0.0" (instance (export "all" (func (result string)))))
  (instance $empty)
  (export "portcullis:auth/provider@0.1.0" (instance $empty)))

;; Exports the contract of a version that never was.
(component
  (instance $empty)
  (export "portcullis:auth/provider@9.0.0" (instance $empty)))

;; Exports an interface of the right name with nothing in it.
(component
  (instance $empty)
  (export "portcullis:auth/provider@0.1.0" (instance $empty)))

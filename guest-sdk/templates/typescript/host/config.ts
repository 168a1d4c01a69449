/** One of the provider's settings (`config:` in portcullis.yaml), or `undefined`. */
export { get as setting } from "wasi:config/store@0.2.0-rc.1";

// What wit/ says of these, in TypeScript.
declare module "wasi:config/store@0.2.0-rc.1" {
  export function get(key: string): string | undefined;
}

declare module "wasi:keyvalue/store@0.2.0-draft" {
  export interface Bucket {
    get(key: string): Uint8Array | undefined;
    set(key: string, value: Uint8Array): void;
  }
  export function open(name: string): Bucket;
}

// node build.mjs OUTPUT: provider.ts becomes a core module, and that, with wit/, a component.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { componentEmbed, componentNew } from "@bytecodealliance/jco-transpile/wasm-tools";
import { _setPreopens } from "@bytecodealliance/preview2-shim/filesystem";
import asc from "assemblyscript/asc";
import Transform from "./portcullis/transform.mjs";

const core = "build/core.wasm";
const options = [
  "portcullis/exports.ts", "--outFile", core, "--optimizeLevel", "2", "--shrinkLevel", "2",
  "--runtime", "stub", // which never frees: every call has an instance to itself
  "--use", "abort=portcullis/index/abort", // where a thrown Error ends
  "--debug", // keeps the names of functions, for the traces of the tests
];
mkdirSync("build", { recursive: true });
const { error, stderr } = await asc.main(options, { transforms: [Transform] });
process.stderr.write(stderr.toString());
if (error) process.exit(1);

_setPreopens({ "/wit": "wit" }); // all that `componentEmbed` may read
try {
  const world = { witPath: "/wit", world: "component", stringEncoding: "utf16" };
  const binary = await componentEmbed({ binary: readFileSync(core), ...world });
  writeFileSync(process.argv[2], await componentNew(binary));
} catch (error) {
  console.error(error.message);
  if (error.message.includes("`env::")) console.error("No console, Date or Math.random here: see `log` and `now` of portcullis/index.ts.");
  process.exit(1);
}

#!/usr/bin/env python3
"""Prints the bill of materials of the binary: a CycloneDX 1.5 document of every crate that is compiled into it, those of the
bundled components and of the hostile providers included.

    deploy/sbom.py > portcullis.cdx.json

It is made from `cargo metadata` and Cargo.lock, and needs no more than cargo and Python 3.11. The same lock file gives the
same document.
"""
import json
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the binary is made of: itself, and the components inside it.
PARTS = ("runtime", "providers/", "hostile")
# What lies beside it there: the examples, and the crate for embedders.
NO_PARTS = ("providers/examples", "runtime/tower")
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def output(*arguments):
    return subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def metadata():
    host = re.search(r"^host: (.*)$", output("rustc", "--version", "--verbose"), re.MULTILINE)[1]
    return json.loads(output("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host,
                             "--filter-platform", "wasm32-wasip2"))


def compiled_in(found):
    """The ids of the packages, and of each the ids of those that it uses. Neither build nor test dependencies are followed."""
    uses = {node["id"]: [dependency["pkg"] for dependency in node["deps"]
                         if any(kind["kind"] is None for kind in dependency["dep_kinds"])] for node in found["resolve"]["nodes"]}
    folder = {package["id"]: str(Path(package["manifest_path"]).parent.relative_to(ROOT)) for package in found["packages"]
              if package["id"] in found["workspace_members"]}
    waiting = [package for package, path in folder.items()
               if path.startswith(PARTS) and not path.startswith(NO_PARTS)]
    reached = set()
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting.extend(uses[package])
    return {package: sorted(set(uses[package])) for package in reached}


def component(package, checksums):
    name, version = package["name"], package["version"]
    described = {"type": "library", "bom-ref": reference(package), "name": name, "version": version,
                 "purl": f"pkg:cargo/{name}@{version}"}
    if package["license"]:  # crates published before SPDX expressions write `/` for OR
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ").replace("  ", " ")}]
    if checksum := checksums.get((name, version)):
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def reference(package):
    return f"{package['name']}@{package['version']}"


def main():
    found = metadata()
    uses = compiled_in(found)
    packages = {package["id"]: package for package in found["packages"] if package["id"] in uses}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(entry["name"], entry["version"]): entry["checksum"] for entry in locked if entry.get("source") == REGISTRY}
    [program] = [package for package in packages.values() if package["name"] == "portcullis"]
    others = sorted((package for package in packages.values() if package is not program), key=reference)
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {**component(program, checksums), "type": "application"}},
        "components": [component(package, checksums) for package in others],
        "dependencies": sorted(({"ref": reference(packages[package]), "dependsOn": sorted({reference(packages[used]) for used in used_ones})}
                                for package, used_ones in uses.items()), key=lambda entry: entry["ref"]),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Builds the Debian package with dpkg-deb, from a binary and from `[package.metadata.deb]` of its Cargo.toml.

    cargo build --release --locked --package portcullis
    deploy/debian/build.py --binary target/release/portcullis --to target/debian

`cargo deb` reads the same metadata; this needs no more than Python 3.11 and dpkg. The man pages and completions are written
by the binary itself, into target/package, where the metadata names them. With SOURCE_DATE_EPOCH the same binary gives the
same package.
"""
import argparse
import glob
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CRATE = ROOT / "runtime/cli"
# The asset that `--binary` takes the place of.
BINARY = "target/release/portcullis"
GENERATED = ROOT / "target/package"
COMPLETIONS = {"bash": "portcullis", "zsh": "_portcullis", "fish": "portcullis.fish"}


def run(*arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], check=True, **options)


def generate(binary):
    """Man pages and completions, as the binary prints them."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    (GENERATED / "man").mkdir(parents=True)
    run(binary, "man", GENERATED / "man", stdout=subprocess.DEVNULL)
    for shell, name in COMPLETIONS.items():
        (GENERATED / name).write_bytes(run(binary, "completions", shell, stdout=subprocess.PIPE).stdout)


def copy_assets(assets, binary, tree):
    for source, target, mode in assets:
        found = [binary] if source == BINARY else sorted(glob.glob(str(CRATE / source)))
        if not found:
            raise SystemExit(f"{source}: there is no such file")
        for path in map(Path, found):
            into = tree / target
            into = into / path.name if target.endswith("/") else into
            into.parent.mkdir(parents=True, exist_ok=True)
            if into.parent.name.startswith("man"):  # Debian Policy, section 12.1
                into = into.with_name(into.name + ".gz")
                into.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
            else:
                shutil.copyfile(path, into)
            into.chmod(int(mode, 8))


def write_copyright(metadata, licence, tree):
    text = (f"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: portcullis\n\n"
            f"Files: *\nCopyright: {metadata['copyright']}\nLicense: {licence}\n"
            " The full text is in /usr/share/common-licenses/Apache-2.0.\n")
    path = tree / "usr/share/doc/portcullis/copyright"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)


def libraries(binary):
    """The packages whose libraries the binary needs, as dpkg-shlibdeps finds them; else the C library without a version."""
    if not shutil.which("dpkg-shlibdeps"):
        print("dpkg-shlibdeps is not installed (dpkg-dev): the package depends on libc6 of any version", file=sys.stderr)
        return "libc6, libgcc-s1"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "debian").mkdir()
        (Path(folder) / "debian/control").write_text("Source: portcullis\n\nPackage: portcullis\nArchitecture: any\n")
        said = run("dpkg-shlibdeps", "-O", binary, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return re.search(r"^shlibs:Depends=(.*)$", said.stdout, re.MULTILINE)[1]


def write_control(package, metadata, version, binary, tree):
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    control = tree / "DEBIAN"
    control.mkdir(mode=0o755)
    architecture = run("dpkg", "--print-architecture", stdout=subprocess.PIPE, text=True).stdout.strip()
    description = textwrap.indent(metadata["extended-description"].strip(), " ")
    fields = {
        "Package": package["name"], "Version": version, "Architecture": architecture,
        "Maintainer": metadata["maintainer"], "Installed-Size": str(size // 1024 + 1),
        "Depends": metadata["depends"].replace("$auto", libraries(binary)), "Recommends": metadata["recommends"],
        "Section": metadata["section"], "Priority": metadata["priority"],
        "Description": f"{package['description']}\n{description}",
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files)
    (control / "md5sums").write_text("".join(sums))
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(CRATE / metadata["maintainer-scripts"] / script, control / script)
        (control / script).chmod(0o755)
    for name in ("control", "md5sums"):
        (control / name).chmod(0o644)
    return f"{package['name']}_{version}_{architecture}.deb"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / BINARY, help="the program to pack")
    parser.add_argument("--to", type=Path, default=ROOT / "target/debian", help="the folder of the package")
    parser.add_argument("--compression", default="xz", choices=["xz", "gzip", "none"], help="of the package")
    options = parser.parse_args()

    os.umask(0o022)
    package = tomllib.loads((CRATE / "Cargo.toml").read_text())["package"]
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    metadata = package["metadata"]["deb"]
    binary = options.binary.resolve(strict=True)
    generate(binary)
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir(mode=0o755)
        copy_assets(metadata["assets"], binary, tree)
        write_copyright(metadata, workspace["license"], tree)
        name = write_control(package, metadata, workspace["version"] + "-1", binary, tree)
        run("dpkg-deb", "--root-owner-group", f"-Z{options.compression}", "--build", tree, options.to / name,
            stdout=subprocess.DEVNULL)
    print(options.to / name)


if __name__ == "__main__":
    main()

"""The Debian package: what is in it, and how it installs, upgrades and goes, in a copy of this machine that is thrown away.

    python3 -m unittest -v tests/interop/test_package.py

The copy is an overlay in a mount namespace, so it needs root and dpkg. Without them the tests say SKIPPED.
"""
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness import BINARY, ROOT, Process, eventually, skip

UNITS = ("portcullis-dashboard.service", "portcullis-gateway.service", "portcullis.target")
HOME = "/var/lib/portcullis"
# What `systemd-analyze security` may say at most, in tenths: 10.0 is a unit without any restriction.
MOST_EXPOSED = {"portcullis-dashboard.service": 20, "portcullis-gateway.service": 40}


def call(*arguments, **options):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def needed(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        skip(f"the Debian package was not tried: {', '.join(missing)} is not installed")


def build():
    """The package, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="portcullis-package-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    binary = BINARY
    if shutil.which("strip"):  # a binary with line tables is twice as large
        binary = folder / "portcullis"
        call("strip", "--strip-debug", "-o", binary, BINARY)
    printed = call(sys.executable, ROOT / "deploy/debian/build.py", "--binary", binary, "--to", folder, "--compression", "none")
    return Path(printed.strip())


class Copy:
    """This machine with changes that are kept in memory, in a mount namespace of its own."""

    def __init__(self):
        if os.geteuid() != 0:
            skip("the Debian package was not installed: that needs root")
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-copy-"))
        self.root = self.folder / "root"
        setup = (f"set -e; mount -t tmpfs tmpfs {self.folder}; mkdir {self.folder}/up {self.folder}/work {self.root}; "
                 f"mount -t overlay overlay -o lowerdir=/,upperdir={self.folder}/up,workdir={self.folder}/work {self.root}; "
                 f"mount -t proc proc {self.root}/proc; mount --rbind /dev {self.root}/dev; echo mounted; exec sleep 3600")
        self.log = Path(tempfile.mkstemp(prefix="portcullis-copy-log-")[1])
        self.process = Process(["unshare", "--mount", "--propagation", "private", "sh", "-c", setup],
                               {"PATH": os.environ["PATH"]}, self.log)
        eventually("the copy is mounted, or cannot be", lambda: "mounted" in self.process.said() or not self.process.alive())
        if not self.process.alive():
            why = self.process.said()[-300:]
            self.close()
            skip(f"the Debian package was not installed: no overlay of this machine: {why}")

    def enter(self):
        return ["nsenter", f"--mount=/proc/{self.process.child.pid}/ns/mnt"]

    def run(self, *arguments):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8"}
        return call(*self.enter(), "chroot", self.root, *arguments, env=environment)

    def succeeds(self, *arguments):
        return subprocess.run([*self.enter(), "chroot", str(self.root), *arguments], capture_output=True).returncode == 0

    def put(self, path, into):
        call(*self.enter(), "cp", path, f"{self.root}{into}")

    def close(self):
        self.process.end()
        self.log.unlink(missing_ok=True)
        self.folder.rmdir()


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")
    needed("dpkg", "dpkg-deb")
    global PACKAGE
    PACKAGE = build()


class Contents(unittest.TestCase):
    def test_everything_is_where_debian_has_it(self):
        listed = {}
        for line in call("dpkg-deb", "--contents", PACKAGE).splitlines():
            mode, owner, _, _, _, path = line.split(maxsplit=5)
            self.assertEqual(owner, "root/root", path)
            listed[path.removeprefix(".")] = mode
        self.assertEqual(listed["/usr/bin/portcullis"], "-rwxr-xr-x")
        for path in [*(f"/usr/lib/systemd/system/{unit}" for unit in UNITS), "/usr/share/man/man1/portcullis.1.gz",
                     "/usr/share/man/man1/portcullis-serve.1.gz", "/usr/share/bash-completion/completions/portcullis",
                     "/usr/share/zsh/vendor-completions/_portcullis", "/usr/share/fish/vendor_completions.d/portcullis.fish",
                     "/usr/share/doc/portcullis/copyright"]:
            self.assertEqual(listed.get(path), "-rw-r--r--", path)
        self.assertTrue(all(path.startswith("/usr/") or path in ("/", "/usr/") for path in listed), listed)
        field = lambda name: call("dpkg-deb", "--field", PACKAGE, name).strip()
        self.assertRegex(field("Version"), re.escape(call(BINARY, "--version").split()[1]))
        self.assertRegex(field("Depends"), r"libc6.*adduser")

    def test_units_restrict_what_they_can(self):
        needed("systemd-analyze")
        for unit, most in MOST_EXPOSED.items():
            call("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={most}",
                 ROOT / "deploy/systemd" / unit)


class BillOfMaterials(unittest.TestCase):
    def test_it_has_what_is_compiled_in_and_nothing_else(self):
        needed("cargo", "rustc")
        document = json.loads(call(ROOT / "deploy/sbom.py"))
        components = {component["name"]: component for component in document["components"]}
        pinned = re.search(r'^wasmtime = \{ version = "=([0-9.]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertEqual(components["wasmtime"]["purl"], f"pkg:cargo/wasmtime@{pinned}")
        self.assertIn("jsonwebtoken", components, "a crate of a bundled component")
        self.assertEqual({"criterion", "proptest", "portcullis-tests", "xtask"} & components.keys(), set())
        bare = {name for name, component in components.items() if "hashes" not in component}
        own = {line.split('"')[1] for path in ROOT.glob("*/**/Cargo.toml") if "target" not in path.parts
               for line in path.read_text().splitlines() if line.startswith("name = ")}
        self.assertEqual(bare - own, set(), "crates of others have digests")
        self.assertTrue(all(component["licenses"] for component in components.values()))


class Installation(unittest.TestCase):
    """One life of the package, in the order of the tests' names."""

    @classmethod
    def setUpClass(cls):
        needed("adduser", "unshare", "nsenter", "chroot", "setpriv")
        cls.copy = Copy()
        cls.addClassCleanup(cls.copy.close)
        cls.copy.put(PACKAGE, "/portcullis.deb")
        # The machine itself may have the package.
        cls.copy.run("sh", "-c", f"(dpkg --purge portcullis; deluser --system portcullis; rm -rf {HOME}) >/dev/null 2>&1; true")

    def as_user(self, *arguments):
        return self.copy.run("setpriv", "--reuid=portcullis", "--regid=portcullis", "--clear-groups", *arguments)

    def stat(self, path, what):
        return self.copy.run("stat", "-c", what, path).strip()

    def test_1_installing_makes_the_user_and_the_home_and_enables_nothing(self):
        self.assertFalse(self.copy.succeeds("id", "portcullis"))
        self.copy.run("dpkg", "--install", "/portcullis.deb")
        self.assertEqual(self.stat(HOME, "%U %G %a"), "portcullis portcullis 700")
        self.assertRegex(self.copy.run("getent", "passwd", "portcullis"), rf":{HOME}:/usr/sbin/nologin$")
        self.assertTrue(self.copy.run("portcullis", "--version").startswith("portcullis "))
        wanted = self.copy.run("find", "/etc/systemd", "-name", "portcullis*")
        self.assertEqual(wanted, "", "a unit is enabled")
        if shutil.which("systemd-analyze"):
            self.copy.run("systemd-analyze", "verify", *(f"/usr/lib/systemd/system/{unit}" for unit in UNITS))

    def test_2_the_user_of_the_service_can_work_in_the_home(self):
        self.as_user("sh", "-c", f"umask 077; printf 'dashboard: {{port: 0}}\\n' > {HOME}/portcullis.yaml; echo kept > {HOME}/kept")
        found = json.loads(self.as_user("portcullis", "--home", HOME, "doctor", "--json"))
        self.assertTrue(found["ok"], found)
        self.assertEqual({finding["check"] for finding in found["findings"] if finding["severity"] == "error"}, set())

    def test_3_an_upgrade_keeps_the_home_and_its_owner(self):
        self.copy.run("chmod", "750", HOME)
        self.copy.run("dpkg", "--install", "/portcullis.deb")
        self.assertEqual(self.stat(HOME, "%U %a"), "portcullis 750", "a mode of the operator's own stays")
        self.assertEqual(self.copy.run("cat", f"{HOME}/kept"), "kept\n")

    def test_4_removing_takes_the_program_and_leaves_the_home(self):
        self.copy.run("dpkg", "--remove", "portcullis")
        self.assertFalse(self.copy.succeeds("test", "-e", "/usr/bin/portcullis"))
        self.assertFalse(self.copy.succeeds("test", "-e", "/usr/lib/systemd/system/portcullis.target"))
        self.assertEqual(self.copy.run("cat", f"{HOME}/kept"), "kept\n")

    def test_5_purging_takes_the_home_as_well(self):
        self.copy.run("dpkg", "--purge", "portcullis")
        self.assertFalse(self.copy.succeeds("test", "-e", HOME))
        self.assertNotIn("portcullis", self.copy.run("dpkg-query", "--show"))


if __name__ == "__main__":
    unittest.main()

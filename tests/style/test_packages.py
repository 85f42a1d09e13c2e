#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is here by chance: each program that a Python script or test starts belongs to a package that
scripts/setup names, or is on every Debian; each module is Python's own or ours.

A new program gets a line in PROGRAMS, and its package one in scripts/setup.
"""
import ast
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("scripts", "tests", "sim", "hw")
# On every Debian, or with an essential package.
EVERYWHERE = {"sh", "bash"}
PROGRAMS = {
    "addr2line": "binutils", "cc": "gcc", "curl": "curl", "dpdk-testpmd": "dpdk-dev", "e2fsck": "e2fsprogs",
    "ethtool": "ethtool", "gcc": "gcc", "git": "git", "ip": "iproute2", "losetup": "mount", "meson": "meson",
    "mkfs.ext4": "e2fsprogs", "mount": "mount", "ninja": "ninja-build", "node": "nodejs", "npm": "npm", "objdump": "binutils",
    "pgrep": "procps", "ping": "iputils-ping", "pkg-config": "pkg-config", "psql": "postgresql",
    "redis-benchmark": "redis-tools", "redis-check-rdb": "redis-tools", "redis-cli": "redis-tools",
    "redis-server": "redis-tools", "setpriv": "util-linux", "spin": "spin", "sysctl": "procps",
    "taskset": "util-linux", "nginx": "nginx-light", "openssl": "openssl", "unshare": "util-linux", "tcpreplay": "tcpreplay", "tshark": "tshark", "umount": "mount", "wrk": "wrk", "zbarimg": "zbar-tools",
}
# Of Debian's Python; whoever imports one does without where it is not there.
PYTHON = {"aiosmtpd": "python3-aiosmtpd", "jwt": "python3-jwt"}
# Functions that start the program that their first argument names.
STARTS = {"run", "Popen", "check_output", "check_call", "call", "must", "need", "which", "sh", "has"}


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in (".py", "") and "__pycache__" not in path.parts:
                text = path.read_text(encoding="utf-8", errors="replace")
                if path.suffix == ".py" or text.startswith("#!/usr/bin/env python3"):
                    yield path, ast.parse(text)


def first_word(node):
    """ret: the text that a call's first argument begins with, or None."""
    if isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, (ast.List, ast.Tuple)):
        node = node.elts[0] if node.elts else None
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return None
    return (node.value.split() or [""])[0]


def is_program(word):
    return word and "/" not in word and not word.isupper() and word.islower()


def programs(tree):
    """ret: {program: line} that the source starts, and those of PROGRAMS at the head of a list."""
    found = {}
    for node in ast.walk(tree):
        word = None
        if isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in STARTS:
                word = first_word(node.args[0])
                # A name alone starts a program only in a list, or where it is looked for.
                if isinstance(called, ast.Attribute) and name in ("run", "call") and \
                        not isinstance(node.args[0], (ast.List, ast.Tuple, ast.BinOp)):
                    word = None
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and \
                node.targets[0].id == "command" and isinstance(node.value, ast.List):
            word = first_word(node.value)
        elif isinstance(node, ast.List) and first_word(node) in PROGRAMS:
            word = first_word(node)
        if is_program(word):
            found.setdefault(word, node.lineno)
    return found


def modules(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], node.lineno


def check(files, packages):
    """ret: (what is wrong, programs seen)."""
    ours = {path.stem for path, _ in files} | {"wiregen"}
    wrong, seen = [], set()
    for path, tree in files:
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for word, line in programs(tree).items():
            seen.add(word)
            if word in EVERYWHERE:
                continue
            if word not in PROGRAMS:
                wrong.append(f"{where}:{line}: starts {word}: of which package? See PROGRAMS")
            elif PROGRAMS[word] not in packages:
                wrong.append(f"{where}:{line}: starts {word}, but scripts/setup lacks {PROGRAMS[word]}")
        for name, line in modules(tree):
            if PYTHON.get(name) in packages:
                continue
            if name not in sys.stdlib_module_names and name not in ours:
                wrong.append(f"{where}:{line}: imports {name}, which is neither Python's nor ours")
    return wrong, seen


def main():
    packages = set(subprocess.run([ROOT / "scripts/setup", "--all", "--list"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.split())
    bad = ast.parse("import numpy\nsubprocess.run(['xxd', 'f'])\nshutil.which('tshark')\n")
    found = check([(pathlib.Path("example"), bad)], packages - {"tshark"})[0]
    results = [("bad examples are found", "" if len(found) == 3 else found)]
    wrong, seen = check(list(sources()), packages)
    results.append(("programs and modules come from packages of scripts/setup", "; ".join(wrong)))
    results.append(("the search finds what it should",
                    "" if {"ip", "tshark", "dpdk-testpmd", "spin", "git"} <= seen else seen))
    for at, (name, why) in enumerate(results, 1):
        print(f"{'not ok' if why else 'ok'} {at} - {name}")
        if why:
            print(f"# {why}")
    print(f"1..{len(results)}")
    return any(why for _, why in results)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is the tree written as docs/STYLE.md says?

usage: test_style.py [--list]

Prints TAP. Every rule is run three times: on its bad example, which it must catch, on its good
example, which it must not, and on the tree. The rules are data in rules.py.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rules  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOP = ("dataplane", "control", "tools", "tests", "scripts", "hw", "docs", "sim", "venues", ".ci")
HEAD = "/* %s */\n" % rules.SPDX

# ---- reading ----


def read_tree():
    """The tree as {path: text}, build folders and hidden files left out."""
    files = {}
    paths = [p for p in ROOT.iterdir() if p.is_file() and not p.name.startswith(".")]
    for top in TOP:
        if (ROOT / top).is_dir():
            paths += [p for p in (ROOT / top).rglob("*") if p.is_file()]
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if "__pycache__" in name or "/build" in name or path.suffix not in rules.TEXT_ENDINGS:
            continue
        try:
            files[name] = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return files


CODE_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)


def code_only(text):
    """Comments and the contents of literals blanked, lines kept."""
    def blank(match):
        kept = re.sub(r"[^\n]", " ", match.group())
        return kept if match.group()[0] == "/" else match.group()[0] + kept[1:-1] + kept[:1]
    # An include's name is no literal.
    out = []
    for line in CODE_TOKEN.sub(blank, text).split("\n"):
        out.append(line)
    return "\n".join(out)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def folder_of(path):
    return path.rsplit("/", 1)[0] if "/" in path else ""


def is_c(path):
    return path.endswith((".c", ".h"))


# ---- rules: each takes {path: text} and returns findings and the exceptions it used ----


def resolve(files, path, name):
    """The path that #include "name" in `path` means."""
    for base in (folder_of(path) + "/", "dataplane/", "control/", "", "tools/", "tests/"):
        whole = os.path.normpath(base + name)
        if whole in files:
            return whole
    return None


def may_include(path, target):
    if path.startswith(tuple(f + "/" for f in rules.INCLUDES_ANY)):
        return target not in rules.PRIVATE_HEADERS or path.startswith(rules.PRIVATE_HEADERS_FOR)
    module = folder_of(path)
    if target in rules.PRIVATE_HEADERS:
        return folder_of(target) == module
    short = re.sub(r"^(dataplane|control)/", "", target)
    allowed = rules.INCLUDES.get(module, ())
    return short in allowed or folder_of(short) in allowed


def check_arrows(files):
    found = []
    for path, text in files.items():
        if not is_c(path):
            continue
        for match in re.finditer(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
            target = resolve(files, path, match.group(1))
            where = "%s:%d" % (path, line_of(text, match.start(1)))
            if target is None:
                found.append("%s: no such header: %s" % (where, match.group(1)))
            elif not may_include(path, target):
                found.append("%s: %s may not include %s: stages meet in dataplane/loop only; see "
                             "INCLUDES in tests/style/rules.py" % (where, folder_of(path), target))
    return found, set()


def check_modules(files):
    known = tuple(rules.INCLUDES)
    return ["%s: folder %s has no row in INCLUDES of tests/style/rules.py" % (p, folder_of(p))
            for p in files if is_c(p) and folder_of(p) not in known
            and not p.startswith(tuple(f + "/" for f in rules.INCLUDES_ANY))], set()


def check_system(files):
    found, used = [], set()
    for path, text in files.items():
        if not is_c(path):
            continue
        for match in re.finditer(r"^\s*#\s*include\s+<([^>]+)>", text, re.MULTILINE):
            name = match.group(1)
            where = "%s:%d" % (path, line_of(text, match.start(1)))
            for pattern, places in rules.LIBRARY_HEADERS.items():
                if re.fullmatch(pattern, name) and not path.startswith(places):
                    found.append("%s: <%s> is known only to %s" % (where, name, ", ".join(places)))
            if not path.startswith(rules.PATH_FOLDERS) or name in rules.PATH_SYSTEM:
                continue
            if (path, name) in rules.PATH_SYSTEM_EXCEPTIONS:
                used.add((path, name))
                continue
            found.append("%s: <%s>: the packet path does no I/O and allocates nothing; allowed "
                         "are %s" % (where, name, ", ".join(rules.PATH_SYSTEM)))
    return found, used


def make_check_banned(rule):
    pattern = re.compile(rule.pattern, re.MULTILINE)

    def check(files):
        found, used = [], set()
        for path, text in files.items():
            if not path.startswith(rule.where) or path.startswith(rule.but or ("\0",)):
                continue
            if pathlib.PurePath(path).suffix not in rule.endings:
                continue
            body = text if rule.raw else code_only(text)
            for match in pattern.finditer(body):
                if path in rule.exceptions:
                    used.add(path)
                    continue
                found.append("%s:%d: %s: %s; instead: %s" % (
                    path, line_of(body, match.start()), rule.name, match.group().strip(),
                    rule.instead))
        return found, used
    return check


def check_licence(files):
    found = []
    for path, text in files.items():
        lines = text.split("\n")
        if is_c(path):
            good = lines[0] == HEAD.rstrip("\n")
        elif path.endswith((".py", ".sh", "meson.build")) or lines[0].startswith("#!"):
            good = any(line == "# " + rules.SPDX for line in lines[:2])
        else:
            continue
        if not good:
            found.append("%s:1: must begin with the line %s" % (path, rules.SPDX))
    return found, set()


def check_guards(files):
    found, seen = [], {}
    for path, text in files.items():
        if not path.endswith(".h"):
            continue
        stem = pathlib.PurePath(path).stem.upper()
        match = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", text, re.MULTILINE)
        guard = match.group(1) if match else ""
        if not match or match.group(2) != guard:
            found.append("%s:1: no include guard" % path)
            continue
        if not re.fullmatch(r"USH_(\w+_)?%s_H" % re.escape(stem), guard):
            found.append("%s:%d: guard %s should be USH_..._%s_H" % (
                path, line_of(text, match.start()), guard, stem))
        if guard in seen:
            found.append("%s: guard %s is that of %s" % (path, guard, seen[guard]))
        seen[guard] = path
        if not text.endswith("#endif /* %s */\n" % guard):
            found.append("%s: should end with #endif /* %s */" % (path, guard))
    return found, set()


def check_header_lines(files):
    found = []
    for path, text in files.items():
        if not path.endswith(".h") or not path.startswith(rules.HEADER_FOLDERS):
            continue
        head = text.split("#ifndef", 1)[0]
        missing = [w for w in rules.HEADER_LINES if not re.search(r"^ \* +%s" % w, head, re.M)]
        if missing:
            found.append("%s:2: the comment at the top lacks %s" % (path, " ".join(missing)))
    return found, set()


def columns(line):
    return len(line.expandtabs(8))


def ends_in_literal(line):
    """True if a string literal is what crosses the limit: those are not broken up."""
    wide = line.expandtabs(8)
    for match in re.finditer(r'"(?:\\.|[^"\\])*"', wide):
        if match.start() < rules.COLUMNS_MAX < match.end() + 1:
            return re.fullmatch(r"[\s);,}\\]*", wide[match.end():]) is not None
    return False


def check_columns(files):
    found = []
    for path, text in files.items():
        if not is_c(path) or path in rules.GENERATED:
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if columns(line) > rules.COLUMNS_MAX and not ends_in_literal(line):
                found.append("%s:%d: %d columns, %d are allowed (tab = 8)" % (
                    path, number, columns(line), rules.COLUMNS_MAX))
    return found, set()


def check_functions(files):
    found = []
    for path, text in files.items():
        if not is_c(path) or path in rules.GENERATED:
            continue
        begun = 0
        for number, line in enumerate(text.split("\n"), 1):
            if line == "{":
                begun = number
            elif line.startswith("}") and begun:
                if number - begun + 1 > rules.FUNCTION_LINES_MAX:
                    found.append("%s:%d: a function of %d lines, %d are allowed" % (
                        path, begun, number - begun + 1, rules.FUNCTION_LINES_MAX))
                begun = 0
    return found, set()


def check_file_lines(files):
    found, used = [], set()
    for path, text in files.items():
        if not is_c(path) or path in rules.GENERATED:
            continue
        if text.count("\n") <= rules.FILE_LINES_MAX:
            continue
        if path in rules.FILE_LINES_EXCEPTIONS:
            used.add(path)
        else:
            found.append("%s: %d lines, %d are allowed" % (
                path, text.count("\n"), rules.FILE_LINES_MAX))
    return found, used


LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(files, path):
    """Paths that a page links to, and the line of each."""
    # Links in code are examples.
    text = re.sub(r"```.*?```", lambda m: re.sub(r"[^\n]", " ", m.group()), files[path], flags=re.S)
    for match in LINK.finditer(text):
        if "://" not in match.group(1) and not match.group(1).startswith("mailto:"):
            target = os.path.normpath(os.path.join(folder_of(path), match.group(1)))
            yield target, line_of(text, match.start())


def check_docs_linked(files):
    linked = {t for root in rules.DOC_ROOTS if root in files for t, _ in links(files, root)}
    return ["%s: linked from none of %s" % (p, ", ".join(rules.DOC_ROOTS)) for p in files
            if p.startswith("docs/") and p.endswith(".md") and p not in rules.DOC_ROOTS
            and p not in linked], set()


def check_dead_links(files):
    found = []
    for path in files:
        if not path.endswith(".md"):
            continue
        for target, line in links(files, path):
            inside = not any(t == target or t.startswith(target.rstrip("/") + "/") for t in files)
            if inside and not (ROOT / target).exists():
                found.append("%s:%d: leads nowhere: %s" % (path, line, target))
    return found, set()


def machine_paths():
    """What would give away the machine this was written on, found out here and now."""
    paths = [r"(?<![\w.])/(home|Users)/[a-z]\w*/", r"(?<![\w.])/root/"]
    shared = ("/", "/tmp", "/var/tmp", "/srv", "/opt", "/mnt", "/usr/src", "/home", "/builds")
    for path in (ROOT, ROOT.parent):
        if str(path) not in shared:
            paths.append(r"(?<![\w.])" + re.escape(str(path)) + r"/")
    return re.compile("|".join(paths))


def check_machine_paths(files):
    pattern, found = machine_paths(), []
    for path, text in files.items():
        if path.startswith("tests/style/"):
            continue
        for match in pattern.finditer(text):
            found.append("%s:%d: a path of one machine: %s" % (
                path, line_of(text, match.start()), match.group()))
    return found, set()


def modules_of(files):
    names = set()
    for path in files:
        if path.startswith(("dataplane/", "control/", "tools/", "sim/")) and is_c(path):
            names.add(pathlib.PurePath(path).stem)
            names.add(folder_of(path).rsplit("/", 1)[-1])
        if path.startswith("tests/vectors/"):
            names.add("vectors")
    return names


def check_unit_tests(files):
    found, names = [], modules_of(files)
    builds = "".join(t for p, t in files.items() if p.endswith("meson.build"))
    for path in files:
        match = re.fullmatch(r"tests/unit/test_(\w+)\.(c|py)", path)
        if not match:
            continue
        words = match.group(1).split("_")
        if not any("_".join(words[:n]) in names for n in range(1, len(words) + 1)):
            found.append("%s: no module is called %s" % (path, words[0]))
        if not re.search(r"'%s'\s*:|test_%s\b" % (match.group(1), match.group(1)), builds):
            found.append("%s: no meson.build runs it" % path)
    return found, set()


def pkg_flags(name):
    if shutil.which("pkg-config") is None:
        return []
    done = subprocess.run(["pkg-config", "--cflags", name], capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else []


def compile_header(cc, root, path, text):
    command = [cc, "-fsyntax-only", "-x", "c", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
               "-Werror", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-parameter",
               "-I%s/dataplane" % root, "-I%s/control" % root, "-I%s" % root,
               "-I%s/tools" % root, "-I%s/tests" % root, "-"]
    if "<rte_" in text:
        command += pkg_flags("libdpdk")
    # Twice: the guard must hold too.
    source = '#include "%s/%s"\n' % (root, path) * 2
    return subprocess.run(command, input=source, capture_output=True, text=True)


def check_headers_alone(files):
    cc, found = os.environ.get("CC", "cc").split()[0], []
    with tempfile.TemporaryDirectory() as folder:
        root = str(ROOT)
        if files is not TREE:
            root = folder
            for path, text in files.items():
                whole = pathlib.Path(folder, path)
                whole.parent.mkdir(parents=True, exist_ok=True)
                whole.write_text(text, encoding="utf-8")
        for path, text in files.items():
            if path.endswith(".h"):
                done = compile_header(cc, root, path, text)
                if done.returncode != 0:
                    first = (done.stderr.strip().split("\n") or ["?"])[0]
                    found.append("%s: does not compile alone: %s" % (path, first))
    return found, set()


WIRE_FILES = ("scripts", "dataplane/wire", "hw/rtl", "docs", "tools/wireshark", "tests/vectors")


def check_fresh(files):
    """Runs the generator's own check; on an example, in a copy with those files changed."""
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT
        if files is not TREE:
            root = pathlib.Path(folder)
            for part in WIRE_FILES:
                shutil.copytree(ROOT / part, root / part, dirs_exist_ok=True)
            for path, text in files.items():
                (root / path).write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, str(root / "scripts/gen-wire"), "--check"],
                              capture_output=True, text=True, cwd=root)
    if done.returncode == 0:
        return [], set()
    return ["run scripts/gen-wire: " + line for line in
            (done.stdout + done.stderr).strip().split("\n")], set()


def check_planted(files):
    """A planted bug that does not apply any more is not looked for by anyone."""
    patches = sorted(p for p in files if p.startswith("tests/mutants/") and p.endswith(".patch"))
    if files is TREE:
        patches = sorted("tests/mutants/" + p.name for p in (ROOT / "tests/mutants").glob("*.patch"))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = ROOT
        if files is not TREE:
            root = pathlib.Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
        for path in patches:
            done = subprocess.run(["git", "apply", "--check", str(root / path)],
                                  capture_output=True, text=True, cwd=root)
            if done.returncode != 0:
                found.append("%s: does not apply: %s" % (path, done.stderr.strip().split("\n")[0]))
    return found, set()


PLANTED = "--- a/a.c\n+++ b/a.c\n@@ -1 +1 @@\n-int a;\n+int b;\n"

# ---- the list ----


class Rule:
    def __init__(self, name, check, bad, good, exceptions=(), tree=True):
        self.name = name
        self.check = check
        # {path: text}
        self.bad = bad
        self.good = good
        self.exceptions = set(exceptions)
        # False: another rule runs the same check on the tree; this one adds examples.
        self.tree = tree


def header(guard, body="", head=" * Owns:  a.\n * Reads: b.\n * Never: c.\n"):
    return "%s/*\n * What.\n *\n%s */\n#ifndef %s\n#define %s\n%s\n#endif /* %s */\n" % (
        HEAD, head, guard, guard, body, guard)


def function(lines):
    return HEAD + "static int f(void)\n{\n" + "\tstep();\n" * (lines - 2) + "}\n"


def tree_rules():
    base_h = {"dataplane/base/base.h": header("USH_BASE_H")}
    claim_h = {"dataplane/claim/claim.h": header("USH_CLAIM_H")}
    wire = (ROOT / "dataplane/wire/wire.h").read_text(encoding="utf-8")
    here = str(ROOT) + "/"
    return [
        Rule("a module includes only what its row allows", check_arrows,
             {**claim_h, "dataplane/hold/hold.c": '#include "claim/claim.h"\n'},
             {**base_h, "dataplane/hold/hold.c": '#include "base/base.h"\n'}),
        Rule("internal headers stay inside", check_arrows,
             {"dataplane/loop/internal.h": "", "tools/top.c": '#include "loop/internal.h"\n'},
             {"dataplane/loop/internal.h": "",
              "dataplane/loop/turn.c": '#include "loop/internal.h"\n'}, tree=False),
        Rule("every folder has a row of arrows", check_modules,
             {"dataplane/nowhere/nowhere.c": ""}, {"dataplane/hold/hold.c": ""}),
        Rule("the packet path includes no system header that does I/O", check_system,
             {"dataplane/claim/claim.c": "#include <stdio.h>\n"},
             {"dataplane/claim/claim.c": "#include <string.h>\n"},
             rules.PATH_SYSTEM_EXCEPTIONS),
        Rule("libraries are known to few", check_system,
             {"control/catalogue/venue.c": "#include <liburing.h>\n"},
             {"control/journal/disk_uring.c": "#include <liburing.h>\n"}, tree=False),
        Rule("headers compile alone", check_headers_alone,
             {"dataplane/hold/hold.h": header("USH_HOLD_H", "uint32_t hold_count(void);")},
             {"dataplane/hold/hold.h": header(
                 "USH_HOLD_H", "#include <stdint.h>\nuint32_t hold_count(void);")}),
        Rule("generated files are fresh", check_fresh,
             {"dataplane/wire/wire.h": wire.replace("64", "65", 1)},
             {"dataplane/wire/wire.h": wire}),
        Rule("files name their licence", check_licence,
             {"tools/top.c": "int main(void);\n"}, {"tools/top.c": HEAD}),
        Rule("headers are guarded", check_guards,
             {"dataplane/hold/hold.h": "#ifndef HOLD_H\n#define HOLD_H\n#endif\n"},
             {"dataplane/hold/hold.h": header("USH_HOLD_H")}),
        Rule("headers say what they own, read and never do", check_header_lines,
             {"dataplane/hold/hold.h": header("USH_HOLD_H", head=" * Owns:  a.\n")},
             {"dataplane/hold/hold.h": header("USH_HOLD_H")}),
        Rule("lines fit %d columns" % rules.COLUMNS_MAX, check_columns,
             {"tools/top.c": "\t" * 12 + "abcde\n"},
             {"tools/top.c": "\t" * 11 + "\"" + "a" * 40 + "\");\n"}),
        Rule("functions fit %d lines" % rules.FUNCTION_LINES_MAX, check_functions,
             {"tools/top.c": function(rules.FUNCTION_LINES_MAX + 1)},
             {"tools/top.c": function(rules.FUNCTION_LINES_MAX)}),
        Rule("files fit %d lines" % rules.FILE_LINES_MAX, check_file_lines,
             {"tools/top.c": "\n" * (rules.FILE_LINES_MAX + 1)},
             {"tools/top.c": "\n" * rules.FILE_LINES_MAX}, rules.FILE_LINES_EXCEPTIONS),
        Rule("every page can be found", check_docs_linked,
             {"docs/lost.md": "", "docs/HACKING.md": "[a](found.md)"},
             {"docs/found.md": "", "docs/HACKING.md": "[a](found.md#part)"}),
        Rule("links lead somewhere", check_dead_links,
             {"docs/HACKING.md": "[a](no-such-page.md)"},
             {"docs/HACKING.md": "[a](found.md)", "docs/found.md": ""}),
        Rule("no path of one machine", check_machine_paths,
             {"docs/a.md": "see %sdocs" % here}, {"docs/a.md": "see docs/ and /usr/share/"}),
        Rule("no path of somebody's home", check_machine_paths,
             {"docs/a.md": "see /home/" "ada/usher"}, {"docs/a.md": "see /home/"}, tree=False),
        Rule("planted bugs can be planted", check_planted,
             {"a.c": "int c;\n", "tests/mutants/01-b.patch": PLANTED},
             {"a.c": "int a;\n", "tests/mutants/01-b.patch": PLANTED}),
        Rule("every unit test has its module and is run", check_unit_tests,
             {"tests/unit/test_ghost.c": "", "tests/meson.build": "'ghost': []"},
             {"tests/unit/test_hold_expiry.c": "", "dataplane/hold/hold.c": "",
              "tests/meson.build": "'hold_expiry': []"}),
        Rule("a unit test that nothing runs is found", check_unit_tests,
             {"tests/unit/test_hold.c": "", "dataplane/hold/hold.c": "",
              "dataplane/meson.build": "subdir('hold')"},
             {"tests/unit/test_hold.c": "", "dataplane/hold/hold.c": "",
              "tests/meson.build": "executable('x', 'unit/test_hold.c')"}, tree=False),
    ]


def banned_rules():
    return [Rule("%s (%s)" % (b.name, ", ".join(w.rstrip("/") for w in b.where[:1])
                              + (" ..." if len(b.where) > 1 else "")),
                 make_check_banned(b), {b.at: b.bad + "\n"}, {b.at: b.good + "\n"}, b.exceptions)
            for b in rules.BANNED]


def run(number, rule):
    """Prints one TAP line. ret: True if all is well."""
    notes = []
    if not rule.check(rule.bad)[0]:
        notes.append("the rule does not catch its bad example")
    caught, _ = rule.check(rule.good)
    notes += ["the rule condemns its good example: " + c for c in caught]
    found, used = rule.check(TREE) if rule.tree else ([], rule.exceptions)
    notes += sorted(found)
    notes += ["exception for %s is not needed any more: take it out of tests/style/rules.py"
              % (e if isinstance(e, str) else " and ".join(e))
              for e in sorted(rule.exceptions - used)]
    print("%s %d - %s" % ("not ok" if notes else "ok", number, rule.name))
    for note in notes:
        print("# " + note)
    return not notes


TREE = {}


def main():
    all_rules = tree_rules() + banned_rules()
    if "--list" in sys.argv[1:]:
        print("\n".join(rule.name for rule in all_rules))
        return 0
    TREE.update(read_tree())
    print("TAP version 13\n1..%d" % len(all_rules))
    good = [run(number, rule) for number, rule in enumerate(all_rules, 1)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The checkers are checked: each accepts a small clean tree and fails on one planted violation."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

CLEAN = {
    "src/base/err.h": "struct err {\n    int status;\n};\nint err_set(struct err *err);\n",
    "src/base/err.c": '#include "base/err.h"\n\nint err_set(struct err *err)\n{\n'
                      "    return err->status;\n}\n",
    "src/base/README.md": "# base/\n`err_set()` of `err.h` fills a `struct err`.\n",
    "src/lab/lab.h": "int lab_up(void);\n",
    "src/cli/run.h": "int run(void);\n",
    "README.md": "See `src/base/err.h`, `tools/check-*`, [this](src/base/README.md), `make test`, "
                 "`./run demo`, `SELECT 1`, `read_only=1`, `10.0.0.1:3306`, `a/b`, `lag_ms`.\n"
                 "```\n`src/not/checked.h`\n```\n",
    "tools/check-all": "",
    "Makefile": "test:\n",
    "run": "case $1 in\ndemo)\n    : ;;\nesac\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in CLEAN.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(ROOT / ".clang-format", tmp_path)
    return tmp_path


def check(name, tree, *options, env=None):
    done = subprocess.run([ROOT / "tools" / name, *options, tree], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    return done.returncode, done.stdout


def short(value):
    """Keeps generated sources out of the names of the tests."""
    return None if not isinstance(value, str) else value[:40].split("\n")[0] or None


def plant(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("tool", ["check-layers", "check-sizes", "check-docs", "check-format"])
def test_a_clean_tree_is_accepted(tool, tree):
    code, output = check(tool, tree)
    if code == 77:
        pytest.skip(output.strip())
    assert code == 0, output


@pytest.mark.parametrize("tool", ["check-layers", "check-sizes", "check-docs", "check-format"])
def test_an_empty_tree_is_not_a_success(tool, tmp_path):
    code, output = check(tool, tmp_path)
    if code == 77:
        pytest.skip(output.strip())
    assert code == 1, output


@pytest.mark.parametrize("name, line, reason", [
    ("src/base/bad.c", '#include "cli/run.h"', "below cli/"),
    ("src/os/bad.c", '#  include "lab/lab.h"', "below lab/"),
    ("src/load/bad.c", '#include "lab/lab.h"', "rooms"),
    ("src/lab/bad.c", '#include "cli/run.h"', "below cli/"),
    ("src/lab/bad.c", '#include "lab.h"', "full path"),
    ("src/lab/bad.c", '#include "base/none.h"', "no such header"),
    ("src/lab/bad.c", '#include "base/err.c"', "only headers"),
    ("src/lab/bad.c", "#include <mysql.h>", "only sql"),
    ("src/lab/bad.c", "#include <sqlite3.h>", "only store"),
    ("src/misc/bad.c", "", "not in the table"),
], ids=short)
def test_an_include_against_the_layers_is_found(tree, name, line, reason):
    plant(tree, name, line + "\n")
    code, output = check("check-layers", tree)
    assert code == 1 and reason in output and "bad.c" in output, output


def test_includes_down_the_layers_are_accepted(tree):
    plant(tree, "src/cli/good.c", '#include "cli/run.h"\n#include "lab/lab.h"\n'
                                  '#include "base/err.h"\n#include <stdio.h>\n')
    code, output = check("check-layers", tree)
    assert code == 0, output


def function(lines=1, parameters="void", nesting=0):
    body = ["    work();"] * lines + ["    while (1) {"] * nesting + ["    }"] * nesting
    return "int bad(" + parameters + ")\n{\n" + "\n".join(body) + "\n}\n"


@pytest.mark.parametrize("name, text, reason", [
    ("src/os/bad.c", "int x;\n" * 801, "801 c lines"),
    ("tests/unit/os/bad_test.c", "int x;\n" * 801, "801 c lines"),
    ("src/os/bad.h", "int x;\n" * 251, "251 h lines"),
    ("src/os/bad.c", function(lines=81), "81 function lines"),
    ("src/os/bad.c", 'int a[] = {1, 2};\nconst char *b = "}{";\n/* } */\n' + function(lines=81),
     "bad.c:5: bad(): 81 function lines"),
    ("src/os/bad.c", function(parameters="int a, int (*b)(int, int), int c, int d, int e, int f, "
                                         "int g"), "7 parameters"),
    ("src/os/bad.c", function(nesting=5), "5 nesting"),
    ("src/os/README.md", "line\n" * 41, "41 readme lines"),
], ids=short)
def test_what_is_too_big_is_found(tree, name, text, reason):
    plant(tree, name, text)
    code, output = check("check-sizes", tree)
    assert code == 1 and reason in output, output


def test_a_folder_of_too_many_files_is_found(tree):
    for number in range(16):
        plant(tree, f"src/os/part{number}.c", "int x;\n")
    code, output = check("check-sizes", tree)
    assert code == 1 and "16 folder files" in output, output


@pytest.mark.parametrize("text", [
    function(lines=80), function(parameters="int a, int (*b)(int, int), int c"),
    "static const int table[] = {\n" + "    1,\n" * 100 + "};\n",
    function(lines=1) + "struct x {\n" + "    int y;\n" * 100 + "};\n",
    "int f(void)\n{\n    struct x t[] = {{{{{{1}}}}}};\n    g((struct x){1});\n}\n",
], ids=short)
def test_what_is_not_too_big_is_accepted(tree, text):
    plant(tree, "src/os/good.c", text)
    code, output = check("check-sizes", tree)
    assert code == 0, output


def test_an_exception_allows_its_value_and_must_be_needed(tree):
    plant(tree, "src/os/bad.c", function(lines=90))
    row = "function lines | src/os/bad.c:bad | {} | one long table of calls\n"
    plant(tree, "tools/sizes-exceptions.txt", row.format(90))
    assert check("check-sizes", tree)[0] == 0
    plant(tree, "tools/sizes-exceptions.txt", row.format(89))
    assert check("check-sizes", tree)[0] == 1
    plant(tree, "tools/sizes-exceptions.txt", row.format(90).replace("one long table of calls", ""))
    assert check("check-sizes", tree)[0] == 1
    plant(tree, "tools/sizes-exceptions.txt", row.format(90))
    plant(tree, "src/os/bad.c", function(lines=10))
    code, output = check("check-sizes", tree)
    assert code == 1 and "no longer needed" in output


@pytest.mark.parametrize("text", [
    "`src/base/gone.h`", "`tools/check-none*`", "`err_gone()`", "`struct gone`", "`ST_GONE`",
    "`make gone`", "`./run gone`", "[page](docs/gone.md)", "`tools/gone --option`",
])
@pytest.mark.parametrize("page", ["README.md", "docs/page.md", "src/base/README.md"])
def test_a_name_that_does_not_exist_is_found_in_docs(tree, page, text):
    plant(tree, page, f"Words, then {text} and more.\n")
    code, output = check("check-docs", tree)
    assert code == 1 and f"{page}:1" in output and ": no" in output or "know" in output, output


def test_a_header_that_does_not_exist_is_found_in_the_page_of_its_folder(tree):
    plant(tree, "src/base/README.md", "`gone.h`\n")
    assert check("check-docs", tree)[0] == 1


def test_a_badly_formatted_file_is_found(tree):
    plant(tree, "src/os/bad.c", "int  x ;\n")
    code, output = check("check-format", tree)
    if code == 77:
        pytest.skip(output.strip())
    assert code == 1 and "bad.c" in output, output


# tools/test itself, on a copy of it beside planted programs instead of built ones.

@pytest.fixture
def copy(tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("test", "list-sources"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools")
    plant(tmp_path, "Makefile", "asan build:\n\t@:\n")
    (tmp_path / "src").mkdir()
    return tmp_path


def run_test(copy, *parts):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run([copy / "tools" / "test", *parts], text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    return done.returncode, done.stdout.splitlines()[-1], done.stdout


def plant_unit(copy, script):
    plant(copy, "tests/unit/os/x_test.c", "")
    plant(copy, "build-asan/os-x_test", "#!/bin/sh\n" + script)
    (copy / "build-asan" / "os-x_test").chmod(0o755)


@pytest.mark.parametrize("script, code, last", [
    ("echo '[ RUN      ] a'\necho '[       OK ] a'\n", 0, "2 passed, 0 failed"),
    ("echo '[ RUN      ] a'\necho '[       OK ] a'\nexit 1\n", 1, "2 passed, 1 failed"),
    ("echo '[ RUN      ] a'\nkill -SEGV $$\n", 1, "1 passed, 1 failed"),
    ("echo '[ RUN      ] a'\necho '[  FAILED  ] a'\nexit 1\n", 1, "1 passed, 1 failed"),
    ("echo '[ RUN      ] a'\nprintf 'no root[  SKIPPED ] a\\n'\n", 0,
     "1 passed, 0 failed, 1 skipped"),
    ("", 1, "1 passed, 1 failed"),
], ids=short)
def test_units_are_counted_and_crashes_are_failures(copy, script, code, last):
    plant_unit(copy, script)
    assert run_test(copy, "units")[:2] == (code, last)


def test_a_unit_test_that_was_not_built_is_a_failure(copy):
    plant(copy, "tests/unit/os/x_test.c", "")
    assert run_test(copy, "units")[:2] == (1, "1 passed, 1 failed")


def test_a_failing_build_is_a_failure(copy):
    plant_unit(copy, "echo '[ RUN      ] a'\necho '[       OK ] a'\n")
    plant(copy, "Makefile", "asan:\n\t@false\n")
    assert run_test(copy, "units")[:2] == (1, "1 passed, 1 failed")


@pytest.mark.parametrize("text, code, last", [
    ("def test_a(): pass\n", 0, "2 passed, 0 failed"),
    ("def test_a(): assert 0\n", 1, "1 passed, 1 failed"),
    ("import gone\n", 1, "1 passed, 1 failed"),
    ("", 1, "1 passed, 1 failed"),
    ("import pytest\ndef test_a(): pytest.skip('no privilege')\n", 0,
     "1 passed, 0 failed, 1 skipped"),
    ("import os\ndef test_a(): os._exit(0)\n", 1, "1 passed, 1 failed"),
], ids=short)
def test_system_tests_are_counted(copy, text, code, last):
    plant(copy, "tests/system/test_x.py", text)
    done = run_test(copy, "system")
    assert done[:2] == (code, last), done[2]
    assert "skipped" not in last or "no privilege" in done[2]


def test_no_tests_at_all_is_a_failure(copy):
    assert run_test(copy, "checks")[:2] == (1, "0 passed, 1 failed")

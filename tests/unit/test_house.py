"""The rules of the house that import-linter and ruff do not hold, read from the source."""

import ast
import re
import tomllib
from collections import defaultdict
from functools import cache
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
PRODUCT = sorted(chain.from_iterable((ROOT / name).rglob("*.py") for name in PACKAGES))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

CODEC = "neurogloss/neurons/codec.py"
HOMES = {"RowMapping": "db/", "frombuffer": CODEC}
"""Where alone rows are read by key, and where bytes become arrays."""


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def imported_by(path):
    """Yield (module, name) for each import; name is None where a module is imported as such."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_test_module(module):
    last = module.rpartition(".")[2]
    return module.startswith("tests.") and (last.startswith("test_") or last == "conftest")


def test_no_test_imports_from_another_test():
    found = [
        (name_of(path), module)
        for path in TESTS
        for module, name in imported_by(path)
        if is_test_module(module) or is_test_module(f"{module}.{name}")
    ]
    assert found == [], "shared code belongs to tests/support, fixtures to a conftest.py"


def private_definitions(path):
    """Return the private names that a file defines: functions, classes, variables, attributes."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names |= {node.attr} if ast.unparse(node.value) == "self" else set()
    return {name for name in names if is_private(name)}


def private_names_used(path):
    """Return the private names that a file imports, reads of an object, or patches by a path."""
    names = {name for module, name in imported_by(path) if name}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            package, _, last = node.value.partition(".")
            if package in PACKAGES:  # as in monkeypatch.setattr("worker.module._name", ...)
                names.add(last.rpartition(".")[2])
    return {name for name in names if is_private(name)}


def test_no_test_uses_a_private_name_of_the_product():
    private = set().union(*map(private_definitions, PRODUCT))
    found = {
        name_of(path): names
        for path in TESTS
        if (names := (private_names_used(path) & private) - private_definitions(path))
    }
    assert found == {}, "test by a public name, or make what is worth a test public"


def test_a_public_class_name_is_defined_once():
    places = defaultdict(list)
    for path in PRODUCT:
        if name_of(path).startswith("rehearsal/"):  # it imports nothing of ours, and repeats some
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not is_private(node.name):
                places[node.name].append(name_of(path))
    found = {name: files for name, files in places.items() if len(files) > 1}
    assert found == {}


@pytest.mark.parametrize(
    ("keys", "entry"),
    [
        (("importlinter", "root_packages"), "{}"),
        (("setuptools", "packages", "find", "include"), "{}*"),
        (("mypy", "packages"), "{}"),
    ],
    ids=["import-linter", "setuptools", "mypy"],
)
def test_every_package_is_installed_and_checked(keys, entry):
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    for key in keys:
        listed = listed[key]
    assert sorted(listed) == [entry.format(name) for name in PACKAGES]


@cache
def names_in(path):
    """Return the names that a file reads, writes, or takes from a module or an object."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Name | ast.Attribute)
    }


@pytest.mark.parametrize(("name", "home"), HOMES.items())
def test_rows_and_bytes_are_decoded_in_db_and_the_codec_only(name, home):
    users = {name_of(path) for path in PRODUCT if name in names_in(path)}
    assert {file for file in users if not file.startswith(home)} == set()


def test_functions_are_short():
    lengths = [
        node.end_lineno - node.lineno + 1
        for path in PRODUCT
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert median(lengths) <= 10
    assert quantiles(lengths, n=10)[-1] <= 25


def test_files_are_short():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PRODUCT}
    assert {name: n for name, n in lengths.items() if n > 350} == {}


DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
IN_THE_REPOSITORY = re.compile(
    r"`((?:db|deploy|docs|migrations|neurogloss|orchestrator|rehearsal|tests|web|worker)/[\w./-]+)`"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_documents_name_files_that_exist(document):
    named = IN_THE_REPOSITORY.findall(document.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and "NAME" not in name] == []

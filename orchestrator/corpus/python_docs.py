"""The corpus source `python-docs`: language topics and docstrings of the running Python.

It needs no network. Source files are parsed, never imported, so none of their code is executed.
"""

import ast
import builtins
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pydoc_data.topics import topics
from types import ModuleType

# Tests, applications and generated tables: little English, or packages that are not Python's own.
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo",
             "pydoc_data", "__pycache__", "encodings", "idle_test", "_sysconfigdata"}  # fmt: skip
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # differs between processes, the corpus must not


def documents() -> Iterator[tuple[str, str]]:
    """Yield (document id, text): the language topics, then the docstrings of each module.

    The order and the ids depend only on the version of the running Python.
    """
    for name in sorted(topics):
        yield f"topics:{name}", topics[name].strip()
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(_source_files(root)):
        yield from _source_document(path, ".".join(path.relative_to(root).with_suffix("").parts))
    for name in sorted({*sys.builtin_module_names, "builtins"}):
        text = "\n\n".join(_builtin_docstrings(name))
        if text:
            yield f"builtin:{name}", _ADDRESS.sub("", text)


def _source_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        # Not looked into: packages that are installed have many times more files than Python.
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _source_document(path: Path, module: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a template or a test of the compiler, not a module
        return
    text = "\n\n".join(_docstrings(tree, module))
    if text:
        yield f"docstring:{module}", text


def _docstrings(node: ast.AST, name: str) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and (text := ast.get_docstring(node)):
        yield f"{name}{_arguments(node)}\n\n{text}"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings(child, f"{name}.{child.name}")


def _arguments(node: ast.AST) -> str:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return f"({ast.unparse(node.args)})"
    return ""


def _builtin_docstrings(name: str) -> Iterator[str]:
    module = builtins if name == "builtins" else _loaded(name)
    if module is None:
        return
    for attribute in sorted(vars(module)):
        member = getattr(module, attribute)
        if not attribute.startswith("_") and (inspect.isbuiltin(member) or inspect.isclass(member)):
            text = inspect.getdoc(member)
            if text:
                yield f"{name}.{attribute}\n\n{text}"


def _loaded(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None

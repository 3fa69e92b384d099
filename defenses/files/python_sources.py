"""What a Python file is made of: itself, the modules beside it that it imports, and the files that its text names."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

OURS = ("theory", "defenses", "sims", "figures")  # what these import is not a user's


def python_sources(file: Path) -> list[Path]:
    """The file, every module in its folder that it imports, directly or not, and every file that one of them names.

    Imports count wherever they stand, in functions too. A text in the code names a file if there is one of that name,
    seen from the module's folder, the file's, or the working folder: weights that are loaded by their name are found, a
    name that is put together when the code runs is not. Nothing is run.
    """
    found: dict[Path, Path] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if found.setdefault(path.resolve(), path) is path and path.suffix == ".py":
            waiting += _named(path, file.parent)
    return sorted(found.values())


def _named(module: Path, root: Path) -> Iterator[Path]:
    """Modules and files that the module names; none where it is no Python, which is said when it is run."""
    try:
        nodes = list(ast.walk(ast.parse(module.read_bytes())))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(root, alias.name)
        elif isinstance(node, ast.ImportFrom):
            home = module.parents[node.level - 1] if node.level else root
            for alias in node.names:
                yield from _modules(home, ".".join(filter(None, (node.module, alias.name))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            paths = (folder / node.value for folder in (module.parent, root, Path()))
            yield from (path for path in paths if os.path.isfile(path))


def _modules(home: Path, dotted: str) -> Iterator[Path]:
    """The files in `home` that importing the module runs; of the last part nothing where it is no module."""
    parts = dotted.split(".")
    if parts[0] in OURS:
        return
    for last in range(len(parts)):
        path = home.joinpath(*parts[: last + 1])
        yield from (file for file in (path.with_name(f"{parts[last]}.py"), path / "__init__.py") if file.is_file())

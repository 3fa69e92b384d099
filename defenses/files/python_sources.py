"""What a Python file is made of: itself, the modules beside it that it imports, and the files that its text names."""

import ast
import os
from collections.abc import Iterable, Iterator
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


def of_this_project(files: Iterable[Path]) -> list[str]:
    """What the Python files among them import of this project: dotted names of modules, or of what is in one."""
    return sorted({name for file in files if file.suffix == ".py" for node in _nodes(file) for name in _ours(node)})


def _ours(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    yield from (name for name in names if name.partition(".")[0] in OURS)


def _nodes(file: Path) -> list[ast.AST]:
    """All of its syntax; none where it is no Python, which is said when it is run."""
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return []


def _named(module: Path, root: Path) -> Iterator[Path]:
    """Modules and files that the module names."""
    for node in _nodes(module):
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

"""The code that computes something: some modules and all that they import of this project, as far as it runs.

Docstrings and comments do not count. A table does not count by its rows, nor by the modules that only these name: a new
row changes nothing for the others, and whoever asks gives the module of the row that was chosen.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("theory", "defenses", "sims")
TABLES = {  # what of a module is rows
    "defenses.classifiers.architectures": ("ARCHITECTURES",),
    "defenses.data.sources": ("SOURCES",),
    "defenses.purifiers.table": ("DEFENSES",),
    "defenses.zoo": ("SMALL",),
    "sims.attacks.table": ("ATTACKS",),
    "sims.experiments.experiment": ("EXPERIMENTS",),
    "sims.white_box.table": ("WHITE_BOX",),
}
ROOMS = {  # which module imports all of a folder, by names that are put together when it runs
    "sims.experiments.verify": "sims.verification",
    "theory.catalogue": "theory.statements",
}


class Module(NamedTuple):
    """text: the code that runs, in one spelling. imports: the names of this project's modules that it imports."""

    text: str
    imports: tuple[str, ...]


def code_hash(modules: Iterable[str]) -> str:
    """A hash (16 hexadecimal digits) of the modules, by their dotted names, and of all that they import."""
    found: dict[str, str] = {}
    waiting = sorted(set(modules))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imports = _module(ROOT, name)
            waiting += imports
    digest = hashlib.sha256("".join(f"{name}\n{text}\n" for name, text in sorted(found.items())).encode())
    return digest.hexdigest()[:16]


@cache
def _module(root: Path, name: str) -> Module:
    tree = ast.parse(_file(root, name).read_bytes())
    tree.body = [statement for statement in tree.body if not _is_rows(statement, TABLES.get(name, ()))]
    tree = _Running(_used(tree)).visit(tree)
    imports = {module for node in ast.walk(tree) for module in _imported(root, node)}
    if name in ROOMS:
        folder = ROOMS[name]
        imports |= {f"{folder}.{path.stem}" for path in root.joinpath(*folder.split(".")).glob("[!_]*.py")}
    return Module(ast.unparse(tree), tuple(sorted(imports)))


def _file(root: Path, name: str) -> Path:
    """Where the module lies; a path that does not exist for a name that is none."""
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_rows(statement: ast.stmt, tables: tuple[str, ...]) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return any(isinstance(target, ast.Name) and target.id in tables for target in targets)


def _used(tree: ast.Module) -> set[str]:
    """The names that the module uses or hands on."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names |= set(ast.literal_eval(statement.value))
    return names


class _Running(ast.NodeTransformer):
    """Takes out statements that are nothing but a text, and imports whose names are not used."""

    def __init__(self, used: set[str]) -> None:
        self.used = used

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Import(self, node: ast.Import) -> ast.Import | None:
        return self._kept(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        return self._kept(node)

    def _kept(self, node):
        node.names = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] in self.used]
        return node if node.names else None


def modules_of(name: str) -> list[str]:
    """The modules of this project on the way to a dotted name; [] where the name is not of this project."""
    return list(_on_the_way(ROOT, name))


def _on_the_way(root: Path, name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] in PACKAGES:
        starts = (".".join(parts[: length + 1]) for length in range(len(parts)))
        yield from (start for start in starts if _file(root, start).is_file())


def _imported(root: Path, node: ast.AST) -> Iterator[str]:
    """Modules of this project that the import runs, the folders on the way to them included."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return
    for name in names:
        yield from _on_the_way(root, name)

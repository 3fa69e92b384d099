"""The house: what stands at the root, and which folder may import which."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("theory", "defenses", "sims", "figures")
FILES = {"pyproject.toml", "README.md", "Makefile", "LICENSE", *FOLDERS, "tests"}
MAY_IMPORT = {"theory": set(), "defenses": set(), "sims": {"theory", "defenses"}, "figures": {"theory", "sims"}}
FOR_FIGURES = {"sims.records.store", "sims.intervals"}
FORBIDDEN = {"theory": {"jax", "flax", "optax"}, "figures": {"jax", "flax", "optax"}}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(imported: str, modules: set[str]) -> bool:
    """Whether what is imported is one of the modules or a name in one."""
    return any(imported == module or imported.startswith(f"{module}.") for module in modules)


def violations(folder: str, modules: set[str]) -> set[str]:
    """Imports that the direction of the house forbids."""
    ours = {module for module in modules if module.split(".")[0] in FOLDERS}
    wrong = {module for module in ours if module.split(".")[0] not in MAY_IMPORT[folder] | {folder}}
    if folder == "figures":
        wrong |= {m for m in ours if m.split(".")[0] == "sims" and not within(m, FOR_FIGURES)}
    return wrong | {module for module in modules if module.split(".")[0] in FORBIDDEN.get(folder, set())}


@pytest.mark.parametrize("folder", FOLDERS)
def test_import_direction(folder):
    """Of the simulations, figures see their records and, for bars and bands, the intervals that reports have too."""
    for path in (ROOT / folder).rglob("*.py"):
        wrong = violations(folder, imported_modules(path))
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_a_wrong_import_is_noticed():
    assert violations("theory", {"sims.engine.run.run_attack"})
    assert violations("theory", {"jax"})
    assert violations("figures", {"sims.engine.run.run_attack"})
    assert violations("figures", {"sims.measurements.slow_down.measured_slow_down"})
    assert violations("figures", {"sims.intervals_of_old.share"})
    assert not violations("figures", {"sims.records.store.read", "sims.intervals.Z"})
    assert not violations("sims", {"theory.catalogue.find", "jax"})


def test_root_holds_the_house_and_nothing_else():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    top = {line.split("/")[0] for line in listed if line}
    assert {name for name in top if not name.startswith(".")} == FILES


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_holds_one_idea(folder):
    for path in (ROOT / folder).rglob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines <= 320, f"{path.relative_to(ROOT)} has {lines} lines"


def entries(folder: Path) -> set[str]:
    """Modules and rooms of a folder; what every package has (`__init__`, `__main__`) is not counted."""
    kept = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {name for path in kept if not (name := path.relative_to(folder).parts[0]).startswith(("_", "."))}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_seen_at_a_glance(folder):
    found = entries(ROOT / folder)
    assert 8 <= len(found) <= 15, sorted(found)


def graph() -> dict[str, set[str]]:
    """Which of our modules imports which."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    owner = {name: name for name in modules}

    def target(imported: str) -> str | None:
        return owner.get(imported) or owner.get(imported.rpartition(".")[0])

    return {
        name: {found for imported in imported_modules(path) if (found := target(imported)) and found != name}
        for name, path in modules.items()
    }


def circle(imports: dict[str, set[str]]) -> set[str]:
    """What is left when modules whose imports are all gone are taken away, one after the other."""
    left = {name: set(others) for name, others in imports.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    return set(left)


def test_no_module_imports_itself_by_a_detour():
    found = graph()
    assert len(found) > 200
    assert circle(found) == set()
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a", "b", "c", "d"}


def test_the_rooms_of_sims_stand_in_one_order():
    """No room is imported from one that it imports itself."""
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        if name.startswith("sims."):
            room = ".".join(name.split(".")[:2])
            rooms.setdefault(room, set()).update(".".join(other.split(".")[:2]) for other in others)
    assert (
        circle(
            {room: {other for other in others if other in rooms and other != room} for room, others in rooms.items()}
        )
        == set()
    )

"""A golden run: what every command prints as JSON, and the bits of three attacks on three defences.

A commit that only moves code leaves it identical; any other says which values change and why, and writes it anew:

    pytest tests/test_golden_run.py --write-golden

Trained weights, and so the bits of everything behind them, belong to one kind of processor and one version of JAX.
Elsewhere the form of every document is compared: its keys, its texts, and how many entries it has.
"""

import hashlib
import json
import platform
import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from sims.records import store

GOLDEN = Path(__file__).parent / "golden" / "run.json"
MEASURED_ANEW = {"seconds", "images_per_second", "seconds_per_step", "memory", "device", "cached"}
PLACES = {"file", "files", "folder"}
COMMANDS = {
    "theory list": [],
    "theory eval": ["E7-antithetic", "--set", "d=3072", "--set", "mu=0.01", "--set", "grad=2.5"],
    "theory check": [],
    "defenses list": [],
    "defenses data": [],
    "defenses train": [],
    "defenses evaluate": ["cnn", "--defense", "random-purifier"],
    "sims attacks": [],
    "sims white-box-attacks": [],
    "sims attack": [
        "--images", "20", "--query-budget", "63", "--epsilon", "0.2", "--draws", "8", "--evaluations", "4",
        "--attacks", "nes", "square", "rays", "--defenses", "none", "gaussian-noise", "random-purifier",
    ],
    "sims moments": ["--samples", "1000", "--smoothing-radii", "0.1", "--draws", "64"],
    "sims diversity": [
        "--pool-sizes", "2", "8", "--patches-per-side", "1", "2", "--images", "3", "--pools", "2", "--draws", "16",
        "--noise-levels", "0.01",
    ],
    "sims convergence": [
        "--steps", "20", "--chains", "16", "--network-chains", "4", "--defenses", "random-purifier",
    ],
    "sims verify": ["--statements", "E3-antithetic", "C1-floor-antithetic", "P1-variance", "E5-loss"],
    "sims white-box": [
        "--images", "4", "--defenses", "none", "random-purifier", "--evaluations", "3",
        "--attacks", "pgd:steps=3,eot=2", "apgd-ce:steps=5,route=around",
    ],
    "sims compare": ["--dry-run"],
    "sims compare-white-box": ["--dry-run"],
    "sims bench": ["--dry-run"],
    "sims masking": ["--dry-run"],
    "figures list": [],
    "figures second-moment": [],
    "figures summary": [],
}  # fmt: skip
SHORT = (
    "theory list",
    "theory eval",
    "defenses",
    "sims attacks",
    "sims compare",
    "sims bench",
    "sims masking",
    "figures list",
)


@pytest.fixture(scope="module")
def golden(request):
    writes = request.config.getoption("--write-golden")
    document = json.loads(GOLDEN.read_text())
    if writes and document["machine"] != machine():
        document = {"machine": machine(), "printed": {}, "attacks": {}}  # bits of two machines are not mixed
    yield document
    if writes:
        GOLDEN.write_text(json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


@pytest.fixture(scope="module")
def out(tmp_path_factory, models):
    """A results folder of its own: what is drawn and summed up is what was run here."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "models").symlink_to(models)
    return folder


def machine() -> str:
    """What bits depend on: the processor's instructions and the versions of JAX and NumPy."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        flags = None
    text = " ".join(sorted(flags[1].split())) if flags else platform.processor()
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{platform.machine()} {digest}, jax {version('jax')}, numpy {version('numpy')}"


def printed(command: str, out: Path, capsys, *more: str) -> dict:
    """The JSON document of one command, without what is measured anew in every run and where it ran."""
    folder, name = command.split()
    arguments = [*([] if command == "figures list" else [name]), *COMMANDS[command], *more, "--json"]
    if folder != "theory" and name not in ("list", "data", "attacks", "white-box-attacks"):
        arguments += ["--out", str(out)]
    if command == "defenses data":
        arguments += ["--data-dir", str(out / "data")]  # nothing is there
    status = import_module(f"{folder}.command_line").main(arguments)
    document = json.loads(capsys.readouterr().out)
    return {"status": status, "document": without(document)}


def without(document):
    """The document without what is measured anew and where it lies."""
    if isinstance(document, dict):
        return {key: without(value) for key, value in document.items() if key not in MEASURED_ANEW | PLACES}
    return [without(entry) for entry in document] if isinstance(document, list) else document


def form(document):
    """Keys, texts and numbers of entries; every number is 0, and so is a hash of weights, which are other bits."""
    if isinstance(document, dict):
        return {key: 0 if key == "sha256" else form(value) for key, value in document.items()}
    if isinstance(document, list):
        return [form(entry) for entry in document]
    return document if isinstance(document, str | None) else 0


def check(expected, found, golden):
    if golden["machine"] == machine():
        assert found == expected
    else:
        assert form(found) == form(expected)


@pytest.mark.parametrize(
    "command",
    [pytest.param(command, marks=[pytest.mark.slow] * (not command.startswith(SHORT))) for command in COMMANDS],
)
def test_what_the_command_prints(command, golden, out, capsys, request):
    found = json.loads(json.dumps(printed(command, out, capsys)))
    if request.config.getoption("--write-golden"):
        golden["printed"][command] = found
    check(golden["printed"][command], found, golden)


FEW = {"attack": ["nes", "square"], "defense": ["none", "random-purifier"]}


def test_the_bits_of_two_attacks_on_two_defences(golden, tmp_path, models, capsys):
    """Some of the golden rows and bits, in the fast set: a row does not depend on those beside it."""
    (tmp_path / "models").symlink_to(models)
    found = printed("sims attack", tmp_path, capsys, "--attacks", *FEW["attack"], "--defenses", *FEW["defense"])
    rows = json.loads(json.dumps(found))["document"]["rows"]
    whole = golden["printed"]["sims attack"]["document"]["rows"]
    assert len(rows) == 4
    check([row for row in whole if all(row[axis] in FEW[axis] for axis in FEW)], rows, golden)
    if golden["machine"] == machine():
        bits = bits_of_cells(tmp_path)
        assert bits == {name: golden["attacks"][name] for name in bits}


@pytest.mark.slow
def test_the_bits_of_three_attacks_on_three_defences(golden, out, request):
    """20 digits: final images, query counts and success."""
    found = bits_of_cells(out)
    if request.config.getoption("--write-golden"):
        golden["attacks"] = found
    if golden["machine"] != machine():
        pytest.skip(f"bits belong to {golden['machine']}, this is {machine()}")
    assert found == golden["attacks"]


def bits_of_cells(out: Path) -> dict[str, dict]:
    """Final images, query counts and success of every cell of the newest record of `attack`."""
    record = store.latest(out, "attack")
    names = [f"{attack} on {defense}" for attack in record.data.attack.values for defense in record.data.defense.values]
    cells = {name: store.read(out / "attack" / "cells" / record.manifest["cells"][name]) for name in names}
    return {
        name: {
            "images": hashlib.sha256(store.pixels_of(cell, "adversarial").tobytes()).hexdigest(),
            "queries": cell.data.queries.values.tolist(),
            "success": cell.data.success.values.tolist(),
        }
        for name, cell in cells.items()
    }


def test_an_altered_run_is_noticed(golden):
    """The comparison can fail: one count, one bit, one text."""
    one = golden["attacks"]["square on none"]
    assert one != one | {"queries": [one["queries"][0] + 1, *one["queries"][1:]]}
    shown = golden["printed"]["sims attacks"]
    renamed = json.loads(json.dumps(shown).replace("square", "squares"))
    assert form(renamed) != form(shown)

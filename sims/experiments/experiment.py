"""What every experiment has in common: its record, the table of experiments, and the context it runs in."""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from defenses.files.folders import Folders
from defenses.options.names import Choice
from defenses.options.ranges import check_counts, check_different
from sims.attacks.attack import Threat
from sims.engine.checkpoint import fingerprint
from sims.records.key import settings_of
from sims.records.store import Record

# name: (module, purpose); a new experiment is a new file and a new line
EXPERIMENTS = {
    "verify": ("sims.experiments.verify", "every statement on certified instances and on a real network"),
    "moments": ("sims.experiments.moments", "moments, bias and cosine of a gradient estimate against μ"),
    "diversity": ("sims.experiments.diversity", "V, Δ, ν and ν₂ of a purifier pool against its size"),
    "members": ("sims.experiments.members", "the answers of a pool's members one by one, and of their patches"),
    "pool": ("sims.experiments.pool.run", "train a pool of local implicit purifiers, and judge its members"),
    "convergence": ("sims.experiments.convergence", "ZO-SGD against its exact recursion, and on a real network"),
    "attack": ("sims.experiments.attack.run", "robust accuracy against queries, deterministic, randomised and null"),
    "white-box": (
        "sims.experiments.white_box.run",
        "robust accuracy against gradients, through a defence or around it",
    ),
    "masking": ("sims.experiments.masking", "is a defence robust, or does it hide its gradient?"),
    "compare": (
        "sims.peers.comparison",
        "our attacks beside Foolbox, ART and torchattacks; needs the extra [peers]",
    ),
    "compare-white-box": (
        "sims.peers.white_box_comparison",
        "our white-box attacks beside torchattacks and AutoAttack; needs the extra [peers]",
    ),
    "cost": ("sims.experiments.cost", "what an answer costs behind each defence, as ratios in one run"),
    "bench": ("sims.experiments.bench.run", "overhead and waste of the engine, as ratios in one run"),
}
PLANNED_TO = 1.5  # the factor to which a plan tells a run's memory
KINDS = {type(None): {type(None), str}, float: {int, float}}  # what may stand for a default of that type


class Plan(NamedTuple):
    """What a run will cost at most: rows to forward, seconds on two cores, and megabytes of memory."""

    rows: int
    seconds: float
    megabytes: float


def check_memory(plan: Plan) -> None:
    """Raise ValueError where a run needs more memory than this machine has, even if the plan is half too high.

    Windows does not tell its memory through `os`: nothing is checked there.
    """
    if os.name != "posix":
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    if plan.megabytes > PLANNED_TO * there:
        raise ValueError(
            f"the run needs about {plan.megabytes:,.0f} MB of memory, this machine has {there:,.0f} MB; "
            f"ask for less (--dry-run says what it needs)"
        )


class Context(NamedTuple):
    """Where a run may write and how it reports.

    folders: of trained weights and of data. checkpoints: folder for saved states, removed when the record is whole.
    cells: folder for the records that the run is joined from. advance: (task, done, total) shows progress on stderr.
    """

    folders: Folders
    checkpoints: Path
    cells: Path
    advance: Callable[[str, int, int], None]

    def state_of(self, *parts: str) -> Path:
        """Where a part of the run saves its state: under a hash, since file systems refuse characters of a choice."""
        return self.checkpoints / fingerprint(*parts)[:16]


class Experiment(NamedTuple):
    """Config: a frozen dataclass. plan: config -> Plan. run: (config, context) -> (data, facts for the manifest).

    inputs: (config, folders) -> what is read from files, with hashes; ValueError where it is missing.
    report: (data, manifest) -> a JSON document; its "rows" are shown as a table, and "ok" False means exit status 1.
    columns: those of the rows that the printed table shows, in that order; none given means all.
    recheck: (record, context) -> a report on the claims of a saved record; None where there is nothing to recheck.
    threats: config -> what its attackers may do, where it attacks.
    choices: config -> the attacks that it makes beside those that the configuration names.
    """

    config: type
    plan: Callable[[Any], Plan]
    run: Callable[[Any, Context], tuple[xr.Dataset, dict[str, Any]]]
    report: Callable[[xr.Dataset, dict[str, Any]], dict[str, Any]]
    inputs: Callable[[Any, Folders], dict[str, Any]] = lambda config, folders: {}
    columns: tuple[str, ...] = ()
    recheck: Callable[[Record, Context], dict[str, Any]] | None = None
    threats: Callable[[Any], list[Threat]] = lambda config: []
    choices: Callable[[Any], tuple[Choice, ...]] = lambda config: ()


def find_experiment(name: str) -> Experiment:
    """The experiment of that name, imported now; ValueError lists the known ones."""
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {name!r}")
    return import_module(EXPERIMENTS[name][0]).EXPERIMENT


def saved_settings(record: Record, experiment: str, default: Any) -> dict[str, Any]:
    """The settings in a record's manifest, as JSON values; default: the experiment's configuration without options.

    Raises ValueError for a record of another experiment, and for a setting that is missing where its default is not
    None, that has no default, or that is of another type.
    """
    if record.manifest["experiment"] != experiment:
        raise ValueError(f"record {record.folder} must be one of `python -m sims {experiment}`")
    saved = record.manifest["config"]
    for name in _strange(saved, settings_of(default)):
        raise ValueError(f"record {record.folder} must have settings as this version saves them, {name} is none")
    return saved


def _strange(saved: Any, default: Any, name: str = "") -> Iterator[str]:
    """The names of settings that are not of the default's kind, or that have no default."""
    if isinstance(default, dict) and isinstance(saved, dict):
        for key in default | saved:
            yield from _strange(saved.get(key), default[key], key) if key in default else [key]
    elif isinstance(default, list) and isinstance(saved, list):
        for part in saved:
            yield from _strange(part, default[0], name)
    elif type(saved) not in KINDS.get(type(default), {type(default)}):
        yield name


def check_common(config: Any, *different: str, **smallest: int) -> None:
    """Raise ValueError naming the first setting outside its range.

    different: lists that name at least one entry and repeat none. smallest: counts with their smallest allowed value.
    A seed must fit 32 bits.
    """
    check_counts(config, **smallest)
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"seed must be >= 0 and < 2**32, got {config.seed}")
    check_different(config, *different)

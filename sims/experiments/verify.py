"""Verify: every statement of the catalogue on certified instances, on real networks, with negative controls."""

import itertools
import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import jax
import tyro
import xarray as xr

from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.verification import networks
from sims.verification.check import Check, Row, run_check
from sims.verification.controls import controls
from sims.verification.rules import complaints, mean_square_deviation
from sims.verification.verdict import FAILING
from sims.victims.victim import VictimOptions, check_one_model, seconds_per_row, victim_inputs
from theory.catalogue import CATALOGUE, SECTIONS, find


@dataclass(frozen=True)
class Config:
    """Check statements against simulation; by default all of them."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    statements: tuple[str, ...] = ()
    """Labels to check, e.g. E3-forward; none given means all."""
    quick: bool = False
    """Leave out the rows of a large dimension and those on networks."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown label or one twice, or a negative seed."""
        check_common(self, *(["statements"] if self.statements else []))
        check_one_model(self.victim)
        for label in self.statements:
            find(label)


def plan(config: Config) -> Plan:
    """About sixty million function values, and some hundred thousand network rows; a quick run has half of the first.

    On the large dimension a value costs as much as twenty.
    """
    share = len(config.statements or CATALOGUE) / len(CATALOGUE)
    if config.quick:
        return Plan(int(32_000_000 * share), 40 * share, 700)
    return Plan(int(64_000_000 * share), share * (90 + 400_000 * seconds_per_row(config.victim)), 900)


def certified_checks() -> list[Check]:
    """Every row whose constants are known exactly, apart from the network of orthogonal layers."""
    return [check for name in SECTIONS for check in import_module(f"sims.verification.{name}").checks()]


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Run the checks of the chosen statements and all controls."""
    key, labels = jax.random.key(config.seed), frozenset(config.statements or CATALOGUE)
    context.advance("networks", 0, 1)
    on_networks = _key_of(key, "networks"), config.victim, context.folders, labels
    checks, constants = ([], []) if config.quick else networks.checks(*on_networks)
    context.advance("networks", 1, 1)
    checks = [check for check in certified_checks() if not (config.quick and check.slow)] + checks
    wanted = [check for check in checks if check.label in labels]
    rows = _each(context, "statements", wanted, lambda c: run_check(_key_of(key, f"{c.label} {c.instance}"), c))
    broken = list(controls())
    verdicts = _each(context, "negative controls", broken, lambda c: c.noticed(_key_of(key, c.name)))
    mean, count = mean_square_deviation([row for row in rows if row.check.certified])
    facts = {
        "constants": constants,
        "complaints": complaints(rows),
        "deviations": {"count": count, "mean_square": mean if count else None},
    }
    return _dataset(rows, dict(zip([c.name for c in broken], verdicts, strict=True))), facts


def _each(context: Context, task: str, items: list, judge: Callable[[Any], Any]) -> list:
    """judge(item) for every item, two at a time: most of the time is compilation, which uses one core.

    One from either half: neighbours often share a program, and would wait for each other.
    """
    results, half = [], -(-len(items) // 2)
    pairs = itertools.zip_longest(range(half), range(half, len(items)))
    order = [place for pair in pairs for place in pair if place is not None]
    context.advance(task, 0, len(items))
    with ThreadPoolExecutor(max_workers=2) as pool:
        for result in pool.map(judge, [items[place] for place in order]):
            results.append(result)
            context.advance(task, len(results), len(items))
    by_place = dict(zip(order, results, strict=True))
    return [by_place[place] for place in range(len(items))]


def _key_of(key: jax.Array, name: str) -> jax.Array:
    """A key of its own for every row, whatever other rows there are."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _dataset(rows: list[Row], verdicts: dict[str, bool]) -> xr.Dataset:
    columns: dict[str, list] = {
        "label": [row.check.label for row in rows],
        "instance": [row.check.instance for row in rows],
        "status": [row.bound.status for row in rows],
        "sense": [row.bound.sense for row in rows],
        "certified": [row.check.certified for row in rows],
        "measured": [row.measured.value for row in rows],
        "error": [row.measured.standard_error for row in rows],
        "bound": [row.limit for row in rows],
        "tightness": [row.measured.value / row.limit for row in rows],
        "expected": [math.nan if row.expected is None else row.expected for row in rows],
        "violated": [row.verdict.violated for row in rows],
        "holds": [row.verdict.holds for row in rows],
        "tight": [row.verdict.tight for row in rows],
        "verdict": [row.verdict.word for row in rows],
        "assumptions": ["; ".join(a.text for a in row.bound.assumptions) for row in rows],
        "violated_assumptions": ["; ".join(row.violated_assumptions) for row in rows],
    }
    data: dict[str, Any] = {name: ("row", values) for name, values in columns.items()}
    data["caught"] = ("control", list(verdicts.values()))
    return xr.Dataset(data, {"control": list(verdicts)})


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """The rows, the controls, and `ok`: proven statements hold on certified instances and every control is noticed.

    Nor may the rows be wrong as a whole (`complaints`).
    """
    names = ("label", "instance", "status", "certified", "measured", "error", "bound", "tightness", "holds", "verdict")
    rows = [
        {name: data[name][i].item() for name in names}
        | {
            "expected": _number(data.expected[i].item()),
            "violated_assumptions": data.violated_assumptions[i].item() or None,
        }
        for i in range(data.sizes["row"])
    ]
    proven = [row for row in rows if row["certified"] and row["status"] == "proven"]
    verdicts = [{"name": str(name), "caught": bool(data.caught[i])} for i, name in enumerate(data.control.values)]
    held, failed = sum(row["holds"] for row in proven), [row for row in rows if row["verdict"] in FAILING]
    return {
        "rows": rows,
        "controls": verdicts,
        "constants": manifest["constants"],
        "proven_certified": f"{held} of {len(proven)} rows hold",
        "statements": len({row["label"] for row in rows}),
        "deviations": manifest["deviations"],
        "complaints": manifest["complaints"],
        "violated": [f"{row['label']} ({row['status']}) on {row['instance']}: {row['verdict']}" for row in failed],
        "ok": held == len(proven) and all(control["caught"] for control in verdicts) and not manifest["complaints"],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)

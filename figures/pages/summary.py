"""The closing table: slow-down predicted and measured, robust accuracy, statements, controls."""

import shlex
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from figures.plot import victim_options
from figures.registry import PLOTS
from figures.rendering import files
from sims.records.store import Record, latest, manifests, read

SLOWED = "nes"
"""The attack whose slow-down is predicted."""
WIDTH = 110


def summarise(out: Path) -> dict[str, Any]:
    """The numbers of the closing table: the newest record `attack` under `out`, and `verify` of the same victim.

    Raises ValueError naming the command that makes a record which is missing, damaged or without its report.
    """
    attack = latest(out, "attack")
    victim = victim_options(attack)
    verify = _verification(out, victim)
    report = _report(attack, "attack")
    made = [str(path) for name in PLOTS for path in files(name, out) if path.exists()]
    return {
        "model": ", ".join(victim["model"]),
        "dataset": victim["dataset"],
        **{key: report[key] for key in ("query_budget", "norm", "epsilon", "stopping")},
        "images": attack.data.sizes["image"],
        "defenses": _defenses(report["rows"]),
        "statements": _statements(verify),
        "controls": _controls(verify),
        "figures": {"folder": str(out / "figures"), "files": made},
    }


def _verification(out: Path, victim: dict[str, Any]) -> Record:
    """The newest record `verify` of that victim; ValueError names the command that makes one."""
    for manifest in manifests(out, "verify"):
        record = read(manifest.parent)
        if record.manifest["config"].get("victim") == victim:
            return record
    given = {key: value if isinstance(value, list) else [value] for key, value in victim.items() if value is not None}
    options = [word for key, values in given.items() for word in (f"--{key}", *values)]
    raise ValueError(
        f"no record of verify of {', '.join(victim['model'])} on {victim['dataset']} under {out}, which was attacked; "
        f"run `{shlex.join(['python', '-m', 'sims', 'verify', *options])}` first"
    )


def _report(record: Record, experiment: str) -> dict[str, Any]:
    if not record.manifest["report"].get("rows"):
        raise ValueError(f"record {record.folder} has no report; run `python -m sims {experiment}` again")
    return record.manifest["report"]


def _defenses(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per defence, in the order of the record: the first is the reference."""
    slowed = [row for row in rows if row["attack"] == SLOWED]
    if not slowed:
        raise ValueError(f"the attack record has no {SLOWED}; run `python -m sims attack` again")
    return [
        {
            "defense": row["defense"],
            "V": row["V"],
            "slow_down_predicted": row["slow_down_predicted"],
            "slow_down": row["slow_down"],
            "slow_down_interval": row["slow_down_interval"],
            "evaluations": row["evaluations"],
            "robust_accuracy": {
                other["attack"]: {
                    "value": other["robust_accuracy"],
                    "interval": other["interval"],
                    "average_of_n": other["robust_average_of_n"],
                    "worst_of_n": other["robust_worst_of_n"],
                }
                for other in rows
                if other["defense"] == row["defense"]
            },
        }
        for row in slowed
    ]


def _statements(verify: Record) -> dict[str, Any]:
    """Rows on certified instances: how many of the proven ones hold, and what was violated."""
    rows = _report(verify, "verify")["rows"]
    certified = [row for row in rows if row["certified"]]
    proven = [row for row in certified if row["status"] == "proven"]
    failed = [row for row in certified if row["verdict"] == "violated"]
    return {
        "labels": len({row["label"] for row in proven}),
        "held": sum(row["holds"] for row in proven),
        "tested": len(proven),
        "not_held": [_named(row) for row in proven if not row["holds"]],
        "variants_violated": [_named(row) for row in failed if row["status"] == "variant"],
    }


def _named(row: dict[str, Any]) -> str:
    return f"{row['label']} on {row['instance']}"


def _controls(verify: Record) -> dict[str, int]:
    controls = _report(verify, "verify")["controls"]
    return {"caught": sum(control["caught"] for control in controls), "all": len(controls)}


def page() -> Console:
    """Where a summary is printed by default: at most 110 columns where the output is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the summary as a table and a few lines."""
    console.print(_table(summary))
    statements, controls, figures = summary["statements"], summary["controls"], summary["figures"]
    lines = [
        f"proven statements, certified rows: {statements['held']} of {statements['tested']} hold "
        f"({statements['labels']} statements)",
        *(f"  does not hold: {name}" for name in statements["not_held"]),
        f"recalled variants violated: {'; '.join(statements['variants_violated']) or 'none'}",
        f"negative controls caught: {controls['caught']} of {controls['all']}",
        f"figures: {len(figures['files'])} files in {figures['folder']}",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _table(summary: dict[str, Any]) -> Table:
    title = (
        f"{summary['model']} on {summary['dataset']}\n"
        f"{summary['images']} images, {summary['query_budget']} queries each, "
        f"{summary['norm']} distance at most {summary['epsilon']}, {summary['stopping']}; 95 % intervals in brackets"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    attacks = list(summary["defenses"][0]["robust_accuracy"])
    table.add_column("defence", no_wrap=True)
    for heading in ("V", "slow-down\npredicted", f"slow-down\nmeasured ({SLOWED})"):
        table.add_column(heading, justify="right")
    for attack in attacks:
        table.add_column(f"robust %\n{attack}", justify="right")
    for row in summary["defenses"]:
        shares = [row["robust_accuracy"][attack] for attack in attacks]
        table.add_row(row["defense"], *_slow_down_cells(row), *(_share(share) for share in shares))
        if row["evaluations"] > 1:
            fresh = f"  average, worst of {row['evaluations']}"
            table.add_row(fresh, "", "", "", *(_fresh(share) for share in shares), style="dim")
    return table


def _slow_down_cells(row: dict[str, Any]) -> tuple[str, str, str]:
    low, high = row["slow_down_interval"]
    predicted = row["slow_down_predicted"]
    return (
        "–" if row["V"] is None else f"{row['V']:.3g}",
        "–" if predicted is None else f"{predicted:.2f}",
        f"{row['slow_down']:.2f} \\[{low:.2f}, {high:.2f}]",
    )


def _fresh(share: dict[str, Any]) -> str:
    return f"{100 * share['average_of_n']:.0f}, {100 * share['worst_of_n']:.0f}"


def _share(share: dict[str, Any]) -> str:
    low, high = share["interval"]
    return f"{100 * share['value']:.0f} \\[{100 * low:.0f}, {100 * high:.0f}]"

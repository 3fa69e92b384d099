"""The tables of the READMEs, printed from the records that are shipped under figures/data.

A README says where a table stands by the line `<!-- table NAME -->` before it and `<!-- end -->` after it.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from figures.pages import summary
from sims.records.store import read

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "figures" / "data"
PLACES = ("", "theory/**/", "defenses/**/", "sims/**/", "figures/**/")  # of READMEs
MARKED = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
WHITE_BOX = {
    "fgsm": "FGSM",
    "pgd:eot=10": "PGD-20, EOT 10",
    "apgd-ce:eot=10": "APGD-CE, EOT 10",
    "pgd:route=around,eot=10": "BPDA: PGD-20 around, EOT 10",
    "pgd:route=blind": "PGD-20 blind to the defence",
}
Report = dict[str, Any]


def write(root: Path = ROOT) -> list[Path]:
    """Print every table of the READMEs under `root` anew; returns those that changed.

    Raises ValueError for a table that is none, and where no README is, as in an installed package.
    """
    readmes = [path for place in PLACES for path in sorted(root.glob(f"{place}README.md"))]
    if not readmes:
        raise ValueError(f"tables are those of the READMEs of a clone, {root} has none")
    old = {path: path.read_text() for path in readmes}
    new = {path: MARKED.sub(_printed, text) for path, text in old.items()}
    changed = [path for path in readmes if new[path] != old[path]]
    for path in changed:
        path.write_text(new[path])
    return changed


def _printed(match: re.Match[str]) -> str:
    before, name, _, after = match.groups()
    if name not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
    return f"{before}{TABLES[name]()}{after}"


def closing() -> str:
    """The closing table of the main job."""
    page = io.StringIO()
    summary.show(summary.summarise(DATA / "main-job"), Console(file=page, width=summary.WIDTH, highlight=False))
    lines = [line.rstrip() for line in page.getvalue().splitlines() if not line.startswith("figures: ")]
    return "\n".join(["```", *lines, "```\n"])


def claims() -> str:
    """What every attack claims of a random defence, and what fresh draws leave."""
    reports = {norm: _report(f"random-victims/{norm}/attack/digits") for norm in ("linf", "l2")}
    linf, l2 = (sorted({row["attack"] for row in report["rows"]}) for report in reports.values())
    pairs = [("linf", attack) for attack in linf] + [("l2", attack) for attack in l2 if attack not in linf]
    lines = [_claims_line(reports[norm], attack, norm) for norm, attack in pairs]
    titles = [title for name in ("noise", "patch-wise") for title in (f"{name}: claim", "draws", "no draw fools")]
    return _table(["attack", "no defence", *titles], lines)


def _claims_line(report: Report, attack: str, norm: str) -> list[str]:
    alone, *random = [row for row in report["rows"] if row["attack"] == attack]
    shares = [row[of] for row in random for of in ("robust_accuracy", "robust_average_of_n", "robust_worst_of_n")]
    title = attack if norm == "linf" else f"{attack} (ℓ2)"
    return [title, *(f"{100 * share:.0f}" for share in (alone["robust_accuracy"], *shares))]


def compare() -> str:
    """Our query attacks beside public implementations."""
    reports = [_report(f"compare/{name}") for name in ("score", "simba", "walks", "rays")]
    titles = ["pair", "ours", "theirs", "compared", "rows", "seconds", "alone → batch"]
    return _table(titles, [line for report in reports for line in _compared(report)])


def _compared(report: Report) -> Iterator[list[str]]:
    costs, times, batches = ({row["pair"]: row for row in report[part]} for part in ("costs", "times", "batches"))
    for row in report["rows"]:
        pair, robust = row["pair"], row["measure"] == "robust accuracy"
        scale, sign, digits, unit = (100, "+", 1, " %") if robust else (1, "", 2, "")
        ours, theirs = (f"{scale * row[side]:.{digits}f}{unit}" for side in ("ours", "theirs"))
        value, low, high = (f"{scale * number:{sign}.{digits}f}" for number in (row["value"], *row["interval"]))
        forwarded = " / ".join(f"{costs[pair][f'forwarded_{side}']:.0f}" for side in ("ours", "theirs"))
        seconds = " / ".join(f"{times[pair][f'processor_{side}']:.0f}" for side in ("ours", "theirs"))
        gap = "–"
        if pair in batches:
            alone, together = (batches[pair][f"theirs_{how}"] for how in ("alone", "together"))
            gap = f"{scale * alone:.{digits}f}{unit} → {scale * together:.{digits}f}{unit}"
        yield [pair, ours, theirs, f"{value} [{low}, {high}]", forwarded, seconds, gap]


def compare_white_box(dataset: str) -> str:
    """Our white-box attacks beside public ones, on the networks of one data set."""
    records = [read(folder) for folder in sorted((DATA / "compare-white-box").iterdir())]
    chosen = [one.manifest for one in records if one.manifest["config"]["victim"]["dataset"] == dataset]
    lines = [line for manifest in chosen for line in _compared_white_box(manifest["config"], manifest["report"])]
    return _table(["victim, radius, starts", "pair", "ours", "theirs", "difference"], lines)


def _compared_white_box(config: dict[str, Any], report: Report) -> Iterator[list[str]]:
    victim, starts = config["victim"], f"{config['starts']} start{'s' * (config['starts'] > 1)}"
    where = f"{', '.join(victim['model'])} on {victim['dataset']}, {255 * config['epsilon']:.0f}/255, {starts}"
    for row in report["rows"]:
        gap, low, high = (f"{100 * share:+.1f}" for share in (row["difference"], *row["interval"]))
        left = [f"{100 * row[side]:.1f} %" for side in ("ours", "theirs")]
        yield [where, row["pair"], *left, f"{gap} [{low}, {high}]"]


def purifiers() -> str:
    """White-box attacks on the digits' purifiers: the average over draws, in brackets the share right in all."""
    rows = _report("white-box/purifiers")["rows"]
    lines = [[name, *(_left(row) for row in rows if row["attack"] == attack)] for attack, name in WHITE_BOX.items()]
    return _table(["attack", "no defence", "average", "random", "patch-wise"], lines)


def _left(row: dict[str, Any]) -> str:
    worst = f" ({100 * row['robust_worst_of_n']:.0f})" if row["evaluations"] > 1 else ""
    return f"{100 * row['robust_average_of_n']:.0f}{worst}"


def _report(folder: str) -> Report:
    return read(DATA / folder).manifest["report"]


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TABLES: dict[str, Callable[[], str]] = {
    "closing": closing,
    "claims": claims,
    "compare": compare,
    "compare-white-box-cifar10": lambda: compare_white_box("cifar10"),
    "compare-white-box-digits": lambda: compare_white_box("digits"),
    "white-box-purifiers": purifiers,
}

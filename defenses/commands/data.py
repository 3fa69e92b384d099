"""The command `data`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from defenses.commands.tables import print_table
from defenses.files.folders import data_folder


@dataclass(frozen=True)
class Data:
    """List the data sets and published weights with what of them is here; `fetch NAME` gets one."""

    action: Annotated[Literal["list", "fetch"], tyro.conf.Positional] = "list"
    """What to do."""
    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None
    """Data set or file of published weights to fetch, one of those listed."""
    from_folder: Annotated[Path | None, tyro.conf.arg(name="from", metavar="FOLDER")] = None
    """Take it from this folder instead of its official address; its sha256 is checked all the same."""
    data_dir: Path = field(default_factory=data_folder)
    """Folder of data sets and published weights; $PUREBOUND_DATA changes the default."""
    json: bool = False
    """Print one JSON document on stdout and nothing else."""

    def run(self) -> None:
        """Print what is here, or fetch one data set or file and print what was written."""
        if self.action == "fetch":
            self._fetch()
        elif self.name is not None or self.from_folder is not None:
            raise ValueError("`data list` takes no NAME and no --from: `data fetch NAME` gets a data set or weights")
        else:
            self._list()

    def _fetch(self) -> None:
        from defenses.commands.fetching import fetch
        from defenses.commands.interruption import unwinding

        if self.name is None:
            raise ValueError("`data fetch` needs the NAME of a data set or a file of published weights")
        with unwinding():
            written = [str(path) for path in fetch(self.name, self.data_dir, self.from_folder)]
        if self.json:
            print(json.dumps({"name": self.name, "written": written}))
        else:
            files = f"{len(written):,} file{'s' if len(written) > 1 else ''} written to {self.data_dir}"
            print(f"{self.name}: {files if written else 'here already'}")

    def _list(self) -> None:
        tables = {"datasets": _datasets(self.data_dir), "weights": _weights(self.data_dir)}
        if self.json:
            print(json.dumps(tables))
            return
        rows = [[row["name"], _here(row), row["title"], row["terms"]] for row in tables["datasets"]]
        print_table(f"data sets in {self.data_dir}", ["name", "here", "what", "source and terms"], rows)
        rows = [[row["file"], _here(row), row["model"], row["dataset"]] for row in tables["weights"]]
        print_table(f"published weights in {self.data_dir / 'weights'}", ["file", "here", "model", "trained on"], rows)


def _datasets(folder: Path) -> list[dict[str, Any]]:
    from defenses.data.sources import SOURCES

    return [
        {
            "name": name,
            **source.presence(folder)._asdict(),
            "title": source.title,
            "terms": source.terms,
            "addresses": list(source.download.addresses) if source.download else [],
        }
        for name, source in SOURCES.items()
    ]


def _weights(folder: Path) -> list[dict[str, Any]]:
    from defenses.commands.fetching import weights_layout
    from defenses.data.sources import files_presence
    from defenses.weights.published import PUBLISHED

    return [
        {
            "file": published.file,
            "state": files_presence([weights_layout(published)], folder).state,
            "model": published.model,
            "dataset": published.dataset,
            "sha256": published.sha256,
            "address": published.address,
        }
        for published in PUBLISHED
    ]


def _here(row: dict[str, Any]) -> str:
    """The state of a row in words: how many images, or which files are the matter."""
    if row.get("altered"):
        return f"altered: {', '.join(row['altered'])}"
    if row["state"] == "partial" and row["missing"]:
        return f"partial, without {', '.join(row['missing'])}"
    images = [f"{row[part]:,} {part}" for part in ("train", "test") if row.get(part)]
    return ": ".join([row["state"], *([" + ".join(images)] if images else [])])

"""Files that list the classes of a data set in the order of their labels."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Classes(NamedTuple):
    """The classes in the order of their labels: wnids, the names of their folders, and names to read."""

    wnids: tuple[str, ...]
    names: tuple[str, ...]


def listed(file: Path) -> Classes:
    """The classes of a JSON file: a list of names in the order of the labels, or of {index, wnid, name}.

    A wnid is WordNet's id, after which ImageNet's folders are named. In a list of names it is the name.
    Raises ValueError that names the file where it is missing or no such list.
    """
    try:
        entries = json.loads(file.read_bytes())
        if not isinstance(entries, list) or not entries:
            raise ValueError("no list, or an empty one")
        if all(isinstance(entry, str) for entry in entries):
            return Classes(tuple(entries), tuple(entries))
        entries.sort(key=lambda entry: entry["index"])
        if [entry["index"] for entry in entries] != list(range(len(entries))):
            raise ValueError("another index")
        wnids, names = (tuple(str(entry[key]) for entry in entries) for key in ("wnid", "name"))
        return Classes(wnids, names)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        allowed = "a JSON list of names, or of {index, wnid, name} with indices 0, 1, 2, …"
        raise ValueError(f"{file} must be {allowed} ({error})") from error


def labels_of(named: Mapping[str, str], known: Classes, file: Path) -> dict[str, int]:
    """The label of every name, that of a wnid, else of the class that alone is called so, else the number that it is.

    named: what messages call each name. file: where the known classes come from.
    Raises ValueError for a name that is none of these, or classes of which two have one wnid.
    """
    wnid, count = Counter(known.wnids).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{file} must list every class once, it has {wnid!r} twice or more")
    shared, last = Counter(known.names), len(known.names) - 1
    labels = {name: label for label, name in enumerate(known.names) if shared[name] == 1}
    labels |= {wnid: label for label, wnid in enumerate(known.wnids)}
    found = {name: labels.get(name, int(name) if name.isdecimal() else -1) for name in named}
    for name, label in found.items():
        if not 0 <= label <= last:
            allowed = (
                f"the name or the wnid of exactly one of the {last + 1} classes of {file}, or its number 0..{last}"
            )
            raise ValueError(f"{named[name]} must have {allowed}")
    return found

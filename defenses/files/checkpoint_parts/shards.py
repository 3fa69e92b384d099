"""Checkpoints in several files, shards: an index beside them, in JSON, says which array lies in which.

Source: `save_torch_state_dict` of huggingface_hub, and `save_pretrained` of transformers.
"""

import hashlib
import json
import re
from pathlib import Path

INDEX = ".index.json"
_SHARD = re.compile(r"(.+)-[0-9]{5}-of-([0-9]{5})(\.\w+)")


def is_index(path: Path) -> bool:
    """Whether the file is an index of shards, by its name."""
    return path.name.endswith(INDEX)


def require_no_shard(path: Path) -> None:
    """Raise ValueError for a file that holds a part of a network, by its name."""
    shard = _SHARD.fullmatch(path.name)
    if shard and int(shard[2]) > 1:
        stem, count, suffix = shard.groups()
        raise ValueError(f"{path}: is one of {int(count)} shards of a network: give their index, {stem}{suffix}{INDEX}")


def shards(path: Path) -> dict[Path, set[str]]:
    """The files of an index, in the order of their names, and the names of the arrays that each must hold.

    Raises ValueError for a file that is no such index, or that names files that are not beside it.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no index of shards, in JSON ({error})") from error
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(file, str) for file in places.values()):
        raise ValueError(f"{path}: is no index of shards: its weight_map must name a file for every array")
    if strange := [file for file in places.values() if not _SHARD.fullmatch(file) or "/" in file or "\\" in file]:
        raise ValueError(f"{path}: is no index of shards: it names {strange[0]!r:.80}, which is no shard beside it")
    names: dict[Path, set[str]] = {path.with_name(file): set() for file in sorted(set(places.values()))}
    for name, file in places.items():
        names[path.with_name(file)].add(name)
    if absent := [file for file in names if not file.is_file()]:
        raise ValueError(f"{path}: names {absent[0].name}, which is not beside it")
    return names


def digest(path: Path) -> str:
    """The sha256 of a file in hexadecimal; of an index, that of its bytes and then those of its shards.

    Raises ValueError as `shards` does, OSError where a file can't be read.
    """
    found = hashlib.sha256()
    for part in (path, *shards(path)) if is_index(path) else (path,):
        with part.open("rb") as content:
            hashlib.file_digest(content, lambda: found)
    return found.hexdigest()

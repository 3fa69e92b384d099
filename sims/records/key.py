"""The key of a record: the question, what it reads from files, and the code and the versions that answer it.

The same question to the same code is answered from the record.
"""

import dataclasses
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sims.records.store import file_digest

VERSIONS = ("jax", "jaxlib", "flax", "optax")  # whose results may differ from one to the next


def key_of(question: Any, code: str) -> str:
    """16 hexadecimal digits that stand for a question (JSON values and paths) to the code of that hash."""
    text = json.dumps([question, versions(), code], sort_keys=True, default=_content)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Those that keys depend on."""
    return {name: version(name) for name in VERSIONS}


def settings_of(value: Any) -> Any:
    """A configuration as JSON values, but for paths: what is read from text (a choice, a rule) is that text again."""
    if dataclasses.is_dataclass(value) and "__str__" not in vars(type(value)):
        return {field.name: settings_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [settings_of(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str | Path) else str(value)


def _content(value: Any) -> str:
    """What stands for a setting that is no JSON value: of a file its content, not its place."""
    if isinstance(value, Path) and value.is_file():
        return file_digest(value)
    return str(value)

"""The modules that stand behind what was chosen, by their dotted names: those of the rows, since tables have many."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.files.python_sources import of_this_project
from defenses.options.names import Choice
from defenses.own.source import is_own, own_sources
from defenses.zoo import SMALL
from sims.records.code import modules_of
from sims.white_box.table import members


def chosen_modules(value: Any) -> Iterator[str]:
    """Those of every choice in a configuration or in a part of one: models, defences, attacks."""
    if isinstance(value, Choice):
        yield from _of_choice(value)
    elif isinstance(value, tuple):
        for part in value:
            yield from chosen_modules(part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from chosen_modules(getattr(value, field.name))


def _of_choice(choice: Choice) -> Iterator[str]:
    if choice.name in SMALL:
        yield SMALL[choice.name].__name__
    elif choice.name in ARCHITECTURES:
        yield _function(ARCHITECTURES[choice.name].build).__module__
    elif is_own(choice.name):
        for name in of_this_project(own_sources(choice)):  # its own files count by their bytes
            yield from modules_of(name)
    else:
        for member in members(choice):
            yield _function(member.row.build).__module__
            yield type(member.settings).__module__


def _function(build: Callable) -> Any:
    """What stands behind a partial."""
    while hasattr(build, "func"):
        build = build.func
    return build

"""A user's own model or defence, from a Python file: `FILE.py:NAME`, and `FILE.py:NAME:setting=value` for settings.

A defence is a `Defense`, a function Model -> Model, or a frozen dataclass of settings whose method `build()` gives one
of them. A model is a `Model`, a `Classifier`, a Flax NNX module, any function images -> scores, or such a dataclass.
What jit cannot trace (PyTorch, NumPy) runs on the host, through a callback: slower, and without a gradient.

Images come as (n, h, w, c) float32 in [0, 1], scores are logits, and a network is in evaluation mode: a row's answer
depends on that row's image, and on its key where it is random. All this is tried on a few held-out images first.
"""

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from defenses.classifiers.classifier import Classifier
from defenses.defense import Defense
from defenses.files.python_sources import python_sources
from defenses.model import Model
from defenses.options.names import Choice, with_settings
from defenses.purifiers.method import Method, NoSettings

MARK = ".py:"


def is_own(text: str) -> bool:
    """Whether the text names something in a user's file."""
    return MARK in text


def own_sources(choice: Choice) -> list[Path]:
    """The user's files that the choice is made of, as `python_sources` finds them; [] where it is one of a table."""
    return python_sources(Path(choice.name.partition(MARK)[0] + ".py")) if is_own(choice.name) else []


def own(kind: str, text: str) -> Choice:
    """What stands in the file under that name as a choice; `kind` is "defense" or "model".

    A file in the working folder is called by its path from there, however the text spells it. Raises ValueError, in one
    line, for a file that cannot be read or run, a name that is not in it, or a setting that it does not have.
    """
    spelt, _, rest = text.partition(MARK)
    file, (name, _, given) = _from_here(spelt), rest.partition(":")
    thing = _found(kind, Path(file + ".py"), name)
    full = f"{file}{MARK}{name}"
    if isinstance(thing, type) and dataclasses.is_dataclass(thing) and hasattr(thing, "build"):
        run(full, thing)  # every setting needs a default
        return with_settings(
            full, given, Method(thing, lambda settings, _: run(full, settings.build), f"class in {file}.py")
        )
    if not (callable(thing) or isinstance(thing, Defense | Model | Classifier)):
        raise ValueError(f"{kind} {full} must be a {kind}, a function or a dataclass with build(), got {type(thing)}")
    there: Any = thing
    return with_settings(full, given, Method(NoSettings, lambda settings, _: there, f"{name} in {file}.py"))


def _from_here(file: str) -> str:
    """The path without detours, from the working folder where it leads into that."""
    path, here = os.path.abspath(file), os.getcwd()
    return os.path.relpath(path, here) if Path(path).is_relative_to(here) else path


def run(name: str, code: Callable[[], Any], given: str = "") -> Any:
    """What the code returns; ValueError in one line where it fails, ending in what it was given."""
    try:
        return code()
    except Exception as error:  # a stranger's code fails in any way
        told = str(error).strip().partition("\n")[0].rstrip(".:")
        raise ValueError(f"{name} fails: {type(error).__name__}: {told}{given and '; ' + given}") from error


def _found(kind: str, file: Path, name: str) -> Any:
    if not file.is_file():
        raise ValueError(f"{kind} must name a file that is there, got {file}")
    module = _module(file.resolve(), file.stat().st_mtime_ns)
    if not hasattr(module, name):
        raise ValueError(f"{kind} must name something in {file}, got {name!r}")
    return getattr(module, name)


@cache
def _module(file: Path, changed: int) -> Any:
    """The file as a module, run once; its own folder is looked through for what it imports."""
    spec = importlib.util.spec_from_file_location(f"own_{file.stem}_{changed}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # and stays there: a function may import when it is called
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's code fails in any way
        raise ValueError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    return module

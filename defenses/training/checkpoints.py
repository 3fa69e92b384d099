"""The state of a training in a folder while it lasts, and the way back to it."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orbax.checkpoint as ocp

from defenses.training.steps import State

Round = dict[str, Any]
SECONDS_BETWEEN = 30.0  # a kill costs at most those and one round; shorter trainings leave no files


class Checkpoints:
    """State and history of one training in `folder`, written whole or not at all; a context manager."""

    def __init__(self, folder: Path):
        self._folder, self._manager, self._last = folder, None, time.monotonic()

    def __enter__(self) -> Self:
        """Read nothing yet."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.close()

    def latest(self, expected: State) -> tuple[State, list[Round]] | None:
        """What the folder holds, None when it is empty; `expected` has the state's shapes and dtypes.

        Raises ValueError when it can't be read.
        """
        if not self._folder.is_dir() or (last := self._opened().latest_step()) is None:
            return None
        wanted = _contents(ocp.args.StandardRestore(expected), ocp.args.JsonRestore())
        try:
            kept = self._opened().restore(last, args=wanted)
            return kept["state"], list(kept["history"]["rounds"])
        except Exception as error:  # orbax raises many kinds for damaged files
            said = f"{self._folder} is damaged or foreign ({error})"
            raise ValueError(f"{said}; delete it to train from the start") from error

    def keep(self, state: State, history: list[Round]) -> None:
        """Write them after a round, unless that was done less than `SECONDS_BETWEEN` ago."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        rounds = ocp.args.JsonSave({"rounds": history})
        self._opened().save(len(history), args=_contents(ocp.args.StandardSave(state), rounds))
        self._last = time.monotonic()

    def _opened(self) -> ocp.CheckpointManager:
        if self._manager is None:
            options = ocp.CheckpointManagerOptions(max_to_keep=1)
            self._manager = ocp.CheckpointManager(self._folder.absolute(), options=options)
        return self._manager


def _contents(state: Any, history: Any) -> ocp.args.Composite:
    return ocp.args.Composite(state=state, history=history)

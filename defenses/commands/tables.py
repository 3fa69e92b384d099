"""Tables on the terminal."""

import sys
from collections.abc import Collection, Sequence
from typing import Any


def percent(row: dict[str, Any]) -> str:
    """Accuracy ± standard error of a row, in percent."""
    return f"{100 * row['accuracy']:.2f} ± {100 * row['standard_error']:.2f} %"


def written(settings: dict[str, Any]) -> str:
    """Settings with their values, in one cell."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()
) -> None:
    """Print a table on stdout, columns of `numbers` to the right; cells too long for it are folded, never cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)

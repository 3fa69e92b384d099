"""Tables on the terminal."""

from typing import Any


def percent(row: dict[str, Any]) -> str:
    """Accuracy ± standard error of a row, in percent."""
    return f"{100 * row['accuracy']:.2f} ± {100 * row['standard_error']:.2f} %"


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; cells too long for the terminal are folded, never cut."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)

"""Ranges of settings, checked by name: of experiments, schedules and attacks alike."""

from typing import Any

LARGEST_COUNT = 2**31 - 1  # counters are int32
LARGEST_NUMBER = 3.4e38  # numbers are float32


def check_positive(settings: Any, *names: str) -> None:
    """Raise ValueError naming the first of these settings that is not a finite number above zero."""
    for name in names:
        for number in _numbers(settings, name):
            if not 0 < number < float("inf"):
                raise ValueError(f"{name} must be > 0 and finite, got {number}")
            _check_fits(name, number)


def check_at_least(settings: Any, **smallest: float) -> None:
    """Raise ValueError naming the first of these settings that is not finite or below its smallest allowed value."""
    for name, least in smallest.items():
        for number in _numbers(settings, name):
            if not least <= number < float("inf"):
                raise ValueError(f"{name} must be >= {least:g} and finite, got {number}")
            _check_fits(name, number)


def check_counts(settings: Any, **smallest: int) -> None:
    """Raise ValueError naming the first of these integer settings below its smallest allowed value, or not int32."""
    for name, least in smallest.items():
        for number in _numbers(settings, name):
            if number < least:
                raise ValueError(f"{name} must be >= {least}, got {number}")
    check_at_most(settings, **dict.fromkeys(smallest, LARGEST_COUNT))


def check_at_most(settings: Any, **largest: int) -> None:
    """Raise ValueError naming the first of these settings above its largest allowed value."""
    for name, most in largest.items():
        for number in _numbers(settings, name):
            if number > most:
                raise ValueError(f"{name} must be <= {most}, got {number}")


def check_shares(settings: Any, *names: str) -> None:
    """Raise ValueError naming the first of these settings that is not in (0, 1]."""
    for name in names:
        if not 0 < getattr(settings, name) <= 1:
            raise ValueError(f"{name} must be in (0, 1], got {getattr(settings, name)}")


def check_different(settings: Any, *names: str) -> None:
    """Raise ValueError naming the first of these lists that is empty or has an entry twice, in whatever spelling."""
    for name in names:
        entries = list(map(str, getattr(settings, name)))
        if not entries or len(set(entries)) < len(entries):
            raise ValueError(f"{name} must name at least one and repeat none, got {', '.join(entries) or 'none'}")


def _check_fits(name: str, number: float) -> None:
    if number > LARGEST_NUMBER:
        raise ValueError(f"{name} must be <= {LARGEST_NUMBER:g}, got {number:g}")


def _numbers(settings: Any, name: str) -> tuple:
    value = getattr(settings, name)
    return value if isinstance(value, tuple) else (value,)

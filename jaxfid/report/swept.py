"""What a sweep sets for a row: how it is written in the row's name and in columns."""

import json
from collections.abc import Mapping

Setting = bool | int | float | str | None
"""A value that a sweep sets."""

Swept = Mapping[str, Setting]
"""The settings of one row by name."""


def show_setting(value: Setting) -> str:
    """Returns a setting in words; 1 and 1.0 are one setting, and are written alike."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def name_settings(swept: Swept) -> str:
    """Returns the settings in a line, such as `cfg=1.25 ema=0.999`."""
    return " ".join(f"{name}={show_setting(value)}" for name, value in swept.items())


def order_settings(swept: Swept) -> list[tuple[bool, float, str]]:
    """Returns what rows are sorted by: numbers by their size, before text."""
    return [_order(value) for value in swept.values()]


def _order(value: Setting) -> tuple[bool, float, str]:
    if isinstance(value, str) or value is None:
        return True, 0.0, show_setting(value)
    return False, float(value), ""


def name_row(name: str, swept: Swept, noise_seed: int | None) -> str:
    """Returns what a checkpoint is called when it is drawn with these settings from this seed."""
    settings = f" {name_settings(swept)}" if swept else ""
    return f"{name}{settings}" if noise_seed is None else f"{name}{settings} noise {noise_seed}"

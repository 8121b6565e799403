"""Noise laws as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rsbounds.noises import NOISES, Noise


def noise_config(noise: Noise) -> dict[str, Any]:
    """A noise law as plain values that a store can keep."""
    values: dict[str, Any] = {"name": noise.name}
    for field in dataclasses.fields(noise):  # type: ignore[arg-type]
        value = getattr(noise, field.name)
        values[field.name] = noise_config(value) if isinstance(value, Noise) else value
    return values


def noise_from_config(values: Mapping[str, Any]) -> Noise:
    """The law that `noise_config` wrote down."""
    given = {
        key: noise_from_config(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key != "name"
    }
    return NOISES[values["name"]](**given)

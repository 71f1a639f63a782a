"""Whether an architecture can be built as somebody wants it, said before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from trainers.errors import SettingsError
from trainers.networks import architecture_names, load_architecture
from trainers.shape import UPSAMPLINGS, Shape

BLOCKS = (1, 2)
_UNIVERSAL = frozenset({"size", "z_dim", "width", "num_classes", "d_norm"})
"""Fields of Shape that are no `options`: every architecture takes them, or names its values."""


def check_shape(name: str, shape: Shape) -> None:
    """Raises SettingsError for what the architecture `name` does not know or cannot be built with."""
    if name not in architecture_names():
        raise SettingsError(
            f"--arch {name}: there is no such architecture. Use one of {_listed(architecture_names())}."
        )
    architecture = load_architecture(name)
    for field in dataclasses.fields(Shape):
        value = getattr(shape, field.name)
        is_known = field.name in _UNIVERSAL or field.name in architecture.options
        if not is_known and value != field.default:
            raise SettingsError(
                f"{_option(field.name, value)}: {name} has no such option. Leave it out; "
                f"{name} takes {_listed(sorted(architecture.options)) or 'none of this kind'}."
            )
    allowed: dict[str, tuple[object, ...]] = {
        "size": architecture.sizes,
        "d_norm": architecture.d_norms,
        "upsampling": UPSAMPLINGS,
        "blocks": BLOCKS,
    }
    for field_name, values in allowed.items():
        value = getattr(shape, field_name)
        if value not in values:
            raise SettingsError(
                f"{_option(field_name, value)}: {name} cannot be built so. "
                f"Use {' or '.join(_option(field_name, value) for value in values)}."
            )


def unknown_options(name: str) -> list[str]:
    """The fields of Shape that the architecture `name` leaves alone."""
    known = _UNIVERSAL | load_architecture(name).options
    return [field.name for field in dataclasses.fields(Shape) if field.name not in known]


def check_pretrained(name: str) -> None:
    """Raises TrainerError where a network that the architecture `name` looks through is not installed."""
    architecture = load_architecture(name)
    if architecture.pretrained:
        from trainers.pretrained.efficientnet_lite import check_weights

        for variant in architecture.pretrained:
            check_weights(variant)


def _option(field_name: str, value: object) -> str:
    """As it is written on the command line."""
    if field_name in ("size", "upsampling"):
        return f"--{field_name} {value}"
    text = str(value).lower() if isinstance(value, bool) else value
    return f"--set {field_name}={text}"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))

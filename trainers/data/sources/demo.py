"""artbot's own pictures: flower still lifes painted by code, so that a first run needs no download.

They are made for learning quickly: one composition (a table, a vase, a bouquet), light from the
upper left, few strong colours, blooms large enough to survive at 64 px. They are ours, hence CC0;
nothing here reads or imitates a picture by somebody else.

How a picture comes about: every brush mark is a small polygon in the unit square (x right, y down),
drawn back to front at twice the final size. Marks carry a paint thickness in the alpha channel;
at the end that relief is lit from the upper left, which is what makes it look painted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from trainers.data.sources import Progress, Source
from trainers.files import write_atomically

Array = NDArray[np.float64]
"""Points are (..., 2) in the unit square; colours (..., 3) in 0..255."""

NUM_PICTURES = 600
JPEG_QUALITY = 92
SUPERSAMPLING = 2
GOLDEN_ANGLE = 2.39996
"""Radians between neighbouring florets of a sunflower: no two ever line up."""
TO_LIGHT = np.array([-0.6, -0.8])
WARM_LIGHT = np.array([255.0, 247.0, 222.0])
SHADOW_TINT = np.array([0.32, 0.29, 0.42])
"""What a colour is multiplied by in deep shadow: a little violet, against the warm light."""


def _colour(hexadecimal: str) -> Array:
    return np.array(list(bytes.fromhex(hexadecimal)), dtype=np.float64)


def _colours(hexadecimals: str) -> Array:
    return np.stack([_colour(one) for one in hexadecimals.split()])


# ---------------------------------------------------------------- what is chosen for a picture


@dataclass(frozen=True)
class Palette:
    """Colours that sit well together, and the flowers that look right in them."""

    wall: Array
    table: Array
    vases: Array
    """(n, 3): one is taken."""
    blooms: Array
    """(n, 3): the main flower takes one, its companion another."""
    leaf: Array
    kinds: tuple[str, ...]


def _palette(
    wall: str, table: str, vases: str, blooms: str, leaf: str, kinds: tuple[str, ...]
) -> Palette:
    return Palette(
        _colour(wall), _colour(table), _colours(vases), _colours(blooms), _colour(leaf), kinds
    )


# fmt: off
PALETTES = (
    # a bright kitchen
    _palette("b9d7dc", "d8a15c", "2f5fa8 f4efe2", "e2362b fbf6ea f2b51d", "4b7d3a",
             ("poppy", "daisy")),
    # a Dutch evening
    _palette("38302b", "7b4526", "b9713a 5d7f86", "f6d9c0 d8434f f3eee0", "57723b",
             ("rose", "tulip")),
    # noon in the south
    _palette("f1dc9f", "4d7fa6", "1f4f86 c9572f", "f6a912 f7c61f ee8412", "51762e",
             ("sunflower",)),
    # first warm day
    _palette("ecbfc3", "f3ebdf", "5fae93 2a8089", "cf2f5c f08aa6 fdf3ee", "478a44",
             ("rose", "daisy")),
    # after the rain
    _palette("1f4a55", "b8793f", "efe3c8 d9a441", "fbf4e4 f5854f f7c542", "6c9a52",
             ("daisy", "poppy")),
    # dusk
    _palette("b7a5d3", "5b3f78", "f0c84b efe6f2", "ffd23f f9f3ff 8b2f9c", "4f8060",
             ("tulip", "daisy")),
    # fair
    _palette("55b3ac", "e9775a", "fbf5e9 253f6b", "d92a78 ffc53a fdf2e8", "2f7048",
             ("tulip", "rose")),
)

VASE_PROFILES = {
    "round": ((0.0, 0.56), (0.14, 0.50), (0.34, 0.86), (0.58, 1.0), (0.82, 0.86), (1.0, 0.56)),
    "jar": ((0.0, 0.74), (0.12, 0.70), (0.28, 0.98), (0.60, 1.0), (0.85, 0.92), (1.0, 0.80)),
    "tapered": ((0.0, 1.0), (0.10, 0.95), (0.35, 0.90), (0.65, 0.76), (0.90, 0.62), (1.0, 0.64)),
}
"""Half width (share of the widest) at heights from the lip (0) to the foot (1)."""

BLOOM_RADIUS = {3: 0.165, 4: 0.158, 5: 0.150, 6: 0.142, 7: 0.134, 8: 0.128, 9: 0.122}
"""Radius by number of blooms: few are large, so that the bouquet always fills the same dome."""

DOME_SLOTS = {
    3: ((-0.17, 0.05), (0.17, 0.04), (0.0, -0.11)),
    4: ((-0.19, 0.05), (0.19, 0.04), (-0.08, -0.14), (0.11, -0.12)),
    5: ((-0.22, 0.06), (0.22, 0.05), (-0.13, -0.14), (0.13, -0.15), (0.0, 0.05)),
    6: ((-0.23, 0.07), (0.23, 0.06), (-0.19, -0.11), (0.19, -0.10), (0.0, -0.19), (0.0, 0.04)),
    7: ((-0.25, 0.08), (0.25, 0.07), (-0.21, -0.09), (0.21, -0.09), (0.0, -0.20),
        (-0.09, 0.05), (0.11, 0.07)),
    8: ((-0.25, 0.08), (0.25, 0.07), (-0.24, -0.08), (0.24, -0.08), (-0.10, -0.20),
        (0.11, -0.20), (-0.09, 0.04), (0.10, 0.06)),
    9: ((-0.26, 0.08), (0.26, 0.07), (-0.25, -0.07), (0.25, -0.07), (-0.11, -0.21),
        (0.11, -0.20), (0.0, -0.05), (-0.11, 0.09), (0.12, 0.09)),
}
"""Where blooms sit, relative to the middle of the bouquet; back to front."""
# fmt: on


@dataclass(frozen=True)
class Vase:
    middle: float
    """x of the axis, in the unit square like all that follows."""
    lip: float
    foot: float
    half_width: float
    profile: Array
    """(n, 2): height share from the lip, half-width share."""
    colour: Array

    def half_width_at(self, share: Array) -> Array:
        """Half width at heights `share` in 0 (lip) .. 1 (foot)."""
        profile = self.profile
        return self.half_width * np.interp(share, profile[:, 0], profile[:, 1])


@dataclass(frozen=True)
class Bloom:
    kind: str
    at: Array
    radius: float
    outward: float
    """Radians: the direction in which the flower leans, away from the bouquet's middle."""
    squash: float
    """1 looks straight at us, 0.8 is turned a little towards `outward`."""
    colour: Array


@dataclass(frozen=True)
class Scene:
    palette: Palette
    table_edge: float
    """y where the wall ends."""
    vase: Vase
    bouquet: Array
    blooms: list[Bloom]


def _compose(rng: np.random.Generator) -> Scene:
    palette = PALETTES[rng.integers(len(PALETTES))]
    vase = _choose_vase(rng, palette)
    bouquet = np.array([vase.middle, 0.375 + rng.uniform(-0.01, 0.01)])
    blooms = _choose_blooms(rng, palette, bouquet)
    return Scene(palette, 0.775 + rng.uniform(-0.015, 0.015), vase, bouquet, blooms)


def _choose_vase(rng: np.random.Generator, palette: Palette) -> Vase:
    shape = list(VASE_PROFILES)[rng.integers(len(VASE_PROFILES))]
    return Vase(
        middle=0.5 + rng.uniform(-0.02, 0.02),
        lip=0.615 + rng.uniform(-0.01, 0.01),
        foot=0.905 + rng.uniform(-0.01, 0.01),
        half_width=rng.uniform(0.125, 0.150),
        profile=np.array(VASE_PROFILES[shape]),
        colour=_vary(rng, palette.vases[rng.integers(len(palette.vases))], 6),
    )


def _choose_blooms(rng: np.random.Generator, palette: Palette, bouquet: Array) -> list[Bloom]:
    """One main flower, and in half of the pictures a companion of another colour or kind."""
    count = int(rng.choice([3, 4, 5, 6, 7, 8, 9], p=[0.06, 0.12, 0.22, 0.22, 0.20, 0.10, 0.08]))
    kinds = rng.permutation(np.array(palette.kinds))
    colours = rng.permutation(palette.blooms)
    companions = rng.random(count) < rng.choice([0.0, 0.4])
    blooms = []
    for slot, is_companion in zip(DOME_SLOTS[count], companions, strict=True):
        offset = np.array(slot) + rng.normal(0, 0.010, 2)
        blooms.append(
            Bloom(
                kind=str(kinds[-1] if is_companion else kinds[0]),
                at=bouquet + offset,
                radius=BLOOM_RADIUS[count] * rng.uniform(0.92, 1.08),
                outward=float(np.arctan2(offset[1] - 0.12, offset[0])),
                squash=1.0 - 0.75 * float(np.hypot(*offset)) * rng.uniform(0.7, 1.1),
                colour=_vary(rng, colours[1 if is_companion else 0], 7),
            )
        )
    return blooms


# ---------------------------------------------------------------- brush, paint and light


def _outline(*points: tuple[float, float]) -> Array:
    """Close a shape given by its upper half, from the back (x=-1) to the front (x=1)."""
    upper = np.array(points)
    return np.concatenate([upper, upper[::-1] * [1, -1]])


FLAT_BRUSH = _outline((-1, 0.55), (-0.8, 0.95), (0.75, 1.0), (1, 0.4))
ROUND_BRUSH = _outline((-1, 0.35), (-0.6, 0.9), (0, 1.0), (0.6, 0.9), (1, 0.35))
PETAL = _outline((-1, 0.18), (-0.4, 0.55), (0.2, 0.95), (0.65, 0.95), (0.92, 0.6), (1, 0.2))
POINTED_PETAL = _outline((-1, 0.3), (-0.3, 0.9), (0.3, 0.95), (0.75, 0.5), (1, 0.0))
LEAF = _outline((-1, 0.05), (-0.5, 0.7), (-0.05, 1.0), (0.4, 0.75), (1, 0.0))


def _marks(
    at: Array,
    length: Array | float,
    width: Array | float,
    angle: Array | float,
    outline: Array = ROUND_BRUSH,
) -> Array:
    """Brush marks as polygons (n, corners, 2), centred on `at` (n, 2), turned by `angle` (rad)."""
    n = len(at)
    length, width, angle = (np.broadcast_to(v, n)[:, None] for v in (length, width, angle))
    along = outline[:, 0] * length / 2
    across = outline[:, 1] * width / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)
    return np.asarray(turned + at[:, None, :])


def _vary(rng: np.random.Generator, colour: Array, spread: float) -> Array:
    """Colours near `colour` (..., 3): mostly lighter or darker, a little in hue."""
    lightness = rng.normal(0, spread, (*colour.shape[:-1], 1))
    return np.asarray(colour + lightness + rng.normal(0, spread / 2.5, colour.shape))


def _mix(colour: Array, other: Array, share: Array | float) -> Array:
    share = np.asarray(share)[..., None]
    return np.asarray(colour * (1 - share) + other * share)


def _lit(colour: Array, light: Array | float) -> Array:
    """`colour` (..., 3) under `light` in -1 (deep, cool shadow) .. 1 (warm highlight)."""
    light = np.asarray(light)
    shaded = _mix(colour, colour * SHADOW_TINT + [12, 10, 24], np.clip(-light, 0, 1))
    return _mix(shaded, WARM_LIGHT, np.clip(light, 0, 1))


def _ray(angle: Array | float) -> Array:
    """Unit vectors (..., 2) towards `angle` in radians."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


class Canvas:
    """A square being painted on, at SUPERSAMPLING times the final size."""

    def __init__(self, rng: np.random.Generator, size_px: int, ground: Array) -> None:
        self.rng = rng
        self.edge_px = size_px * SUPERSAMPLING
        self.image = Image.new("RGBA", (self.edge_px, self.edge_px), _rgba(ground, 110))
        self.draw = ImageDraw.Draw(self.image)

    def fill(self, polygons: Array, colours: Array) -> None:
        """Paint polygons (n, corners, 2) in their order with colours (n, 3)."""
        n = len(polygons)
        thickness = self.rng.uniform(80, 150, (n, 1))
        inks = np.clip(np.hstack([np.broadcast_to(colours, (n, 3)), thickness]), 0, 255)
        corners = (polygons * self.edge_px).reshape(n, -1).tolist()
        for polygon, ink in zip(corners, inks.astype(int).tolist(), strict=True):
            self.draw.polygon(polygon, fill=tuple(ink))

    def finish(self, size_px: int) -> Image.Image:
        """Light the relief of the paint, lay the weave of the linen over it, scale down."""
        pixels = np.asarray(self.image, dtype=np.float32)
        thickness = pixels[..., 3]
        relief = np.zeros_like(thickness)
        relief[1:, 1:] = thickness[1:, 1:] - thickness[:-1, :-1]
        y, x = np.mgrid[0 : self.edge_px, 0 : self.edge_px]
        weave = np.cos(x * np.pi / 2) * 0.5 + np.cos(y * np.pi / 2) * 0.5
        grain = self.rng.normal(0, 3.0, thickness.shape) + 1.5 * weave
        rgb = pixels[..., :3] + (0.22 * relief + grain)[..., None]
        picture = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8), "RGB")
        return picture.resize((size_px, size_px), Image.Resampling.LANCZOS)


def _rgba(colour: Array, thickness: int) -> tuple[int, int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue, thickness


# ---------------------------------------------------------------- wall, table, shadow


def _paint_room(canvas: Canvas, scene: Scene) -> None:
    """Wall and table in broad strokes, lightest at the upper left; the shadows lie in them."""
    rng, edge, palette = canvas.rng, scene.table_edge, scene.palette
    wall = _grid(rng, (0.0, edge), step=0.045)
    slant = rng.normal(-0.7, 0.5, len(wall))
    echo = _mix(
        palette.wall, scene.blooms[0].colour, rng.exponential(0.035, len(wall)).clip(0, 0.2)
    )
    canvas.fill(
        _marks(wall, rng.uniform(0.09, 0.16, len(wall)), 0.054, slant, FLAT_BRUSH),
        _vary(rng, _lit(echo, _wall_light(wall, scene)), 3.5),
    )
    slab = np.array([[[-0.01, edge], [1.01, edge], [1.01, 1.01], [-0.01, 1.01]]])
    canvas.fill(slab, palette.table[None])
    table = _grid(rng, (edge + 0.016, 1.03), step=0.032)
    flat = rng.normal(0, 0.05, len(table))
    mirrored = _mix(palette.table, scene.vase.colour, _reflection(table, scene))
    canvas.fill(
        _marks(table, rng.uniform(0.10, 0.18, len(table)), 0.032, flat, FLAT_BRUSH),
        _vary(rng, _lit(mirrored, _table_light(table, scene)), 4.5),
    )


def _grid(rng: np.random.Generator, rows: tuple[float, float], step: float) -> Array:
    """Jittered positions (n, 2) that cover the full width between two heights, top to bottom."""
    y, x = np.mgrid[rows[0] : rows[1] : step, -0.02 : 1.04 : step * 1.6]
    grid = np.stack([x.ravel(), y.ravel()], axis=-1)
    return np.asarray(grid + rng.normal(0, step / 4, grid.shape) * [1.0, 0.5])


def _wall_light(at: Array, scene: Scene) -> Array:
    falloff = 0.30 - 0.44 * at[:, 0] - 0.20 * at[:, 1]
    behind = (at - scene.bouquet - [0.09, 0.06]) / [0.36, 0.33]
    return np.asarray(falloff - 0.26 * np.exp(-((behind**2).sum(-1) ** 2)))


def _reflection(at: Array, scene: Scene) -> Array:
    """How much of the vase's colour the polished table gives back, just under the foot."""
    away = (at - [scene.vase.middle, scene.vase.foot + 0.035]) / [0.11, 0.05]
    return np.asarray(0.35 * np.exp(-((away**2).sum(-1))))


def _table_light(at: Array, scene: Scene) -> Array:
    """The vase throws its shadow to the lower right, a long soft ellipse from its foot."""
    foot = np.array([scene.vase.middle + 0.17, scene.vase.foot - 0.005])
    away = (at - foot) / [0.27, 0.050]
    return np.asarray(0.18 - 0.30 * at[:, 0] - 0.70 * np.exp(-((away**2).sum(-1) ** 2)))


# ---------------------------------------------------------------- vase


def _paint_vase(canvas: Canvas, vase: Vase) -> None:
    """A turned body: upright strokes, each as light as its side of the round, then a gleam."""
    rng = canvas.rng
    heights = np.linspace(0, 1, 24)
    widths = vase.half_width_at(heights)
    y = vase.lip + heights * (vase.foot - vase.lip)
    sides = [np.stack([vase.middle + s * widths, y], -1)[:: int(s)] for s in (1, -1)]
    canvas.fill(np.concatenate(sides)[None], _lit(vase.colour, -0.3)[None])
    row, column = (g.ravel() for g in np.mgrid[0.03:0.99:17j, -0.93:0.93:13j])
    row = np.clip(row + rng.normal(0, 0.012, row.shape), 0.02, 0.97)
    half = vase.half_width_at(row)
    at = np.stack([vase.middle + column * half, vase.lip + row * (vase.foot - vase.lip)], -1)
    lean = (vase.half_width_at(row + 0.04) - half) / (0.04 * (vase.foot - vase.lip))
    canvas.fill(
        _marks(at, 0.040, half * 0.22, np.arctan2(1.0, lean * column)),
        _vary(rng, _lit(vase.colour, _vase_light(column, row)), 4),
    )
    gleam = np.array([[vase.middle - 0.42 * vase.half_width, vase.lip + 0.13]])
    canvas.fill(_marks(gleam, 0.055, 0.020, 1.7), _lit(vase.colour, 0.75)[None])
    _paint_lip(canvas, vase)


def _vase_light(column: Array, row: Array) -> Array:
    """Lambert's law on a cylinder lit from the left; some light is thrown back at the right."""
    facing = np.cos(np.arcsin(np.clip(column, -1, 1)) + 0.75)
    rebound = 0.25 * np.clip(column - 0.7, 0, 1)
    under_leaves = 0.35 * np.exp(-row / 0.10)
    return np.asarray(0.85 * facing - 0.50 + rebound - under_leaves - 0.12 * row)


def _paint_lip(canvas: Canvas, vase: Vase) -> None:
    width = float(vase.half_width_at(np.array([0.0]))[0])
    share = np.linspace(-1, 1, 9)
    at = np.stack([vase.middle + share * width * 0.95, vase.lip + 0.008 * (1 - share**2)], -1)
    canvas.fill(_marks(at, 0.3 * width, 0.016, 0.0), _lit(vase.colour, 0.30 - 0.40 * share))


# ---------------------------------------------------------------- leaves and stems


def _paint_foliage(canvas: Canvas, scene: Scene) -> None:
    """Stems from the vase, a dark green heart behind the blooms, leaves that stick out."""
    rng, green = canvas.rng, scene.palette.leaf
    for bloom in scene.blooms:
        _paint_stem(canvas, scene, bloom)
    n = 90
    turn = rng.uniform(0, 2 * np.pi, n)
    away = np.sqrt(rng.random((n, 1))) * [0.24, 0.20]
    at = scene.bouquet + [0.0, 0.03] + away * _ray(turn)
    canvas.fill(
        _marks(at, 0.10, 0.045, turn + rng.normal(0, 0.4, n), LEAF),
        _vary(rng, _lit(green, rng.uniform(-0.65, -0.25, n)), 6),
    )
    outward = np.linspace(-np.pi - 0.45, 0.45, 15) + rng.normal(0, 0.10, 15)
    for angle in rng.permutation(outward):
        root = scene.bouquet + [0.0, 0.04] + 0.20 * _ray(angle)
        _paint_leaf(canvas, root, rng.uniform(0.18, 0.27), float(angle), green)


def _paint_stem(canvas: Canvas, scene: Scene, bloom: Bloom) -> None:
    mouth = np.array([scene.vase.middle, scene.vase.lip])
    knee = np.array([0.35 * bloom.at[0] + 0.65 * mouth[0], 0.5 * (bloom.at[1] + mouth[1])])
    t = np.linspace(0, 1, 12)[:, None]
    path = (1 - t) ** 2 * mouth + 2 * t * (1 - t) * knee + t**2 * bloom.at
    way = np.diff(path, axis=0)
    canvas.fill(
        _marks(path[:-1] + way / 2, 0.05, 0.013, np.arctan2(way[:, 1], way[:, 0])),
        _vary(canvas.rng, _lit(scene.palette.leaf, -0.1), 5)[None],
    )


def _paint_collar(canvas: Canvas, scene: Scene) -> None:
    """Leaves that hang over the lip and tie the bouquet to the vase."""
    rng = canvas.rng
    for share in rng.permutation(np.linspace(-1, 1, 7)):
        root = np.array([scene.vase.middle + 0.05 * share, scene.vase.lip - 0.05])
        angle = np.pi / 2 - 1.25 * share + rng.normal(0, 0.12)
        length = rng.uniform(0.13, 0.17) + 0.06 * abs(share)
        _paint_leaf(canvas, root, length, float(angle), scene.palette.leaf)


def _paint_leaf(canvas: Canvas, root: Array, length: float, angle: float, green: Array) -> None:
    """One leaf from `root`: its lit half, its shaded half, and the rib between them."""
    forward = _ray(angle)
    aside = np.array([-forward[1], forward[0]])
    if aside @ TO_LIGHT < 0:
        aside = -aside
    width = 0.30 * length
    middle = root + forward * length / 2
    halves = np.stack([middle, middle + aside * width * 0.20, middle])
    polygons = _marks(halves, length, np.array([1.0, 0.55, 0.07]) * width, angle, LEAF)
    season = canvas.rng.normal(0, 0.09)
    light = season + 0.20 * float(forward @ TO_LIGHT) + np.array([-0.30, 0.14, 0.46])
    canvas.fill(polygons, _vary(canvas.rng, _lit(np.broadcast_to(green, (3, 3)), light), 7))


# ---------------------------------------------------------------- blooms


def _paint_sepals(canvas: Canvas, bloom: Bloom, leaf: Array) -> None:
    """Dark leaves that peep out all round; painted before any bloom: they would bite into it."""
    rng, n = canvas.rng, 12
    turn = _ring(rng, n, 0.8, 0.0)
    ray = _ray(turn)
    at = bloom.at - TO_LIGHT * 0.09 * bloom.radius + ray * 0.50 * bloom.radius
    shade = _lit(np.broadcast_to(leaf, (n, 3)), rng.uniform(-0.78, -0.45, n))
    canvas.fill(_marks(at, 1.20 * bloom.radius, 0.52 * bloom.radius, turn, LEAF), shade)


def _paint_bloom(canvas: Canvas, bloom: Bloom, leaf: Array) -> None:
    """The narrow shadow a bloom throws on its neighbours, then the bloom itself."""
    turn = _ring(canvas.rng, 8, 0.3, 0.0)
    ray = _ray(turn)
    cast = bloom.at - TO_LIGHT * 0.10 * bloom.radius + ray * 0.46 * bloom.radius
    size = (0.90 if bloom.kind == "tulip" else 0.98) * bloom.radius
    canvas.fill(_marks(cast, size, 0.9 * size, turn), _lit(leaf, -0.72)[None])
    FLOWERS[bloom.kind](canvas, bloom)


def _ring(rng: np.random.Generator, n: int, wobble: float, start: float) -> Array:
    """`n` angles (radians) round the circle; `wobble` is a share of the gap between two."""
    gap = 2 * np.pi / n
    return np.asarray(start + gap * (np.arange(n) + rng.uniform(-wobble / 2, wobble / 2, n)))


def _fill_facing(
    canvas: Canvas, bloom: Bloom, polygons: Array, colours: Array, roundness: float = 0.26
) -> None:
    """Paint marks given in the bloom's own circle (radius 1), turned as the bloom leans, and lit.

    `roundness` in 0..1 says how strongly the side turned away from the light darkens.
    """
    cos, sin = np.cos(bloom.outward), np.sin(bloom.outward)
    turn = np.array([[cos, -sin], [sin, cos]])
    facing = turn @ np.diag([bloom.squash, 1.0]) @ turn.T
    placed = polygons @ facing.T
    light = roundness * (placed.mean(axis=1) @ TO_LIGHT)
    canvas.fill(placed * bloom.radius + bloom.at, _lit(colours, light))


def _petals(
    canvas: Canvas,
    bloom: Bloom,
    angles: Array,
    reach: tuple[float, float],
    width: float,
    outline: Array,
    tone: float,
    spread: float = 8,
) -> None:
    """A ring of petals between two radii, each with a lighter stroke along its lit side."""
    rng, n = canvas.rng, len(angles)
    inner, outer = reach[0], reach[1] * rng.uniform(0.93, 1.04, n)
    ray = _ray(angles)
    at = ray * ((inner + outer) / 2)[:, None]
    length = outer - inner
    colours = _vary(rng, np.broadcast_to(_lit(bloom.colour, tone), (n, 3)), spread)
    base = _marks(at, length, width, angles, outline)
    gleam = _marks(at + ray * 0.08 - [0.03, 0.04], length * 0.62, width * 0.45, angles, outline)
    polygons = np.stack([base, gleam], 1).reshape(2 * n, *base.shape[1:])
    paints = np.stack([colours, _lit(colours, 0.24)], 1).reshape(2 * n, 3)
    _fill_facing(canvas, bloom, polygons, paints)


def _paint_daisy(canvas: Canvas, bloom: Bloom) -> None:
    rng = canvas.rng
    start = rng.uniform(0, 6.28)
    n = int(rng.integers(9, 12))
    _petals(canvas, bloom, _ring(rng, n, 0.3, start), (0.1, 1.06), 0.40, PETAL, -0.30)
    _petals(canvas, bloom, _ring(rng, n, 0.3, start + np.pi / n), (0.1, 0.98), 0.36, PETAL, 0.05)
    is_golden = bloom.colour[2] < 110
    heart = _colour("7a3b1c") if is_golden else _colour("f0b21c")
    _paint_heart(canvas, bloom, heart, 0.30, 26)


def _paint_sunflower(canvas: Canvas, bloom: Bloom) -> None:
    rng = canvas.rng
    start = rng.uniform(0, 6.28)
    outer, inner = _ring(rng, 15, 0.5, start), _ring(rng, 14, 0.5, start + 0.2)
    _petals(canvas, bloom, outer, (0.25, 1.08), 0.36, POINTED_PETAL, -0.25)
    _petals(canvas, bloom, inner, (0.25, 0.95), 0.34, POINTED_PETAL, 0.02)
    _paint_heart(canvas, bloom, _colour("5a3018"), 0.46, 44)


def _paint_heart(canvas: Canvas, bloom: Bloom, colour: Array, radius: float, n: int) -> None:
    """The florets of a flower's middle, as a dome; `radius` is a share of the bloom's."""
    rng = canvas.rng
    away = radius * np.sqrt(np.linspace(1, 0.02, n))
    turn = np.arange(n, dtype=np.float64) * GOLDEN_ANGLE
    at = away[:, None] * _ray(turn)
    light = 0.55 * (at @ TO_LIGHT) / radius - 0.12
    paints = _lit(_vary(rng, np.broadcast_to(colour, (n, 3)), 9), light)
    _fill_facing(canvas, bloom, _marks(at, 0.50 * radius, 0.40 * radius, turn), paints)


def _paint_poppy(canvas: Canvas, bloom: Bloom) -> None:
    """Two rings of broad crumpled petals, a black blotch at their root, pale stamens."""
    rng = canvas.rng
    start = rng.uniform(0, 6.28)
    _petals(canvas, bloom, _ring(rng, 5, 0.3, start), (0.0, 1.02), 1.05, PETAL, -0.18, 5)
    _petals(canvas, bloom, _ring(rng, 4, 0.3, start + 0.7), (0.0, 0.84), 0.85, PETAL, 0.04, 5)
    creases = _ring(rng, 22, 0.8, start)
    ray = _ray(creases)
    paints = _lit(np.broadcast_to(bloom.colour, (22, 3)), rng.uniform(-0.40, 0.22, 22))
    at = ray * rng.uniform(0.45, 0.70, (22, 1))
    _fill_facing(canvas, bloom, _marks(at, 0.34, 0.055, creases), paints)
    _paint_heart(canvas, bloom, _colour("2a2030"), 0.25, 18)
    seeds = _ring(rng, 9, 0.6, start)
    dots = _ray(seeds) * 0.24
    _fill_facing(canvas, bloom, _marks(dots, 0.09, 0.08, seeds), _colours("e9d58a"))


TULIP_PETAL = _outline((-1, 0.45), (-0.75, 0.85), (-0.3, 1.0), (0.2, 0.9), (0.65, 0.5), (1, 0.0))
# fmt: off
TULIP_PETALS = (
    # across, along, length, width, angle (rad), light
    (-0.30, -0.30, 1.50, 0.74, -0.20, -0.42),
    (0.30, -0.30, 1.50, 0.74, 0.20, -0.50),
    (0.00, -0.34, 1.55, 0.76, 0.00, -0.30),
    (-0.40, 0.04, 1.66, 0.82, -0.14, 0.06),
    (0.40, 0.04, 1.66, 0.82, 0.14, -0.24),
    (0.00, 0.14, 1.62, 0.98, 0.00, -0.06),
)
# fmt: on


def _paint_tulip(canvas: Canvas, bloom: Bloom) -> None:
    """A cup seen from the side: inner petals dark, two flanks, one full petal in front."""
    rng = canvas.rng
    lean = 0.55 * np.sin(bloom.outward + np.pi / 2) + rng.normal(0, 0.08)
    strokes = []
    for across, along, length, width, angle, light in TULIP_PETALS:
        strokes.append((across, along, length, width, angle, light))
        for side in (-0.22, 0.0, 0.22):
            shine = light + 0.10 - 0.55 * side + rng.normal(0, 0.05)
            at = across + side * width
            strokes.append((at, along, length * 0.72, width * 0.20, angle, shine))
    rows = np.array(strokes) * [0.92, 0.92, 0.92, 0.92, 1.0, 1.0]
    turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    upright = rows[:, 4] + lean - np.pi / 2
    polygons = _marks(rows[:, :2] @ turn.T, rows[:, 2], rows[:, 3], upright, TULIP_PETAL)
    paints = _lit(_vary(rng, np.broadcast_to(bloom.colour, (len(rows), 3)), 4), rows[:, 5])
    canvas.fill(polygons * bloom.radius + bloom.at, paints)


def _paint_rose(canvas: Canvas, bloom: Bloom) -> None:
    """Petals wound in a spiral: broad strokes along the circle, darker and tighter inwards."""
    rng, n = canvas.rng, 34
    away = np.linspace(0.80, 0.05, n)
    turn = rng.uniform(0, 6.28) + 1.9 * np.arange(n) + rng.normal(0, 0.15, n)
    ray = _ray(turn)
    tone = -0.42 + 0.46 * away
    body = _marks(ray * away[:, None], 0.30 + 0.62 * away, 0.24 + 0.30 * away, turn + np.pi / 2)
    rim = _marks(ray * (away + 0.10)[:, None], 0.22 + 0.50 * away, 0.10, turn + np.pi / 2)
    colour = _vary(rng, np.broadcast_to(bloom.colour, (n, 3)), 5)
    polygons = np.stack([body, rim], 1).reshape(2 * n, *body.shape[1:])
    paints = np.stack([_lit(colour, tone), _lit(colour, tone + 0.42)], 1).reshape(2 * n, 3)
    _fill_facing(canvas, bloom, polygons, paints, 0.30)


FLOWERS: dict[str, Callable[[Canvas, Bloom], None]] = {
    "daisy": _paint_daisy,
    "poppy": _paint_poppy,
    "rose": _paint_rose,
    "sunflower": _paint_sunflower,
    "tulip": _paint_tulip,
}


# ---------------------------------------------------------------- the data set


def paint(seed: int, size_px: int = 128) -> Image.Image:
    """One still life, RGB, `size_px` on each side; `seed` >= 0 alone decides every pixel."""
    rng = np.random.default_rng(seed)
    scene = _compose(rng)
    canvas = Canvas(rng, size_px, _lit(scene.palette.wall, -0.06))
    _paint_room(canvas, scene)
    _paint_foliage(canvas, scene)
    _paint_vase(canvas, scene.vase)
    _paint_collar(canvas, scene)
    for bloom in scene.blooms:
        _paint_sepals(canvas, bloom, scene.palette.leaf)
    for bloom in scene.blooms:
        _paint_bloom(canvas, bloom, scene.palette.leaf)
    return canvas.finish(size_px)


def paint_still_lifes(
    folder: Path,
    count: int = NUM_PICTURES,
    size_px: int = 128,
    on_painted: Callable[[int, int], None] | None = None,
) -> None:
    """Fill `folder` with still-life-0000.jpg and so on; pictures already there are kept.

    `on_painted(done, count)` is called after each. Raises StorageError if one cannot be written.
    """
    for index in range(count):
        path = folder / f"still-life-{index:04d}.jpg"
        if not path.exists():
            save = partial(paint(index, size_px).save, format="JPEG", quality=JPEG_QUALITY)
            write_atomically(path, save)
        if on_painted is not None:
            on_painted(index + 1, count)
    for leftover in folder.glob(".still-life-*.tmp"):  # of a call that was killed outright
        leftover.unlink(missing_ok=True)


def _fetch(folder: Path, on_progress: Progress | None) -> None:
    paint_still_lifes(folder, on_painted=on_progress)


SOURCE = Source(
    name="demo",
    summary="flower still lifes painted by artbot itself, no licence question",
    licence="CC0-1.0",
    num_pictures=NUM_PICTURES,
    fetch=_fetch,
)

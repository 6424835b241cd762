"""Draw people who do not exist.

`draw_person(seed, index)` is a pure function of two integers: it needs no asset and no renderer, and it knows
nothing of real or fake, so nobody's label can leak into who they are. A `Person` is plain data and goes into
JSON and back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

# The ten Monk skin tones (skintone.google, CC BY 4.0), sRGB.
MONK_SRGB = (
    "f6ede4",
    "f3e7db",
    "f7ead0",
    "eadaba",
    "d7bd96",
    "a07e56",
    "825c43",
    "604134",
    "3a312a",
    "292420",
)

ANCESTRIES = ("african", "asian", "caucasian")

# Morphs of identity: (folder, stem, the two ends). One weight in [-1, 1] chooses the end and the strength.
SHAPE_AXES = (
    ("head/head-fat", "decr", "incr"),
    ("head/head-angle", "in", "out"),
    ("head/head-scale-depth", "decr", "incr"),
    ("head/head-scale-horiz", "decr", "incr"),
    ("head/head-scale-vert", "decr", "incr"),
    ("head/head-back-scale-depth", "decr", "incr"),
    ("forehead/forehead-nubian", "decr", "incr"),
    ("forehead/forehead-scale-vert", "decr", "incr"),
    ("forehead/forehead-temple", "decr", "incr"),
    ("forehead/forehead-trans", "backward", "forward"),
    ("eyebrows/eyebrows-angle", "down", "up"),
    ("eyebrows/eyebrows-trans", "down", "up"),
    ("chin/chin-bones", "decr", "incr"),
    ("chin/chin-cleft", "decr", "incr"),
    ("chin/chin-height", "decr", "incr"),
    ("chin/chin-jaw-drop", "decr", "incr"),
    ("chin/chin-prognathism", "decr", "incr"),
    ("chin/chin-prominent", "decr", "incr"),
    ("chin/chin-width", "decr", "incr"),
    ("nose/nose-base", "down", "up"),
    ("nose/nose-curve", "concave", "convex"),
    ("nose/nose-flaring", "decr", "incr"),
    ("nose/nose-greek", "decr", "incr"),
    ("nose/nose-hump", "decr", "incr"),
    ("nose/nose-nostrils-angle", "down", "up"),
    ("nose/nose-nostrils-width", "decr", "incr"),
    ("nose/nose-point", "down", "up"),
    ("nose/nose-point-width", "decr", "incr"),
    ("nose/nose-scale-depth", "decr", "incr"),
    ("nose/nose-scale-horiz", "decr", "incr"),
    ("nose/nose-scale-vert", "decr", "incr"),
    ("nose/nose-volume", "decr", "incr"),
    ("nose/nose-width1", "decr", "incr"),
    ("nose/nose-width2", "decr", "incr"),
    ("nose/nose-width3", "decr", "incr"),
    ("mouth/mouth-angles", "down", "up"),
    ("mouth/mouth-cupidsbow", "decr", "incr"),
    ("mouth/mouth-lowerlip-height", "decr", "incr"),
    ("mouth/mouth-lowerlip-volume", "decr", "incr"),
    ("mouth/mouth-philtrum-volume", "decr", "incr"),
    ("mouth/mouth-scale-horiz", "decr", "incr"),
    ("mouth/mouth-scale-vert", "decr", "incr"),
    ("mouth/mouth-trans", "down", "up"),
    ("mouth/mouth-upperlip-height", "decr", "incr"),
    ("mouth/mouth-upperlip-volume", "decr", "incr"),
    ("mouth/mouth-dimples", "in", "out"),
    ("mouth/mouth-laugh-lines", "in", "out"),
    ("neck/neck-double", "decr", "incr"),
    ("neck/neck-scale-horiz", "decr", "incr"),
    ("neck/neck-scale-depth", "decr", "incr"),
    ("neck/neck-scale-vert", "decr", "incr"),
)
# The same for pairs: applied left (l-) and right (r-) with nearly the same weight.
PAIRED_AXES = (
    ("cheek", "cheek-bones", "decr", "incr"),
    ("cheek", "cheek-inner", "decr", "incr"),
    ("cheek", "cheek-trans", "down", "up"),
    ("cheek", "cheek-volume", "decr", "incr"),
    ("eyes", "eye-bag", "decr", "incr"),
    ("eyes", "eye-corner1", "down", "up"),
    ("eyes", "eye-corner2", "down", "up"),
    ("eyes", "eye-epicanthus", "in", "out"),
    ("eyes", "eye-eyefold", "down", "up"),
    ("eyes", "eye-eyefold-angle", "down", "up"),
    ("eyes", "eye-height1", "decr", "incr"),
    ("eyes", "eye-height2", "decr", "incr"),
    ("eyes", "eye-height3", "decr", "incr"),
    ("eyes", "eye-push1", "in", "out"),
    ("eyes", "eye-scale", "decr", "incr"),
    ("eyes", "eye-trans", "in", "out"),
    ("ears", "ear-flap", "decr", "incr"),
    ("ears", "ear-lobe", "decr", "incr"),
    ("ears", "ear-scale", "decr", "incr"),
    ("ears", "ear-wing", "decr", "incr"),
    ("ears", "ear-shape", "pointed", "round"),
)
HEAD_SHAPES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
ASYMMETRIES = tuple(
    f"asym/asym-{part}-{k}"
    for part, n in (
        ("brown", 2),
        ("cheek", 2),
        ("ear", 4),
        ("eye", 8),
        ("jaw", 3),
        ("mouth", 2),
        ("nose", 4),
        ("temple", 2),
    )
    for k in range(1, n + 1)
)

# Expression: units of the face and their weights at full strength.
EXPRESSIONS = {
    "neutral": {},
    "soft smile": {"mouth-corner-puller": 0.55, "eye-left-slit": 0.15, "eye-right-slit": 0.15},
    "smile": {"mouth-corner-puller": 0.9, "mouth-parling": 0.25, "eye-left-slit": 0.3, "eye-right-slit": 0.3},
    "open smile": {
        "mouth-corner-puller": 0.9,
        "mouth-open": 0.16,
        "mouth-parling": 0.6,
        "mouth-upward-retraction": 0.25,
        "eye-left-slit": 0.3,
        "eye-right-slit": 0.3,
    },
    "serious": {"eyebrows-left-down": 0.45, "eyebrows-right-down": 0.45, "mouth-compression": 0.4},
    "surprised": {
        "eyebrows-left-up": 0.55,
        "eyebrows-right-up": 0.55,
        "mouth-open": 0.14,
        "eye-left-opened-up": 0.4,
        "eye-right-opened-up": 0.4,
    },
    "talking": {"mouth-open": 0.15, "mouth-parling": 0.3},
    "sad": {"eyebrows-left-inner-up": 0.5, "eyebrows-right-inner-up": 0.5, "mouth-depression": 0.4},
    "sceptical": {"eyebrows-left-extern-up": 0.6, "eyebrows-right-down": 0.2, "mouth-elevation": 0.25},
}

# Hair tints, linear RGB of the average strand.
HAIR_TINTS = {
    "black": (0.010, 0.009, 0.009),
    "soft black": (0.022, 0.017, 0.015),
    "dark brown": (0.045, 0.026, 0.016),
    "brown": (0.095, 0.052, 0.028),
    "light brown": (0.17, 0.105, 0.06),
    "dark blond": (0.25, 0.17, 0.095),
    "blond": (0.42, 0.31, 0.17),
    "platinum": (0.6, 0.52, 0.38),
    "auburn": (0.13, 0.045, 0.022),
    "red": (0.26, 0.085, 0.03),
    "grey": (0.22, 0.22, 0.22),
    "white": (0.55, 0.55, 0.54),
}
EYE_TEXTURES = ("brown", "brownlight", "blue", "bluegreen", "green", "grey", "lightblue", "deepblue", "ice")
STYLES_SHORT = ("short01", "short02", "short03", "short04", "buzz")
STYLES_LONG = ("bob02", "long01", "ponytail01", "braid01")
CLOTHES_ASSETS = (
    "female_casualsuit01",
    "female_elegantsuit01",
    "female_sportsuit01",
    "male_casualsuit02",
    "male_casualsuit03",
    "male_casualsuit04",
    "male_casualsuit05",
    "male_casualsuit06",
)
LIGHTS = ("studio", "soft box", "window", "overcast", "sun", "golden hour", "indoor warm", "flash", "split")
BACKDROPS = ("wall", "studio paper", "bokeh", "foliage", "room", "sky", "brick", "street")


@dataclass(frozen=True)
class Person:
    """Everything the renderer needs to know of one portrait. All lengths in decimetres, angles in degrees.

    Attributes:
        seed, index: the two numbers this person was drawn from.
        female: True for a woman's morphs.
        age: years, 18 to 85.
        ancestry: three weights summing to 1 (african, asian, caucasian morphs).
        monk: position on the Monk skin tone scale, 1.0 (lightest) to 10.0.
        skin: undertone, contrast, freckles, moles, redness, shine, lines, ... each a number.
        morphs: target name (below `targets/`) → weight.
        expression: name of the expression; `units` holds the weights of its units.
        hair: style, tint (linear RGB), grey, mirror, scale, length, ...
        face_hair: style and density of beard and moustache, tint.
        brows: texture number, tint, strength.
        eyes: texture and gaze.
        make_up: lip colour and strength, blush, shadow.
        glasses: None, or shape, colour, size, tinted.
        hat: None, or kind, colour, pattern.
        clothes: kind, colours, pattern, neckline.
        pose: head turn and camera.
        light: kind and its numbers.
        backdrop: kind, colours, seed of its noise.
    """

    seed: int
    index: int
    female: bool
    age: float
    ancestry: tuple[float, float, float]
    monk: float
    skin: dict
    morphs: dict
    expression: str
    units: dict
    hair: dict
    face_hair: dict
    brows: dict
    eyes: dict
    make_up: dict
    glasses: dict | None
    hat: dict | None
    clothes: dict
    pose: dict
    light: dict
    backdrop: dict

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Person:
        """The inverse of `to_json`."""
        fields = json.loads(line)
        fields["ancestry"] = tuple(fields["ancestry"])
        return cls(**fields)


def _pick(rng: np.random.Generator, options, weights=None):
    """One of `options`, as it is (no NumPy scalar types, so that it goes into JSON)."""
    options = list(options)
    p = None if weights is None else np.asarray(weights, float) / np.sum(weights)
    return options[int(rng.choice(len(options), p=p))]


def _u(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _n(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return round(float(np.clip(rng.normal(mean, sd), low, high)), 4)


def _rgb(
    rng: np.random.Generator, low: float = 0.02, high: float = 0.7, saturation: float = 0.6
) -> list[float]:
    """A random linear colour: mostly muted, now and then a strong one."""
    import colorsys

    s = float(rng.beta(1.2, 2.0)) * saturation * 1.4
    r, g, b = colorsys.hsv_to_rgb(float(rng.random()), min(s, 1.0), 1.0)
    value = float(low + (high - low) * rng.beta(1.0, 1.6))
    return [round(value * c, 4) for c in (r, g, b)]


def draw_person(seed: int, index: int) -> Person:
    """Draw person number `index` of the population `seed`. The same two integers give the same person."""
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got seed={seed}, index={index}")
    rng = np.random.default_rng([seed, index])
    female = bool(rng.random() < 0.5)
    age = _n(rng, 18 + 62 * float(rng.beta(1.15, 1.9)), 2, 18, 85)
    main = _pick(rng, range(3))
    mix = rng.dirichlet([0.35, 0.35, 0.35]) * 0.35
    mix[main] += 0.65
    ancestry = tuple(round(float(x), 4) for x in mix / mix.sum())
    # Skin tone follows ancestry loosely; together the three cover the whole scale.
    centre, spread = ((7.6, 1.4), (4.3, 1.1), (3.1, 1.4))[main]
    monk = _n(rng, centre, spread, 1.0, 10.0)

    return Person(
        seed=seed,
        index=index,
        female=female,
        age=age,
        ancestry=ancestry,
        monk=monk,
        skin=_draw_skin(rng, age, monk),
        morphs=_draw_morphs(rng),
        **_draw_expression(rng),
        **_draw_hair(rng, female, age, monk, ancestry),
        eyes=_draw_eyes(rng, monk, ancestry),
        make_up=_draw_make_up(rng, female),
        glasses=_draw_glasses(rng, age),
        clothes=_draw_clothes(rng, female),
        pose=_draw_pose(rng),
        light=draw_light(rng),
        backdrop=_draw_backdrop(rng),
    )


def _draw_skin(rng: np.random.Generator, age: float, monk: float) -> dict:
    old = np.clip((age - 35) / 40, 0, 1)
    return {
        "texture": _u(rng, 0, 1),
        "contrast": _u(rng, 0.75, 1.15),
        "undertone": _n(rng, 0, 0.5, -1, 1),
        "redness": _n(rng, 0.25, 0.25, 0, 1),
        "freckles": _u(rng, 0.3, 1) if monk < 5.5 and rng.random() < 0.16 else 0.0,
        "moles": int(rng.poisson(1.6)),
        "blotches": _u(rng, 0.03, 0.12),
        "shine": _u(rng, 0.25, 0.6),
        "roughness": _u(rng, 0.38, 0.6),
        "lines": round(float(old * rng.uniform(0.4, 1.0)), 4),
        "under_eye": _u(rng, 0.0, 0.35),
        "noise_seed": int(rng.integers(2**31)),
    }


def _draw_morphs(rng: np.random.Generator) -> dict:
    morphs: dict[str, float] = {}

    def add(stem: str, low: str, high: str, weight: float) -> None:
        if abs(weight) > 0.03:
            morphs[f"{stem}-{high if weight > 0 else low}"] = round(abs(weight), 3)

    for stem, low, high in SHAPE_AXES:
        # The skull varies less than the features, or heads look blown up or pinched.
        limit = {"head": 0.22, "fore": 0.3, "neck": 0.4}.get(stem[:4], 0.6)
        add(stem, low, high, float(np.clip(rng.normal(0, 0.23 if limit > 0.5 else 0.15), -limit, limit)))
    for folder, stem, low, high in PAIRED_AXES:
        weight = float(np.clip(rng.normal(0, 0.23), -0.55, 0.55))
        for side in "lr":
            add(f"{folder}/{side}-{stem}", low, high, weight + float(rng.normal(0, 0.03)))
    for _ in range(2):
        morphs[f"head/head-{_pick(rng, HEAD_SHAPES)}"] = _u(rng, 0.0, 0.4)
    for name in rng.choice(ASYMMETRIES, 6, replace=False):
        morphs[f"{name}-{_pick(rng, 'lr')}"] = _u(rng, 0.1, 0.5)
    return morphs


def _draw_expression(rng: np.random.Generator) -> dict:
    name = _pick(rng, EXPRESSIONS, [3, 3, 2.5, 2, 1, 0.5, 0.8, 0.5, 0.5])
    strength = rng.uniform(0.6, 1.05)
    units = {
        unit: round(float(w * strength * rng.uniform(0.8, 1.2)), 3) for unit, w in EXPRESSIONS[name].items()
    }
    for unit in (
        "eyebrows-left-up",
        "eyebrows-right-up",
        "mouth-retraction",
        "mouth-protusion",
        "nose-left-elevation",
        "eye-left-slit",
        "eye-right-slit",
    ):
        units[unit] = round(units.get(unit, 0.0) + float(rng.uniform(0, 0.12)), 3)
    return {"expression": name, "units": units}


def _draw_hair(rng: np.random.Generator, female: bool, age: float, monk: float, ancestry) -> dict:
    dark = ancestry[0] + ancestry[1] > 0.6 or monk > 5.5
    names = list(HAIR_TINTS)
    weights = (
        [5, 4, 2.5, 1, 0.3, 0.15, 0.15, 0.1, 0.3, 0.1, 0, 0]
        if dark
        else [1, 1.5, 3, 3, 2.5, 2, 1.6, 0.5, 0.8, 0.6, 0, 0]
    )
    name = _pick(rng, names, weights)
    tint = np.array(HAIR_TINTS[name]) * rng.uniform(0.75, 1.3) * rng.uniform(0.92, 1.08, 3)
    dyed = rng.random() < 0.02
    if dyed:
        tint = np.array(_rgb(rng, 0.15, 0.5, 1.0))
    grey = float(np.clip((age - 42) / 38 + rng.normal(0, 0.22), 0, 1)) if age > 35 else 0.0
    if female and grey > 0 and rng.random() < 0.65:
        grey *= 0.2  # coloured
    if grey > 0.55:
        name = "white" if grey > 0.85 else "grey"
        tint = np.array(HAIR_TINTS[name]) * rng.uniform(0.7, 1.2)
    elif grey > 0:
        tint = tint * (1 - 0.6 * grey) + np.array(HAIR_TINTS["grey"]) * 0.6 * grey
    if female:
        style = _pick(rng, STYLES_LONG + STYLES_SHORT, [1.8, 4, 2.4, 2.2, 1.0, 0.5, 0.9, 0.5, 0.25])
    else:
        bald = 0.6 + 2.2 * np.clip((age - 30) / 40, 0, 1)
        style = _pick(
            rng, STYLES_SHORT + ("bald", "long01", "ponytail01"), [2.2, 2.2, 0.6, 2.0, 2.0, bald, 0.3, 0.2]
        )
    hat = None
    if rng.random() < 0.08:
        kind = _pick(rng, ("beanie", "headscarf") if female else ("beanie",))
        hat = {
            "kind": kind,
            "colour": _rgb(rng, 0.02, 0.6),
            "second": _rgb(rng, 0.02, 0.6),
            "pattern": _pick(rng, ("plain", "ribbed", "stripes")),
            "height": _u(rng, -0.12, 0.1),
        }
        style = "buzz" if kind == "beanie" or style == "bald" else "bald"
    face_style = "none"
    if not female:
        face_style = _pick(
            rng,
            ("none", "stubble", "short beard", "full beard", "moustache", "goatee"),
            [4, 2.2, 1.3, 1.2, 0.6, 0.6],
        )
    return {
        "hair": {
            "style": style,
            "name": "dyed" if dyed else name,
            "tint": [round(float(x), 4) for x in np.clip(tint, 0.004, 0.7)],
            "contrast": _u(rng, 0.6, 1.2),
            "streaks": _u(rng, 0.0, 0.5),
            "mirror": bool(rng.random() < 0.5),
            "scale": [_u(rng, 1.0, 1.06), _u(rng, 0.98, 1.03), _u(rng, 1.0, 1.06)],
            "length": _u(rng, 0.45, 1.0),
            "gloss": _u(rng, 0.22, 0.45),
        },
        "face_hair": {
            "style": face_style,
            "density": _u(rng, 0.5, 0.95),
            "reach": _u(rng, -0.12, 0.12),
            "tint": [round(float(x), 4) for x in np.clip(tint * rng.uniform(0.6, 1.0), 0.004, 0.4)],
        },
        "brows": {
            "texture": int(rng.integers(1, 13)) if female else _pick(rng, (1, 4, 5, 8, 9, 11, 12, 2, 10)),
            "tint": [round(float(x), 4) for x in np.clip(np.minimum(tint, 0.14) * 0.55, 0.004, 0.2)],
            "strength": _u(rng, 0.6, 0.95),
            "lashes": _pick(rng, (1, 2, 3, 4)) if female else 1,
        },
        "hat": hat,
    }


def _draw_eyes(rng: np.random.Generator, monk: float, ancestry) -> dict:
    dark = ancestry[0] + ancestry[1] > 0.5 or monk > 6
    weights = [8, 2, 0.05, 0.05, 0.1, 0.05, 0, 0, 0] if dark else [3, 2.5, 1.3, 1, 1.2, 1.2, 1, 0.3, 0.5]
    # Mostly into the camera: `follow` is the share of the head's turn the eyes undo.
    return {
        "texture": _pick(rng, EYE_TEXTURES, weights),
        "follow": _u(rng, 0.55, 1.0),
        "gaze": [_n(rng, 0, 4, -14, 14), _n(rng, 0, 2.5, -7, 7)],
        "brightness": _u(rng, 0.55, 0.85),
        "iris": _u(rng, 0.6, 1.05),
    }


def _draw_make_up(rng: np.random.Generator, female: bool) -> dict:
    worn = female and rng.random() < 0.6
    lips = _pick(
        rng,
        ((0.40, 0.05, 0.06), (0.30, 0.08, 0.10), (0.45, 0.16, 0.15), (0.22, 0.03, 0.06), (0.42, 0.12, 0.2)),
    )
    return {
        "lips": list(lips),
        "lip_strength": _u(rng, 0.15, 0.75) if worn else 0.0,
        "blush": _u(rng, 0.05, 0.35) if worn else 0.0,
        "shadow": _rgb(rng, 0.02, 0.25),
        "shadow_strength": _u(rng, 0.1, 0.5) if worn and rng.random() < 0.6 else 0.0,
        "liner": _u(rng, 0.2, 0.7) if worn and rng.random() < 0.6 else 0.0,
    }


def _draw_glasses(rng: np.random.Generator, age: float) -> dict | None:
    if rng.random() > 0.13 + 0.2 * np.clip((age - 30) / 40, 0, 1):
        return None
    dark = rng.random() < 0.5
    return {
        "shape": _pick(rng, ("round", "oval", "square", "wide", "pilot")),
        "colour": _rgb(rng, 0.01, 0.06 if dark else 0.35, 0.7),
        "metal": bool(rng.random() < 0.4),
        "thickness": _u(rng, 0.013, 0.036),
        "size": _u(rng, 0.86, 1.04),
        "low": _u(rng, -0.02, 0.06),
        "tinted": bool(rng.random() < 0.12),
    }


def _draw_clothes(rng: np.random.Generator, female: bool) -> dict:
    own = [name for name in CLOTHES_ASSETS if name.startswith("female") == female]
    kind = _pick(
        rng,
        ("asset", "tee", "v-neck", "turtleneck", "scoop", "hoodie"),
        [4, 2, 1.2, 1, 1.4 if female else 0.3, 0.8],
    )
    return {
        "kind": kind,
        "asset": _pick(rng, own),
        "colour": _rgb(rng, 0.01, 0.65),
        "second": _rgb(rng, 0.01, 0.65),
        "pattern": _pick(rng, ("plain", "stripes", "checks", "speckle", "vertical"), [4, 1, 0.8, 1, 0.5]),
        "period": _u(rng, 0.12, 0.5),
        "retint": bool(rng.random() < 0.75),
        "collar": _u(rng, -0.12, 0.12),
    }


def _draw_pose(rng: np.random.Generator) -> dict:
    return {
        "body_yaw": _n(rng, 0, 14, -35, 35),
        "yaw": _n(rng, 0, 11, -25, 25),
        "pitch": _n(rng, 0, 4.5, -10, 10),
        "roll": _n(rng, 0, 4, -11, 11),
        "camera_pitch": _n(rng, 1, 3.5, -8, 9),
        "distance": _u(rng, 9.5, 22.0),
        "height": _n(rng, 3.1, 0.22, 2.7, 3.65),
        "shift": [_n(rng, 0, 0.08, -0.2, 0.2), _n(rng, 0, 0.07, -0.15, 0.15)],
    }


def draw_light(rng: np.random.Generator) -> dict:
    """A light set-up; the renderer draws a new one when the picture came out unusable."""
    return {
        "kind": _pick(rng, LIGHTS, [1.4, 1.4, 1.5, 1.4, 1.1, 0.9, 1.4, 0.5, 0.4]),
        "side": _pick(rng, (-1, 1)),
        "azimuth": _u(rng, 0, 1),
        "height": _u(rng, 0, 1),
        "ratio": _u(rng, 0, 1),
        "warmth": _n(rng, 0, 0.5, -1, 1),
        "size": _u(rng, 0, 1),
        "rim": _u(rng, 0, 1),
        "exposure": _n(rng, 0, 0.22, -0.5, 0.5),
        "ambient": _rgb(rng, 0.5, 1.0, 0.3),
    }


def _draw_backdrop(rng: np.random.Generator) -> dict:
    return {
        "kind": _pick(rng, BACKDROPS, [2, 1.5, 1.5, 1.5, 1.8, 0.6, 0.7, 1]),
        "colour": _rgb(rng, 0.03, 0.7),
        "second": _rgb(rng, 0.03, 0.7),
        "third": _rgb(rng, 0.03, 0.7),
        "level": _u(rng, 0.25, 1.3),
        "blur": _u(rng, 0.01, 0.05),
        "noise_seed": int(rng.integers(2**31)),
    }

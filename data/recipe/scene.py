"""From a `Person` to a linear picture: build the meshes, light them, path-trace them with Mitsuba 3.

The variant is `scalar_rgb`: it needs nothing but the wheel, and one process uses one core, so that a machine
is filled by rendering several people at once. With few samples and Open Image Denoise (used when the package
`pyoidn` is there) a portrait of 144 x 144 costs about one and a half core-seconds.

The volumetric integrator is used although there is no fog: it alone lets light through the transparent parts
of hair and lashes on its way to the lamp; the plain one paints speckled shadows there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .assets import Library, Surface, make_surface, vertex_normals
from .backdrop import paint_backdrop
from .paint import (
    LOWEST,
    SIDE,
    BodyMap,
    beard_region,
    ear_region,
    garment_cover,
    hat_cover,
    monk_albedo,
    paint_skin,
    pattern,
    scalp_region,
    smooth,
)
from .people import ANCESTRIES, Person, draw_light

HEAD = np.array([0.0, 7.2, 0.6])  # middle of the head, decimetres
NECK = np.array([0.0, 5.95, 0.25])  # where the head turns
TEXTURE = 512


class RenderError(Exception):
    """A portrait that came out unusable (black, blown out, or not a number) under every light tried."""


def _mitsuba():
    """Mitsuba with its variant set, imported on first use."""
    try:
        import mitsuba as mi
    except ImportError as error:
        raise RenderError("the renderer is not installed: pip install 'mitsuba>=3.6' pyoidn") from error
    if mi.variant() != "scalar_rgb":
        import drjit

        mi.set_variant("scalar_rgb")
        drjit.set_thread_count(1)
        mi.set_log_level(mi.LogLevel.Error)
    return mi


# ---------------------------------------------------------------------------------------------- the vertices


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Degrees → matrix (3, 3): roll about z, then pitch about x (positive looks up), then yaw about y."""
    a, b, c = np.radians([yaw, -pitch, roll])
    about_y = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def morph(library: Library, person: Person) -> np.ndarray:
    """The base mesh in the person's shape and expression, before the pose: float32 (V, 3)."""
    vertices = library.base.vertices.copy()
    sex = "female" if person.female else "male"
    old = float(np.clip((person.age - 28) / 58, 0, 1))
    weights = dict(person.morphs)
    for race, share in zip(ANCESTRIES, person.ancestry, strict=True):
        weights[f"macrodetails/{race}-{sex}-young"] = share * (1 - old)
        weights[f"macrodetails/{race}-{sex}-old"] = share * old
    race = ANCESTRIES[int(np.argmax(person.ancestry))]
    for unit, weight in person.units.items():
        weights[f"expression/units/{race}/{unit}"] = weight
    for name, weight in weights.items():
        if weight > 0.005:
            index, offset = library.target(name)
            vertices[index] += np.float32(weight) * offset
    return vertices


def pose(library: Library, person: Person, vertices: np.ndarray) -> np.ndarray:
    """Turn eyes, head and body; hair and clothes follow because they hang on these vertices."""
    turned, spec = vertices.copy(), person.pose
    head_turn = np.clip(spec["yaw"] - spec["body_yaw"], -32, 32)
    gaze = person.eyes["gaze"]
    look = rotation(
        -(spec["body_yaw"] + head_turn) * person.eyes["follow"] + gaze[0],
        float(np.clip(-spec["pitch"] * person.eyes["follow"] + gaze[1], -8, 8)),
        0,
    )
    for side in "lr":
        eye = library.base.group_vertices(f"helper-{side}-eye")
        centre = (turned[eye].min(0) + turned[eye].max(0)) / 2
        turned[eye] = (turned[eye] - centre) @ look.T + centre
    rest = library.base.vertices
    share = smooth(rest[:, 1] - 0.12 * (rest[:, 2] - 0.5), 5.45, 6.35)[:, None]
    head = (turned - NECK) @ rotation(head_turn, spec["pitch"], spec["roll"]).T + NECK
    turned = turned + share * (head - turned)
    axis = np.array([0, 0, 0.25])
    return ((turned - axis) @ rotation(spec["body_yaw"], 0, 0).T + axis).astype(np.float32)


# ------------------------------------------------------------------------------------------------- the parts


@dataclass
class Part:
    """One mesh with its material: what `render` hands to the renderer."""

    name: str
    positions: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    bsdf: dict


class Wardrobe:
    """Everything that does not change from person to person, made once per process."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.body = BodyMap(library)
        base = library.base
        inside = base.in_group("body") & (base.vertices[base.faces][:, :, 1].min(1) > LOWEST)
        self.skin_faces = inside
        self.skin: Surface = make_surface(base, inside)
        self.body_faces = base.faces[base.in_group("body")]


def _bitmap(values: np.ndarray) -> dict:
    mi = _mitsuba()
    if values.ndim == 2:
        values = values[..., None]
    return {
        "type": "bitmap",
        "bitmap": mi.Bitmap(np.ascontiguousarray(values, np.float32)),
        "raw": True,
        "wrap_mode": "clamp",
    }


def _rgb(values) -> dict:
    return {"type": "rgb", "value": [float(min(v, 0.9)) for v in values]}


def _cloth(colour) -> dict:
    return {"type": "twosided", "inner": {"type": "diffuse", "reflectance": colour}}


def _masked(bsdf: dict, opacity) -> dict:
    return {"type": "mask", "opacity": opacity, "inner": bsdf}


def _surface_part(
    name: str,
    vertices: np.ndarray,
    surface: Surface,
    faces_of: np.ndarray,
    bsdf: dict,
    keep: np.ndarray | None = None,
) -> Part:
    normals = vertex_normals(vertices, faces_of)[surface.source]
    faces = surface.faces if keep is None else surface.faces[keep]
    return Part(name, vertices[surface.source], normals, surface.uv, faces, bsdf)


def posed_vertices(library: Library, person: Person) -> np.ndarray:
    """The base mesh as it is photographed, in shape, expression and pose: float32 (V, 3)."""
    rest = library.base.vertices
    skin = library.base.faces[library.base.in_group("body")]
    shape = morph(library, person)
    if person.hat:  # ears lie flat under a hat
        ears = ear_region(rest) > 0.1
        shape[ears, 0] = np.clip(shape[ears, 0], -0.80, 0.80)
    beard = person.face_hair
    if beard["style"] in ("full beard", "goatee", "short beard"):
        thick = {"full beard": 0.10, "goatee": 0.06, "short beard": 0.025}[beard["style"]] * beard["density"]
        grow = beard_region(rest, beard["style"], beard["reach"]) * (rest[:, 1] < 6.78)
        shape = shape + vertex_normals(shape, skin) * (thick * grow)[:, None].astype(np.float32)
    if person.hair["style"] == "buzz":
        shape = shape + vertex_normals(shape, skin) * (0.03 * scalp_region(rest))[:, None].astype(np.float32)
    return pose(library, person, shape)


def build_parts(wardrobe: Wardrobe, person: Person) -> tuple[list[Part], np.ndarray]:
    """All meshes of a person, and the posed base vertices (V, 3)."""
    library, body = wardrobe.library, wardrobe.body
    rest = library.base.vertices
    vertices = posed_vertices(library, person)

    parts: list[Part] = []
    clothes = _clothes(wardrobe, person, vertices)
    hidden = clothes[1]
    skin_bsdf = {
        "type": "principled",
        "base_color": _bitmap(paint_skin(library, body, person)),
        "roughness": person.skin["roughness"],
        "specular": person.skin["shine"],
    }
    keep = None
    if len(hidden):
        gone = np.zeros(len(rest), bool)
        gone[hidden] = True
        keep = ~gone[library.base.faces[wardrobe.skin_faces]].any(1)
    parts.append(_surface_part("skin", vertices, wardrobe.skin, wardrobe.body_faces, skin_bsdf, keep))
    parts += clothes[0]
    parts += _eyes_teeth_lashes(wardrobe, person, vertices)
    if person.hair["style"] not in ("bald", "buzz"):
        parts.append(_hair(wardrobe, person, vertices))
    if person.hat:
        parts.append(_hat(wardrobe, person, vertices))
    if person.glasses:
        parts += _glasses(library, person, vertices)
    return parts, vertices


def _eyes_teeth_lashes(wardrobe: Wardrobe, person: Person, vertices: np.ndarray) -> list[Part]:
    library, out = wardrobe.library, []
    proxy, mesh, surface = library.proxy("eyes/high-poly/high-poly.mhclo")
    texture = library.texture(f"eyes/materials/{person.eyes['texture']}_eye.png", TEXTURE)
    colour = texture[..., :3]
    grey = colour.mean(-1, keepdims=True)
    iris = smooth((colour.max(-1) - colour.min(-1)) / np.maximum(colour.max(-1), 1e-3), 0.25, 0.5)[..., None]
    colour = (colour * 0.7 + grey * 0.3) * (
        person.eyes["brightness"] + (person.eyes["iris"] - person.eyes["brightness"]) * iris
    )
    corners = np.clip((surface.uv * TEXTURE).astype(int), 0, TEXTURE - 1)
    seen = texture[corners[:, 1], corners[:, 0], 3] > 0.5  # the transparent cornea would only cast a shadow
    eyes = {
        "type": "roughplastic",
        "diffuse_reflectance": _bitmap(np.clip(colour, 0.003, 0.42)),
        "alpha": 0.06,
        "int_ior": 1.45,
    }
    out.append(
        _surface_part("eyes", proxy.fit(vertices), surface, mesh.faces, eyes, seen[surface.faces].all(1))
    )

    if person.units.get("mouth-open", 0) + person.units.get("mouth-parling", 0) > 0.05:
        proxy, mesh, surface = library.proxy("teeth/teeth_base/teeth_base.mhclo")
        colour = np.clip(library.texture("teeth/teeth_base/teeth.png", TEXTURE)[..., :3] * 0.75, 0.01, 0.75)
        teeth = {"type": "roughplastic", "diffuse_reflectance": _bitmap(colour), "alpha": 0.15}
        out.append(
            _surface_part(
                "teeth", proxy.fit(vertices), surface, mesh.faces, {"type": "twosided", "inner": teeth}
            )
        )

    number = person.brows["lashes"]
    name = f"eyelashes/eyelashes{number:02d}/eyelashes{number:02d}"
    proxy, mesh, surface = library.proxy(f"{name}.mhclo")
    opacity = library.texture(f"{name}.png", TEXTURE)[..., 3] * (0.95 if person.female else 0.5)
    out.append(
        _surface_part(
            "lashes",
            proxy.fit(vertices),
            surface,
            mesh.faces,
            _masked(_cloth(_rgb((0.012, 0.010, 0.009))), _bitmap(opacity)),
        )
    )
    return out


def _hair(wardrobe: Wardrobe, person: Person, vertices: np.ndarray) -> Part:
    library, hair = wardrobe.library, person.hair
    proxy, mesh, surface = library.proxy(f"hair/{hair['style']}/{hair['style']}.mhclo")
    texture = library.texture(library.hair[hair["style"]], TEXTURE)
    light = texture[..., :3].mean(-1)
    solid = texture[..., 3] > 0.5
    light = light / max(float(np.exp(np.log(light[solid] + 1e-3).mean())), 1e-3)
    rng = np.random.default_rng(person.skin["noise_seed"] + 7)
    streaks = np.repeat(rng.standard_normal((1, TEXTURE // 4)), 4, 1) * hair["streaks"] * 0.4
    shade = np.clip(light, 0.12, 3.5) ** (1.0 * hair["contrast"]) * np.exp(streaks)
    colour = np.clip(shade[..., None] * np.array(hair["tint"]), 0.003, 0.85)
    bsdf = {
        "type": "twosided",
        "inner": {
            "type": "roughplastic",
            "diffuse_reflectance": _bitmap(colour),
            "alpha": hair["gloss"],
            "int_ior": 1.35,
            "specular_reflectance": _rgb(0.35 + 0.5 * np.array(hair["tint"])),
        },
    }
    bsdf = _masked(bsdf, _bitmap(smooth(texture[..., 3], 0.05, 0.85)))
    return _surface_part(hair["style"], _restyle(library, person, vertices, proxy), surface, mesh.faces, bsdf)


def _restyle(library: Library, person: Person, vertices: np.ndarray, proxy) -> np.ndarray:
    """Fit a hair mesh, then mirror, stretch and shorten it in the head's own frame."""
    hair = person.hair
    head = [library.base.group_vertices(f"joint-{side}-eye") for side in "lr"]
    left, right = (vertices[i].mean(0) for i in head)
    x = (left - right) / np.linalg.norm(left - right)
    crown, chin = vertices[881], vertices[5162]
    y = crown - chin
    y = y - x * (y @ x)
    y = y / np.linalg.norm(y)
    frame = np.stack([x, y, np.cross(x, y)])
    origin = (vertices[library.base.group_vertices("joint-head")]).mean(0)
    own = (proxy.fit(vertices) - origin) @ frame.T
    if hair["mirror"]:
        own[:, 0] *= -1
    scale = np.array(hair["scale"])
    above = own[:, 1] > 0
    own[:, 0] *= scale[0]
    own[:, 2] *= scale[2]
    own[above, 1] *= scale[1]
    if hair["style"] in ("long01", "bob02"):
        fall = own[:, 1] < -0.2
        shorten = hair["length"] if hair["style"] == "long01" else 0.8 + 0.4 * hair["length"]
        own[fall, 1] = -0.2 + (own[fall, 1] + 0.2) * shorten
    return (own @ frame + origin).astype(np.float32)


def _shell(
    wardrobe: Wardrobe,
    name: str,
    vertices: np.ndarray,
    offset: np.ndarray,
    cover: np.ndarray,
    colour: np.ndarray,
) -> Part:
    """A layer over the body: its faces moved out along the normals, seen only where `cover` (K,) says so."""
    normals = vertex_normals(vertices, wardrobe.body_faces)
    moved = vertices + normals * offset[:, None].astype(np.float32)
    body = wardrobe.body
    opacity = _bitmap(body.sheet(cover.astype(np.float32), 0.0))
    bsdf = _masked(_cloth(_bitmap(body.sheet(np.clip(colour, 0.01, 0.85).astype(np.float32), 0.2))), opacity)
    sheet = body.sheet(cover.astype(np.float32), 0.0)
    at = np.clip((wardrobe.skin.uv * SIDE).astype(int), 0, SIDE - 1)
    used = (sheet[at[:, 1], at[:, 0]] > 0.0)[wardrobe.skin.faces].any(1)
    return _surface_part(name, moved, wardrobe.skin, wardrobe.body_faces, bsdf, used)


def _clothes(wardrobe: Wardrobe, person: Person, vertices: np.ndarray) -> tuple[list[Part], np.ndarray]:
    library, body, clothes = wardrobe.library, wardrobe.body, person.clothes
    if clothes["kind"] == "asset":
        name = clothes["asset"]
        proxy, mesh, surface = library.proxy(f"clothes/{name}/{name}.mhclo")
        texture = library.texture(library.clothes[name], TEXTURE)
        colour = texture[..., :3]
        if clothes["retint"]:
            light = colour.mean(-1, keepdims=True)
            used = light[light > 0.005]  # some textures are black where no cloth is
            light = np.clip(light / np.median(used), 0.05, 3) ** 0.6
            colour = light * np.array(clothes["colour"])
        opacity = texture[..., 3]
        bsdf = _cloth(_bitmap(np.clip(colour, 0.01, 0.8)))
        if opacity.min() < 0.5:
            bsdf = _masked(bsdf, _bitmap(opacity))
        fitted = proxy.fit(vertices)
        fitted = fitted + np.float32(0.05) * vertex_normals(fitted, mesh.faces)  # or the body pokes through
        keep = fitted[mesh.faces][:, :, 1].max(1) > LOWEST - 0.6
        return [_surface_part(name, fitted, surface, mesh.faces, bsdf, keep)], proxy.hidden
    p, rest = body.place, library.base.vertices
    kind = "tee" if clothes["kind"] == "hoodie" else clothes["kind"]
    cover = garment_cover(p, kind, clothes["collar"])
    colour = pattern(
        p, clothes["pattern"], clothes["colour"], clothes["second"], clothes["period"], body.noise(3, 9.0)
    )
    offset = np.full(len(rest), 0.05)
    if clothes["kind"] in ("hoodie", "turtleneck"):
        offset = offset + 0.06 * smooth(rest[:, 1], 5.2, 5.7)
    if clothes["kind"] == "hoodie":
        offset = offset + 0.10 * smooth(rest[:, 1], 5.3, 5.6)
    return [_shell(wardrobe, kind, vertices, offset, cover, colour)], np.zeros(0, int)


def _hat(wardrobe: Wardrobe, person: Person, vertices: np.ndarray) -> Part:
    body, hat, rest = wardrobe.body, person.hat, wardrobe.library.base.vertices
    cover = hat_cover(body.place, hat["kind"], hat["height"])
    if hat["kind"] == "beanie":
        line = 7.12 + 0.46 * np.clip(rest[:, 2], -0.6, 1.5) + hat["height"]
        brim = smooth(rest[:, 1] - line, 0.42, 0.36)
        offset = 0.10 + 0.045 * brim + 0.12 * smooth(rest[:, 1], 8.0, 8.5)
    else:
        offset = 0.09 + 0.05 * smooth(rest[:, 2], 0.6, 0.0)
    colour = pattern(body.place, hat["pattern"], hat["colour"], hat["second"], 0.3, body.noise(4, 12.0))
    return _shell(wardrobe, hat["kind"], vertices, offset, cover, colour)


def tube(points: np.ndarray, radius: float, closed: bool, sides: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """A round wire along points (N, 3): vertices (N * sides, 3) and faces."""
    n = len(points)
    if closed:
        along = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    else:
        along = np.gradient(points, axis=0)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(along[:, 2:]) > 0.8, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    u = np.cross(along, helper)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(along, u)
    angle = np.arange(sides) / sides * 2 * np.pi
    ring = points[:, None] + radius * (
        np.cos(angle)[None, :, None] * u[:, None] + np.sin(angle)[None, :, None] * v[:, None]
    )
    faces = []
    for i in range(n if closed else n - 1):
        j = (i + 1) % n
        for k in range(sides):
            m = (k + 1) % sides
            faces += [
                (i * sides + k, j * sides + k, j * sides + m),
                (i * sides + k, j * sides + m, i * sides + m),
            ]
    return ring.reshape(-1, 3).astype(np.float32), np.array(faces, np.int32)


def _glasses(library: Library, person: Person, vertices: np.ndarray) -> list[Part]:
    """Rims, bridge and temples as wires before the eyes; tinted glasses get dark panes."""
    spec = person.glasses
    eyes = [vertices[library.base.group_vertices(f"joint-{side}-eye")].mean(0) for side in "lr"]
    x = eyes[0] - eyes[1]
    apart = float(np.linalg.norm(x))
    x = x / apart
    y = vertices[881] - vertices[5162]
    y = y - x * (y @ x)
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    middle = (eyes[0] + eyes[1]) / 2
    ears = ear_region(library.base.vertices) > 0.5
    bridge = (vertices[132] - middle) @ z  # the root of the nose
    front = max(
        bridge,
        *[
            float(((vertices[library.base.group_vertices(f"helper-{s}-eye")] - middle) @ z).max())
            for s in "lr"
        ],
    )
    front += 0.10
    power, wide, high = {
        "round": (2, 0.235, 0.225),
        "oval": (2.2, 0.26, 0.19),
        "square": (4.5, 0.26, 0.205),
        "wide": (5, 0.285, 0.16),
        "pilot": (2.6, 0.285, 0.235),
    }[spec["shape"]]
    wide, high = wide * spec["size"], high * spec["size"]
    angle = np.arange(40) / 40 * 2 * np.pi
    outline = np.stack(
        [
            wide * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / power),
            high * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / power),
        ],
        1,
    )
    pieces, panes = [], []
    half = max(apart / 2, wide + 0.06)

    def place(a, b, c) -> np.ndarray:
        return middle + np.outer(a, x) + np.outer(b, y) + np.outer(c, z)

    for sign in (1, -1):
        a = sign * half + outline[:, 0]
        rim = place(a, outline[:, 1] - spec["low"], front - 0.10 * np.abs(a) ** 2)
        pieces.append(tube(rim, spec["thickness"], True))
        fan = np.array([(40, k, (k + 1) % 40) for k in range(40)], np.int32)
        panes.append((np.concatenate([rim, rim.mean(0, keepdims=True)]).astype(np.float32), fan))
        ear = 0.92 * float(np.abs((vertices[ears] - middle) @ x).max())
        start = half + wide
        steps = np.linspace(0, 1, 10)
        arm = place(
            sign * (start + (ear - start) * np.minimum(steps * 1.5, 1)),
            0.06 - spec["low"] + 0 * steps,
            front - 0.10 * start**2 - steps * 1.15,
        )
        pieces.append(tube(arm, spec["thickness"] * 0.8, False))
    t = np.linspace(-1, 1, 8)
    gap = half - wide
    pieces.append(
        tube(
            place(t * gap, 0.05 + 0.03 * (1 - t**2) - spec["low"], front + 0 * t),
            spec["thickness"] * 0.9,
            False,
        )
    )
    rough = 0.12 if spec["metal"] else 0.2
    frame = {
        "type": "twosided",
        "inner": {"type": "roughplastic", "diffuse_reflectance": _rgb(spec["colour"]), "alpha": rough},
    }
    if spec["metal"]:
        frame = {
            "type": "twosided",
            "inner": {
                "type": "roughconductor",
                "alpha": 0.2,
                "specular_reflectance": _rgb(np.array(spec["colour"]) * 0.6 + 0.12),
            },
        }
    out = [_plain_part("frame", pieces, frame)]
    if spec["tinted"]:
        dark = {
            "type": "twosided",
            "inner": {
                "type": "roughplastic",
                "diffuse_reflectance": _rgb((0.012, 0.012, 0.013)),
                "alpha": 0.06,
            },
        }
        out.append(_plain_part("panes", panes, _masked(dark, 0.88)))
    return out


def _plain_part(name: str, pieces: list[tuple[np.ndarray, np.ndarray]], bsdf: dict) -> Part:
    start, positions, faces = 0, [], []
    for p, f in pieces:
        positions.append(p)
        faces.append(f + start)
        start += len(p)
    positions, faces = np.concatenate(positions), np.concatenate(faces)
    return Part(
        name,
        positions,
        vertex_normals(positions, faces),
        np.zeros((len(positions), 2), np.float32),
        faces,
        bsdf,
    )


# ------------------------------------------------------------------------------------------------- the light


def _kelvin(warmth: float) -> np.ndarray:
    """A light colour: warmth -1 is blue shade, 0 white, 1 a bulb."""
    return (
        np.array([1 + 0.28 * warmth, 1.0, 1 - 0.42 * warmth])
        if warmth > 0
        else np.array([1 + 0.2 * warmth, 1 + 0.05 * warmth, 1 - 0.22 * warmth])
    )


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    """Degrees from the camera's side of the head (+z), positive azimuth to +x."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])


def build_light(spec: dict) -> tuple[list[tuple[np.ndarray, float, float, np.ndarray]], np.ndarray]:
    """A light set-up: lamps (direction, distance, half size, irradiance RGB at the head) and a surround.

    The surround is a linear image (32, 64, 3) of radiance, top row up; the key light gives about pi.
    """
    u, side = spec["azimuth"], spec["side"]
    up = np.linspace(1, -1, 32)[:, None, None]  # +1 overhead
    around = np.linspace(-1, 1, 64)[None, :, None]
    flat = np.array(spec["ambient"])
    key = _kelvin(spec["warmth"] * 0.35) * math.pi
    kind, r = spec["kind"], spec["ratio"]
    lamps = []
    room = flat * (0.65 + 0.35 * up) * np.ones((32, 64, 1))
    if kind == "studio":
        lamps.append(
            (_direction(side * (20 + 35 * u), 15 + 30 * spec["height"]), 11.0, 1.2 + 2 * spec["size"], key)
        )
        lamps.append((_direction(-side * 55, 10), 14.0, 3.0, key * (0.08 + 0.3 * r)))
        lamps.append((_direction(-side * 140, 25), 12.0, 1.2, key * 1.2 * spec["rim"]))
        surround = room * (0.06 + 0.12 * r)
    elif kind == "soft box":
        lamps.append(
            (_direction(side * (5 + 45 * u), 10 + 30 * spec["height"]), 9.0, 3.0 + 2 * spec["size"], key)
        )
        surround = room * (0.15 + 0.35 * r)
    elif kind == "window":
        cool = _kelvin(-0.5 + 0.3 * spec["warmth"])
        lamps.append(
            (
                _direction(side * (50 + 35 * u), 5 + 15 * spec["height"]),
                9.0,
                3.5 + 2 * spec["size"],
                cool * math.pi,
            )
        )
        surround = room * _kelvin(0.25) * (0.12 + 0.3 * r)
    elif kind == "overcast":
        surround = (
            np.array([0.92, 0.98, 1.06])
            * (0.25 + 0.75 * smooth(up, -0.3, 0.6))
            * (1 + 0.3 * side * np.sin(around * math.pi))
        )
        lamps.append((_direction(side * 60 * u, 45), 14.0, 5.0, key * 0.35))
    elif kind in ("sun", "golden hour"):
        low = kind == "golden hour"
        height = 8 + 14 * spec["height"] if low else 25 + 30 * spec["height"]
        tint = np.array([1.35, 0.92, 0.5]) if low else np.array([1.08, 1.0, 0.88])
        away = side * (25 + 100 * u) if low else side * (15 + 60 * u)
        lamps.append(
            (_direction(away, height), 30.0, 0.9 + 1.3 * spec["size"], tint * math.pi * (0.8 + 0.5 * r))
        )
        sky = np.array([0.62, 0.8, 1.1]) if not low else np.array([0.75, 0.75, 0.9])
        ground = np.array([0.35, 0.33, 0.25])
        surround = (
            (0.42 * sky * smooth(up, -0.1, 0.2) + 0.30 * ground * smooth(up, 0.1, -0.2))
            * np.ones((1, 64, 1))
            * (0.7 + 0.8 * (1 - r))
        )
    elif kind == "indoor warm":
        warm = _kelvin(0.35 + 0.5 * abs(spec["warmth"]))
        lamps.append(
            (
                _direction(side * (15 + 40 * u), 40 + 15 * spec["height"]),
                10.0,
                1.0 + spec["size"],
                warm * math.pi,
            )
        )
        lamps.append((_direction(-side * (45 + 45 * u), 30), 14.0, 1.5, warm * math.pi * (0.2 + 0.4 * r)))
        surround = room * _kelvin(0.4) * (0.15 + 0.25 * r)
    elif kind == "flash":
        lamps.append((_direction(side * 5, 8), 13.0, 0.5 + 0.5 * spec["size"], key))
        surround = room * (0.08 + 0.15 * r)
    else:  # split: two coloured sides
        lamps.append((_direction(side * (50 + 25 * u), 12), 10.0, 2.0, key * np.array([1.1, 0.95, 0.8])))
        lamps.append(
            (
                _direction(-side * (55 + 25 * u), 12),
                10.0,
                2.0,
                key * np.array([0.6, 0.8, 1.2]) * (0.3 + 0.5 * r),
            )
        )
        surround = room * (0.08 + 0.12 * r)
    return lamps, np.ascontiguousarray(np.broadcast_to(surround, (32, 64, 3)), np.float32)


# ----------------------------------------------------------------------------------------------- the picture


def _mesh(part: Part):
    mi = _mitsuba()
    props = mi.Properties()
    props["bsdf"] = mi.load_dict(part.bsdf)
    mesh = mi.Mesh(
        part.name,
        len(part.positions),
        len(part.faces),
        has_vertex_normals=True,
        has_vertex_texcoords=True,
        props=props,
    )
    params = mi.traverse(mesh)
    params["vertex_positions"] = np.ravel(part.positions).astype(np.float32)
    params["vertex_normals"] = np.ravel(part.normals).astype(np.float32)
    params["vertex_texcoords"] = np.ravel(part.uv).astype(np.float32)
    params["faces"] = np.ravel(part.faces).astype(np.uint32)
    params.update()
    return mesh


def denoise(colour: np.ndarray, albedo: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Open Image Denoise when the package is there; otherwise the picture as it is. All float32 (H, W, 3)."""
    try:
        import pyoidn
    except ImportError:
        return colour
    colour, albedo, normal = (np.ascontiguousarray(a, np.float32) for a in (colour, albedo, normal))
    return np.asarray(pyoidn.denoise(colour, albedo=albedo, normal=normal, hdr=True, clean_aux=True))


def render_person(wardrobe: Wardrobe, person: Person, side: int = 144, spp: int = 12) -> np.ndarray:
    """Path-trace a person: linear float32 RGB (side, side, 3), light skin under the key light about 0.4.

    A picture that is black, blown out or not finite is rendered again under another light, drawn from the
    person's own numbers, four times at most. Raises RenderError when none was usable.
    """
    parts, vertices = build_parts(wardrobe, person)
    meshes = [_mesh(part) for part in parts]
    light, reason = person.light, ""
    for attempt in range(5):
        if attempt:
            light = draw_light(np.random.default_rng([person.seed, person.index, attempt]))
        picture = _trace(meshes, vertices, person, light, side, spp, attempt)
        if not np.isfinite(picture).all():
            reason = "values that are not numbers"
            continue
        middle = picture[side // 4 : -side // 4, side // 4 : -side // 4].mean()
        if 0.02 < middle < 1.2:
            return picture
        reason = f"a mean of {middle:.4f}"
    raise RenderError(
        f"person {person.index} of seed {person.seed}: no usable picture under five lights ({reason})"
    )


def viewpoint(vertices: np.ndarray, person: Person) -> tuple[np.ndarray, np.ndarray, float]:
    """Where the camera stands, what it aims at (decimetres), and its angle of view in degrees."""
    spec = person.pose
    # Aim at the middle of the face, whatever the morphs and the pose did to it.
    aim = 0.5 * (vertices[132] + vertices[494]) * 0.75 + 0.25 * vertices[881]
    aim = aim * [0.6, 1, 1] + [spec["shift"][0], spec["shift"][1] - 0.05, -0.8]
    face = float(np.linalg.norm(vertices[881] - vertices[5162]))
    distance, height = spec["distance"], spec["height"] * face / 2.2
    origin = aim + _direction(0, spec["camera_pitch"]) * distance
    return origin, aim, math.degrees(2 * math.atan(height / 2 / distance))


def project(
    points: np.ndarray, origin: np.ndarray, aim: np.ndarray, fov: float, side: int = 144
) -> np.ndarray:
    """Where points (N, 3) fall in the picture of a camera at `viewpoint`: (N, 2), column and row in pixels.

    (0, 0) is the upper left corner of the picture, not the middle of its first pixel.
    """
    ahead = (aim - origin) / np.linalg.norm(aim - origin)
    right = np.cross(ahead, [0, 1, 0])
    right /= np.linalg.norm(right)
    seen = (points - origin) @ np.stack([right, np.cross(ahead, right), ahead], 1)
    scale = side / 2 / math.tan(math.radians(fov) / 2)
    return seen[:, :2] / seen[:, 2:] * scale + side / 2


def _trace(
    meshes: list, vertices: np.ndarray, person: Person, light: dict, side: int, spp: int, attempt: int
) -> np.ndarray:
    mi = _mitsuba()
    t = mi.ScalarTransform4f
    origin, aim, fov = viewpoint(vertices, person)
    scene = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "albedo:albedo,normal:sh_normal",
            "inner": {"type": "volpath", "max_depth": 5, "hide_emitters": True},
        },
        "sensor": {
            "type": "perspective",
            "fov": fov,
            "near_clip": 0.5,
            "far_clip": 1000,
            "to_world": t().look_at(
                origin=[float(v) for v in origin], target=[float(v) for v in aim], up=[0, 1, 0]
            ),
            "film": {
                "type": "hdrfilm",
                "width": side,
                "height": side,
                "pixel_format": "rgba",
                "rfilter": {"type": "box"},
            },
            "sampler": {
                "type": "multijitter",
                "sample_count": spp,
                "seed": 1000 * attempt + person.index % 1000,
            },
        },
    }
    lamps, surround = build_light(light)
    scene["surround"] = {"type": "envmap", "bitmap": mi.Bitmap(surround), "scale": 1.0}
    centre = vertices[132] - [0, 0, 0.5]
    for k, (direction, away, half, irradiance) in enumerate(lamps):
        at = centre + direction * away
        radiance = irradiance * away**2 / (4 * half**2)
        scene[f"lamp{k}"] = {
            "type": "rectangle",
            "to_world": t().look_at(
                origin=[float(v) for v in at], target=[float(v) for v in centre], up=[0, 1, 0.01]
            )
            @ t().scale([half, half, 1]),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [float(v) for v in radiance]}},
        }
    for k, mesh in enumerate(meshes):
        scene[f"part{k}"] = mesh
    raw = np.array(
        mi.render(mi.load_dict(scene), spp=spp, seed=1000 * attempt + person.index % 1000), np.float32
    )
    colour, alpha, albedo, normal = raw[..., :3], np.clip(raw[..., 3:4], 0, 1), raw[..., 4:7], raw[..., 7:10]

    # Exposure: what irradiance reaches the face? (radiance over albedo, near the middle of the picture)
    rows = slice(side // 4, 3 * side // 4)
    tone = float(monk_albedo(person.monk, 0).mean())
    matter = albedo[rows, rows].mean(-1)
    reached = colour[rows, rows].mean(-1) / np.maximum(matter, 0.02)
    solid = alpha[rows, rows, 0] > 0.9
    skin = solid & (matter > 0.6 * tone) & (matter < 1.5 * tone)  # not the gloss of dark hair
    chosen = skin if skin.sum() > 40 else solid
    level = max(float(np.percentile(reached[chosen], 70)), 1e-4) if chosen.any() else 1.0
    scale = 0.78 / level * 2 ** light["exposure"] * (0.5 / tone) ** 0.42
    colour = colour * scale
    backdrop = paint_backdrop(person.backdrop, side, light["side"]) * np.array(light["ambient"], np.float32)
    picture = colour + (1 - alpha) * backdrop
    picture = denoise(picture, albedo * alpha + (1 - alpha) * np.clip(backdrop, 0, 1), normal)
    return np.maximum(picture, 0).astype(np.float32)

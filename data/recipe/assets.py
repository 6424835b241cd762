"""Read the MakeHuman character files (CC0) the studio recipe builds its people from.

Four small text formats and PNG textures, parsed once per process and kept:

* `.obj`: the base mesh and the meshes of hair, clothes, eyes, ...
* `.target`: a morph, lines ``vertex dx dy dz``;
* `.mhclo`: how a proxy mesh follows the base mesh;
* `.mhmat`: which texture belongs to a mesh.

Lengths are decimetres; a person stands along +y and looks along +z.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class AssetError(Exception):
    """An asset file is missing or malformed; the message says which and what to do."""


@dataclass(frozen=True)
class ObjMesh:
    """A polygon mesh, cut into triangles.

    Attributes:
        vertices: float32 (V, 3), decimetres.
        uv: float32 (T, 2), the texture coordinates of the file (v upwards).
        faces: int32 (F, 3), indices into `vertices`.
        face_uv: int32 (F, 3), indices into `uv`.
        group: int32 (F,), index into `group_names`.
        group_names: the `g` names in order of appearance.
    """

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    face_uv: np.ndarray
    group: np.ndarray
    group_names: tuple[str, ...]

    def in_group(self, name: str) -> np.ndarray:
        """A bool (F,) array: which triangles belong to the group `name`."""
        if name not in self.group_names:
            raise AssetError(f"the mesh has no group {name!r}; it has {', '.join(self.group_names[:8])}")
        return self.group == self.group_names.index(name)

    def group_vertices(self, name: str) -> np.ndarray:
        """Sorted int32 indices of the vertices used by the group `name`."""
        return np.unique(self.faces[self.in_group(name)])


def parse_obj(text: str, name: str = "obj") -> ObjMesh:
    """Parse the text of a Wavefront OBJ file with texture coordinates.

    Polygons with more than three corners become a fan of triangles. Raises AssetError with the line number of
    a bad line.
    """
    vertices, uv, faces, face_uv, group = [], [], [], [], []
    names: list[str] = []
    current = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "v":
                vertices.append([float(w) for w in words[1:4]])
            elif words[0] == "vt":
                uv.append([float(w) for w in words[1:3]])
            elif words[0] == "g" or (words[0] == "o" and not names):
                label = words[1] if len(words) > 1 else "default"
                if label not in names:
                    names.append(label)
                current = names.index(label)
            elif words[0] == "f":
                corners = [word.split("/") for word in words[1:]]
                v = [int(c[0]) - 1 for c in corners]
                t = [int(c[1]) - 1 for c in corners]
                for k in range(1, len(v) - 1):
                    faces.append((v[0], v[k], v[k + 1]))
                    face_uv.append((t[0], t[k], t[k + 1]))
                    group.append(current)
        except (ValueError, IndexError) as error:
            raise AssetError(f"{name}, line {number}: {line.strip()!r} cannot be read ({error})") from error
    if not faces:
        raise AssetError(f"{name}: no faces in it, so it is not a mesh this recipe can use")
    return ObjMesh(
        np.array(vertices, np.float32),
        np.array(uv, np.float32),
        np.array(faces, np.int32),
        np.array(face_uv, np.int32),
        np.array(group, np.int32),
        tuple(names or ["default"]),
    )


def parse_target(text: str, name: str = "target") -> tuple[np.ndarray, np.ndarray]:
    """Parse a morph target: returns (indices int32 (N,), offsets float32 (N, 3) in decimetres)."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        index = np.array([int(row[0]) for row in rows], np.int32)
        offset = np.array([[float(x) for x in row[1:4]] for row in rows], np.float32).reshape(-1, 3)
    except (ValueError, IndexError) as error:
        raise AssetError(f"{name}: a line is not 'vertex dx dy dz' ({error})") from error
    return index, offset


@dataclass(frozen=True)
class Proxy:
    """How a proxy mesh (hair, clothes, ...) follows the base mesh.

    Attributes:
        obj_file: file name of the mesh, beside the `.mhclo`.
        material: file name of the `.mhmat`, or "".
        scale: three (vertex a, vertex b, reference distance) for the axes x, y, z.
        index, weight: int32 and float32 (N, 3), the three base vertices each proxy vertex hangs on.
        offset: float32 (N, 3), further offset, to be multiplied by the scale of the axis.
        hidden: int32 (K,), base vertices the proxy covers (clothes hide the skin beneath).
    """

    obj_file: str
    material: str
    scale: tuple[tuple[int, int, float], ...]
    index: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    hidden: np.ndarray

    def fit(self, base: np.ndarray) -> np.ndarray:
        """Positions float32 (N, 3) of the proxy's vertices on base vertices (V, 3)."""
        size = [abs(base[a, axis] - base[b, axis]) / d for axis, (a, b, d) in enumerate(self.scale)]
        placed = np.einsum("nk,nkd->nd", self.weight, base[self.index])
        return (placed + self.offset * np.array(size, np.float32)).astype(np.float32)


def _number_ranges(words: list[str]) -> list[int]:
    """`1 - 3 7` → [1, 2, 3, 7], the way `.mhclo` lists vertices."""
    out: list[int] = []
    k = 0
    while k < len(words):
        if k + 2 < len(words) and words[k + 1] == "-":
            out.extend(range(int(words[k]), int(words[k + 2]) + 1))
            k += 3
        else:
            out.append(int(words[k]))
            k += 1
    return out


def parse_mhclo(text: str, name: str = "mhclo") -> Proxy:
    """Parse a proxy description. Raises AssetError with the line number of a bad line."""
    scale = {"x_scale": (0, 0, 1.0), "y_scale": (0, 0, 1.0), "z_scale": (0, 0, 1.0)}
    obj_file = material = ""
    index, weight, offset, hidden = [], [], [], []
    part = "header"
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] == "verts":
                part = "verts"
            elif words[0] == "delete_verts":
                part = "delete"
            elif part == "header" or words[0][0].isalpha():
                if words[0] in scale:
                    scale[words[0]] = (int(words[1]), int(words[2]), float(words[3]))
                elif words[0] == "obj_file":
                    obj_file = words[1]
                elif words[0] == "material":
                    material = words[1]
            elif part == "verts" and len(words) == 1:
                index.append([int(words[0])] * 3)
                weight.append([1.0, 0.0, 0.0])
                offset.append([0.0, 0.0, 0.0])
            elif part == "verts":
                index.append([int(w) for w in words[:3]])
                weight.append([float(w) for w in words[3:6]])
                offset.append([float(w) for w in words[6:9]] if len(words) >= 9 else [0.0, 0.0, 0.0])
            else:
                hidden.extend(_number_ranges(words))
        except (ValueError, IndexError) as error:
            raise AssetError(f"{name}, line {number}: {line.strip()!r} cannot be read ({error})") from error
    if not obj_file or not index:
        raise AssetError(
            f"{name}: no obj_file or no vertices in it, so it is not a proxy this recipe can use"
        )
    return Proxy(
        obj_file,
        material,
        (scale["x_scale"], scale["y_scale"], scale["z_scale"]),
        np.array(index, np.int32),
        np.array(weight, np.float32),
        np.array(offset, np.float32),
        np.array(hidden, np.int32),
    )


def parse_mhmat(text: str) -> dict[str, str]:
    """Parse a material: every `key rest of the line` as a dictionary (later lines win)."""
    out = {}
    for line in text.splitlines():
        words = line.strip().split(None, 1)
        if len(words) == 2 and not words[0].startswith(("#", "//")):
            out[words[0]] = words[1].strip()
    return out


@dataclass(frozen=True)
class Surface:
    """A triangle mesh ready for a renderer: one vertex for every (position, texture coordinate) pair.

    Attributes:
        source: int32 (N,), the mesh vertex each surface vertex copies.
        uv: float32 (N, 2), v already turned over for textures stored from the top.
        faces: int32 (F, 3), into the surface's own vertices.
    """

    source: np.ndarray
    uv: np.ndarray
    faces: np.ndarray


def make_surface(mesh: ObjMesh, keep: np.ndarray | None = None) -> Surface:
    """Weld a mesh's separate position and UV indices; `keep` is an optional bool (F,) choice of triangles."""
    faces = mesh.faces if keep is None else mesh.faces[keep]
    face_uv = mesh.face_uv if keep is None else mesh.face_uv[keep]
    key = faces.astype(np.int64) * (len(mesh.uv) + 1) + face_uv
    pairs, inverse = np.unique(key.ravel(), return_inverse=True)
    source, uv_index = np.divmod(pairs, len(mesh.uv) + 1)
    uv = mesh.uv[uv_index].copy()
    uv[:, 1] = 1 - uv[:, 1]
    return Surface(source.astype(np.int32), uv, inverse.reshape(-1, 3).astype(np.int32))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted smooth normals, float32 (V, 3); vertices without a face get +z."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    total = np.zeros((len(vertices), 3))
    for axis in range(3):
        total[:, axis] = sum(
            np.bincount(faces[:, k], weights=normal[:, axis], minlength=len(vertices)) for k in range(3)
        )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-12, total / np.maximum(length, 1e-12), [0.0, 0.0, 1.0]).astype(np.float32)


def linear_from_srgb(x: np.ndarray) -> np.ndarray:
    """sRGB-coded values in [0, 1] → linear light (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def load_texture(path: Path, side: int) -> np.ndarray:
    """A PNG as linear float32 (side, side, 4) RGBA in [0, 1], not premultiplied.

    Shrinking is done on premultiplied colours, so transparent texels do not bleed a dark or white fringe into
    the hair; fully transparent texels then take the colour of the blurred neighbourhood.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            rgba = np.asarray(picture.convert("RGBA"), np.float32) / 255
    except OSError as error:
        raise AssetError(f"{path}: the texture cannot be read ({error})") from error
    colour = linear_from_srgb(rgba[..., :3]) * rgba[..., 3:]

    def shrink(channel: np.ndarray, size: int) -> np.ndarray:
        return np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BOX), np.float32)

    small = np.stack([shrink(np.ascontiguousarray(c), side) for c in np.moveaxis(colour, 2, 0)], -1)
    alpha = shrink(np.ascontiguousarray(rgba[..., 3]), side)
    coarse = np.stack(
        [
            np.asarray(Image.fromarray(shrink(np.ascontiguousarray(c), 16)).resize((side, side)), np.float32)
            for c in (*np.moveaxis(small, 2, 0), alpha)
        ],
        -1,
    )
    fringe = coarse[..., :3] / np.maximum(coarse[..., 3:], 1e-3)
    straight = np.where(alpha[..., None] > 0.02, small / np.maximum(alpha[..., None], 0.02), fringe)
    return np.concatenate([straight, alpha[..., None]], -1).astype(np.float32)


class Library:
    """All assets under one folder, each parsed at its first use and kept for the life of the process."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "3dobjs" / "base.obj").is_file():
            raise AssetError(
                f"{self.folder}: no 3dobjs/base.obj in it; name MakeHuman's asset folder (--assets)"
            )
        self.target = functools.cache(self._target)
        self.proxy = functools.cache(self._proxy)
        self.texture = functools.cache(self._texture)

    def _text(self, relative: str) -> str:
        path = self.folder / relative
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise AssetError(
                f"{path}: cannot be read ({error.strerror}); is the asset folder complete?"
            ) from error

    @functools.cached_property
    def base(self) -> ObjMesh:
        """The base mesh: the person is its group `body`, the rest are helpers."""
        return parse_obj(self._text("3dobjs/base.obj"), "base.obj")

    def _target(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The morph `targets/<name>.target`."""
        return parse_target(self._text(f"targets/{name}.target"), name)

    def _proxy(self, relative: str) -> tuple[Proxy, ObjMesh, Surface]:
        """The proxy at `relative` (an `.mhclo`), its mesh, and the mesh's welded surface."""
        proxy = parse_mhclo(self._text(relative), relative)
        mesh = parse_obj(self._text(str(Path(relative).parent / proxy.obj_file)), proxy.obj_file)
        if len(mesh.vertices) != len(proxy.index):
            raise AssetError(
                f"{relative}: {len(proxy.index)} vertices, but its mesh has {len(mesh.vertices)}"
            )
        return proxy, mesh, make_surface(mesh)

    def _texture(self, relative: str, side: int) -> np.ndarray:
        """See `load_texture`."""
        return load_texture(self.folder / relative, side)

    @functools.cached_property
    def skins(self) -> dict[str, str]:
        """Skin name → relative path of its texture."""
        return self._textures("skins")

    @functools.cached_property
    def hair(self) -> dict[str, str]:
        """Hair style → relative path of its texture."""
        return self._textures("hair")

    @functools.cached_property
    def clothes(self) -> dict[str, str]:
        """Outfit → relative path of its texture."""
        return self._textures("clothes")

    def _textures(self, kind: str) -> dict[str, str]:
        out = {}
        for folder in sorted((self.folder / kind).iterdir()):
            for material in sorted(folder.glob("*.mhmat")):
                name = parse_mhmat(material.read_text(encoding="utf-8")).get("diffuseTexture", "")
                if (folder / name).is_file():
                    out[folder.name] = f"{kind}/{folder.name}/{name}"
        return out

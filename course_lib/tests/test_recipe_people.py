"""The studio recipe's people and asset parsers: tests without assets, and the renderer where it is."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
if not (DATA / "recipe").is_dir():
    pytest.skip("the recipe lies in the checkout only", allow_module_level=True)
sys.path.insert(0, str(DATA))

from recipe import assets, people  # noqa: E402  (after the path is set)

OBJ = """
# a square and a triangle
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g body
f 1/1 2/2 3/3 4/4
g helper
f 1/1 2/2 3/4
"""
MHCLO = """
# proxy
obj_file hair.obj
material hair.mhmat
x_scale 0 1 2.0
y_scale 0 3 1.0
verts 0
2
0 1 2 0.5 0.25 0.25 1.0 2.0 3.0
delete_verts
0 2 - 3
"""


def test_the_same_numbers_give_the_same_person():
    assert people.draw_person(5, 17) == people.draw_person(5, 17)
    assert people.draw_person(5, 17) != people.draw_person(5, 18)
    assert people.draw_person(5, 17) != people.draw_person(6, 17)


def test_people_survive_json():
    for index in range(50):
        person = people.draw_person(1, index)
        assert people.Person.from_json(person.to_json()) == person


def test_a_person_knows_nothing_of_labels():
    assert list(inspect.signature(people.draw_person).parameters) == ["seed", "index"]
    names = {field.name for field in dataclasses.fields(people.Person)}
    assert not names & {"label", "fake", "real", "y", "split"}


def test_people_cover_the_scales():
    crowd = [people.draw_person(2, index) for index in range(600)]
    assert 0.42 < np.mean([person.female for person in crowd]) < 0.58
    tones = np.bincount([round(person.monk) for person in crowd], minlength=11)[1:]
    assert (tones > 5).all(), tones
    ages = np.array([person.age for person in crowd])
    assert ages.min() >= 18 and (ages > 60).mean() > 0.08 and (ages < 35).mean() > 0.2
    assert len({person.hair["style"] for person in crowd}) >= 9
    assert {person.light["kind"] for person in crowd} == set(people.LIGHTS)
    assert {person.backdrop["kind"] for person in crowd} == set(people.BACKDROPS)


def test_no_beard_and_bald_head_for_women():
    crowd = [people.draw_person(3, index) for index in range(300)]
    assert all(p.face_hair["style"] == "none" for p in crowd if p.female)
    assert all(p.hair["style"] != "bald" or p.hat for p in crowd if p.female)


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError, match="seed=-1"):
        people.draw_person(-1, 0)


def test_obj_polygons_become_triangles():
    mesh = assets.parse_obj(OBJ)
    assert mesh.vertices.shape == (4, 3) and mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.in_group("body").tolist() == [True, True, False]
    assert mesh.group_vertices("body").tolist() == [0, 1, 2, 3]
    with pytest.raises(assets.AssetError, match="no group 'nose'"):
        mesh.in_group("nose")


def test_obj_errors_name_the_line():
    with pytest.raises(assets.AssetError, match="x.obj, line 1"):
        assets.parse_obj("v 0 zero 0", "x.obj")
    with pytest.raises(assets.AssetError, match="no faces"):
        assets.parse_obj("v 0 0 0", "x.obj")


def test_surface_splits_seams_and_turns_v_over():
    surface = assets.make_surface(assets.parse_obj(OBJ))
    assert len(surface.source) == 5  # vertex 3 is used with two texture coordinates
    assert sorted(surface.source.tolist()) == [0, 1, 2, 2, 3]
    first = surface.uv[surface.faces[0, 0]]
    assert first.tolist() == [0.0, 1.0]


def test_target():
    index, offset = assets.parse_target("# by\n3 .1 0 -0.2\n\n7 0 0 1\n")
    assert index.tolist() == [3, 7] and offset[0].tolist() == pytest.approx([0.1, 0, -0.2])
    with pytest.raises(assets.AssetError, match="vertex dx dy dz"):
        assets.parse_target("3 up down left")


def test_proxy_follows_the_base():
    proxy = assets.parse_mhclo(MHCLO)
    assert proxy.hidden.tolist() == [0, 2, 3] and proxy.material == "hair.mhmat"
    base = np.array([[0, 0, 0], [4, 0, 0], [0, 8, 0], [0, 3, 0]], np.float32)
    # x: |0-4|/2 = 2, y: |0-3|/1 = 3, z: not given, |z0-z0| = 0
    assert proxy.fit(base).tolist() == [[0, 8, 0], [1 + 2, 2 + 6, 0]]
    with pytest.raises(assets.AssetError, match="no obj_file"):
        assets.parse_mhclo("verts 0\n1\n")


def test_material():
    found = assets.parse_mhmat("# c\n// d\nname hair\ndiffuseTexture hair.png\n")
    assert found == {"name": "hair", "diffuseTexture": "hair.png"}


def test_normals_of_a_flat_square():
    mesh = assets.parse_obj(OBJ)
    assert np.allclose(assets.vertex_normals(mesh.vertices, mesh.faces), [0, 0, 1])


def test_shrinking_a_texture_keeps_its_colour_at_the_rim(tmp_path):
    from PIL import Image

    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, :33] = (200, 100, 50, 255)  # opaque left, transparent black right
    Image.fromarray(rgba).save(tmp_path / "hair.png")
    small = assets.load_texture(tmp_path / "hair.png", 32)
    assert small.shape == (32, 32, 4) and 0.4 < small[5, 16, 3] < 0.6
    assert np.allclose(small[5, 16, :3], small[5, 2, :3], atol=1e-3)


def test_missing_assets_are_said_plainly(tmp_path):
    with pytest.raises(assets.AssetError, match="--assets"):
        assets.Library(tmp_path)


def test_backdrops_are_finite_and_repeatable():
    pytest.importorskip("scipy")
    from recipe.backdrop import paint_backdrop

    for kind in people.BACKDROPS:
        spec = dict(people.draw_person(4, 0).backdrop, kind=kind)
        picture = paint_backdrop(spec, 48, 1)
        assert picture.shape == (48, 48, 3) and np.isfinite(picture).all() and picture.min() > 0
        assert np.array_equal(picture, paint_backdrop(spec, 48, 1))


def test_a_portrait_renders(tmp_path):
    """The whole way, if Mitsuba is installed and STUDIO_ASSETS names the asset folder."""
    pytest.importorskip("mitsuba", reason="mitsuba is not installed")
    folder = os.environ.get("STUDIO_ASSETS")
    if not folder:
        pytest.skip("STUDIO_ASSETS does not name the MakeHuman asset folder")
    from recipe import render

    render.render_people(folder, tmp_path, 3, 1, seed=1, side=48, spp=4, workers=1, progress=False)
    picture = render.load_render(render.picture_path(tmp_path, 3))
    assert picture.shape == (48, 48, 3) and np.isfinite(picture).all() and 0.01 < picture.mean() < 2
    before = render.picture_path(tmp_path, 3).stat().st_mtime_ns
    render.render_people(folder, tmp_path, 3, 1, seed=1, side=48, spp=4, workers=1, progress=False)
    assert render.picture_path(tmp_path, 3).stat().st_mtime_ns == before

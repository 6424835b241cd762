"""Honest splits: near-duplicates stay together, classes keep their shares, a seed gives one split for ever.

If two copies of a picture lie on both sides of a split, a model can remember instead of understand, and the
test score flatters it. So pictures that look alike form a group, and groups are dealt out whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 16
BITS = SIDE * SIDE
# Measured on hardrvsf (1,289 faces): a second JPEG compression at quality 30 changes at most 15 of the 256
# bits, halving the size 12, a shift of two pixels 19; two different pictures differ in 29 or more. The usual
# 64 bits do not do for aligned faces: at a distance of 8 they chain strangers into groups of more than 50.
NEAR = 24


def difference_hash(image: Image.Image) -> str:
    """256 bits as 64 hex digits: does each cell of a 16x17 grey thumbnail get brighter to the right?

    The idea is Neal Krawetz's "dHash" (2013), there with 64 bits. A picture without any structure (one flat
    colour) has no gradients; it gets a digest of its pixels instead, so that only equal ones are alike.
    """
    grey = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), dtype=np.int16)
    if int(grey.max()) - int(grey.min()) <= 8:
        return hashlib.sha256(image.tobytes()).hexdigest()
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def near_duplicate_groups(hashes: Sequence[str], near: int = NEAR) -> np.ndarray:
    """Group number of each picture (int64, N): joined are those whose hashes differ in at most `near` bits.

    Groups are the connected components of that relation. All pairs are compared at once: for bits written as
    -1 and +1 the product of two rows is BITS - 2 * distance, so a matrix product does the counting.
    """
    parent = list(range(len(hashes)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    if len(hashes):
        packed = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), BITS // 8)
        signs = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
        for start in range(0, len(signs), 1024):  # in slices: 140,000 pictures would need a matrix of 78 GB
            alike = signs[start : start + 1024] @ signs[start:].T >= BITS - 2 * near
            for i, j in np.argwhere(alike):
                if i < j:
                    parent[find(start + int(j))] = find(start + int(i))
    return np.array([find(i) for i in range(len(hashes))], dtype=np.int64)


def split_groups(
    keys: Sequence[str], labels: np.ndarray, groups: np.ndarray, shares: dict[str, float], seed: int = 0
) -> dict[str, np.ndarray]:
    """Deal the groups out to the splits named in `shares`; return the sorted indices (int64) of each split.

    keys: a stable name for each picture (its relative path), so that the split depends neither on the order
        in which a file system lists files nor on a random generator's version.
    shares: split name -> share, summing to 1. Each class is dealt in these shares, to within a picture or so
        (more if large groups forbid it).
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    classes = np.unique(labels)
    members: dict[int, list[int]] = {}
    for i in sorted(range(len(keys)), key=lambda i: keys[i]):
        members.setdefault(int(groups[i]), []).append(i)

    def lot(group: list[int]) -> str:  # a random number drawn by seed and name
        return hashlib.sha256(f"{seed}:{keys[group[0]]}".encode("utf-8", "surrogatepass")).hexdigest()

    names = list(shares)
    # what each split still has room for, by class
    room = {s: {c: shares[s] * float(np.sum(labels == c)) for c in classes} for s in names}
    full = {s: {c: max(room[s][c], 1e-9) for c in classes} for s in names}
    chosen: dict[str, list[int]] = {s: [] for s in names}
    for group in sorted(members.values(), key=lambda g: (-len(g), lot(g))):  # large ones while there is room
        count = {c: int(np.sum(labels[group] == c)) for c in classes}
        best = max(names, key=lambda s: sum(count[c] * room[s][c] / full[s][c] for c in classes))
        chosen[best] += group
        for c in classes:
            room[best][c] -= count[c]
    return {s: np.array(sorted(chosen[s]), dtype=np.int64) for s in names}

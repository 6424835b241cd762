"""The exercises of Part 1, "See" (lessons 00 to 02): what each answer must do to be correct."""

from __future__ import annotations

# ---- lesson 00: start here ----

# ---- lesson 01: images are tensors ----

# ---- lesson 02: look before you learn ----

"""The exercises of Part 2, "Convolve" (lessons 03 to 05): what each answer must do to be correct."""

from __future__ import annotations

# ---- lesson 03: convolution by hand ----

# ---- lesson 04: a first CNN ----

# ---- lesson 05: training that works ----

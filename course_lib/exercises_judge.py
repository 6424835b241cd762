"""The exercises of Part 4, "Train and judge" (lessons 12 and 13): what each answer must do to be correct."""

from __future__ import annotations

# ---- lesson 12: judge it ----


# ---- lesson 13: break it ----

"""The exercises of Part 4, "Train and judge" (lessons 14 and 15): what each answer must do to be correct."""

from __future__ import annotations

# ---- lesson 14: explain it ----


# ---- lesson 15: transfer learning ----

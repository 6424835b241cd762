"""Draw figures/lesson_17.svg: one detector, four doors to it, two ways out. Run again for the same file."""

from drawing import BLUE, GREEN, GREY, ORANGE, arrow, box, save, sheet

DOORS = (
    ("a notebook", "detector(photo)", "the uploader of lesson 16"),
    ("a page", "choose, drop", "for everybody with a browser"),
    ("HTTP", "POST /predict/", "for other programs"),
    ("a shell", "course_lib predict", "for scripts and the night"),
)

figure, axis = sheet(10, 4.6)
for i, (name, call, who) in enumerate(DOORS):
    y = 3.62 - 1.08 * i
    box(axis, 0.15, y, 2.75, 0.82, BLUE)
    axis.text(0.3, y + 0.57, name, fontsize=12, weight="bold", va="center")
    axis.text(2.8, y + 0.57, call, fontsize=9.5, family="monospace", va="center", ha="right")
    axis.text(0.3, y + 0.22, who, fontsize=9.5, va="center", color=GREY)
    arrow(axis, (2.98, y + 0.41), (4.02, 2.35 + 0.25 * (1.5 - i)))

box(axis, 4.1, 1.15, 2.2, 2.4, ORANGE, lw=3)
axis.text(5.2, 3.3, "one detector", ha="center", va="center", fontsize=12, weight="bold")
for i, line in enumerate(("bytes → pixels", "pixels → windows", "windows → logits", "logits → P(fake)")):
    axis.text(5.2, 2.85 - 0.36 * i, line, ha="center", va="center", fontsize=10.5)
axis.text(5.2, 1.35, "with bounds and refusals", ha="center", va="center", fontsize=9, color=GREY)

box(axis, 7.25, 3.3, 2.6, 1.1, GREEN)
axis.text(8.55, 4.08, "one P(fake)", ha="center", va="center", fontsize=12, weight="bold")
axis.text(8.55, 3.64, "the same to four digits,\nwhichever door", ha="center", va="center", fontsize=9.5)
box(axis, 7.25, 1.8, 2.6, 1.1, GREEN)
axis.text(8.55, 2.62, "a million rows", ha="center", va="center", fontsize=12, weight="bold")
axis.text(8.55, 2.15, "scores.parquet:\nnone lost, none twice", ha="center", va="center", fontsize=9.5)
box(axis, 7.25, 0.3, 2.6, 1.1, GREEN)
axis.text(8.55, 1.12, "the network alone", ha="center", va="center", fontsize=12, weight="bold")
axis.text(8.55, 0.66, "an ONNX file, for where\nthere is no PyTorch", ha="center", va="center", fontsize=9.5)
for y in (3.75, 2.35, 0.95):
    arrow(axis, (6.4, 2.35 + 0.25 * (y - 2.35)), (7.17, y))
axis.text(5.2, 0.55, "what it says about people:\nread the card first", ha="center", va="center", fontsize=10)
arrow(axis, (5.2, 1.07), (5.2, 0.85))

save(figure, __file__)

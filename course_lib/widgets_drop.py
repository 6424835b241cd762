"""Drag and drop, and paste from the clipboard, for a FileUpload widget: what ipywidgets itself does not have.

A FileUpload is a button; the browser's own file field behind it never becomes part of the page, so nothing
can be dropped on it. `drop_zone` adds a few lines of script that catch files dropped or pasted anywhere in a
piece and put them into that field, as if they had been chosen. From there on everything is ipywidgets' own
way, with version 7 as with version 8, and Python needs to know nothing of it.
"""

from __future__ import annotations

import html

import ipywidgets as ipw

# ROOT and BUTTON are class names. The script stands in an attribute, so it has neither comments nor line ends
# that matter. What it does, in its order:
# hand     finds the file field: a click on the widget's button clicks that field, so for the length of one
#          click the field's `click` is replaced by a function that only remembers which field it was.
# over     a file dragged over the piece: the browser may drop it here; a frame says so.
# drop     hands over the files, folders left out.
# paste    hands over the files of the clipboard (a screenshot is one, a PNG), if the focus is in the piece.
# keydown  JupyterLab takes plain keys and Ctrl+V as commands of its own (Ctrl+V pastes a cell) unless it
#          finds Lumino's attribute on whatever has the focus. Other combinations with Ctrl, Alt or Cmd, and
#          Shift+Enter, stay its own.
SCRIPT = """
var zone = this.previousElementSibling, root = this.closest('.ROOT');
if (root && !root.dataset.takesFiles) {
  root.dataset.takesFiles = 'yes';
  var hand = function (files) {
    var field = null, click = HTMLInputElement.prototype.click;
    HTMLInputElement.prototype.click = function () { field = this; };
    try { root.querySelector('.BUTTON').click(); } finally { HTMLInputElement.prototype.click = click; }
    if (!field || !files.length) return;
    var list = new DataTransfer();
    files.forEach(function (file) { list.items.add(file); });
    field.files = list.files;
    field.dispatchEvent(new Event('change'));
  };
  var over = function (event) {
    if (!Array.from(event.dataTransfer.types).includes('Files')) return;
    event.preventDefault();
    root.classList.toggle('cu-over', event.type === 'dragover');
  };
  root.addEventListener('dragover', over);
  root.addEventListener('dragleave', over);
  root.addEventListener('drop', function (event) {
    over(event);
    hand(Array.from(event.dataTransfer.items).filter(function (item) {
      var entry = item.webkitGetAsEntry && item.webkitGetAsEntry();
      return item.kind === 'file' && !(entry && entry.isDirectory);
    }).map(function (item) { return item.getAsFile(); }).filter(Boolean));
  });
  window.addEventListener('paste', function (event) {
    if (!root.isConnected || !root.contains(document.activeElement) || !event.clipboardData) return;
    var files = Array.from(event.clipboardData.files);
    if (!files.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    hand(files.map(function (file) {
      return file.name === 'image.png' ? new File([file], 'pasted picture.png', {type: file.type}) : file;
    }));
  }, true);
  window.addEventListener('keydown', function (event) {
    if (!root.contains(event.target)) return;
    var key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
    var theirs = (command && key !== 'v') || event.altKey || (event.shiftKey && key === 'enter');
    event.target.toggleAttribute('data-lm-suppress-shortcuts', !theirs);
  }, true);
  zone.hidden = false;
}
"""

WORDS = (
    "… or drop pictures anywhere here, or paste one: click or tab to this line, then Ctrl+V (⌘V on a Mac)."
)


def drop_zone(root: str, button: str, words: str = WORDS) -> ipw.HTML:
    """A line that can have the focus, with the script that makes its piece take dropped and pasted files.

    root: a class of the piece; the line must be among its children. button: a class of its FileUpload. Where
    a page does not run the script the line stays hidden, so that it promises nothing.
    """
    script = " ".join(
        line.strip() for line in SCRIPT.replace("ROOT", root).replace("BUTTON", button).splitlines()
    )
    line = f'<div class="cu-drop" tabindex="0" role="group" aria-label="{html.escape(words)}" hidden>'
    return ipw.HTML(f'{line}{html.escape(words)}</div><style onload="{html.escape(script)}"></style>')

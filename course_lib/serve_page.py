"""The web page of `course_lib.serve`: one file of HTML, style and script, without a build step.

It loads nothing from anywhere: the headers forbid it. What comes from outside (file names, sentences) is
only ever set as text, never as HTML. Colours follow the light or dark theme of the browser.
"""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --real: light-dark(#0072B2, #56B4E9); --fake: light-dark(#B84E00, #FF9A4D);
  --line: light-dark(#767676, #8f8f8f); --soft: light-dark(#f2f2f2, #2a2a2a); }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#fff, #181818); color: light-dark(#111, #eee); }
h1 { margin-bottom: 0; }
#drop { border: 2px dashed var(--line); border-radius: .5rem; padding: 1.2rem; margin: 1rem 0; }
#drop.over { background: var(--soft); border-style: solid; }
input[type=file] { font: inherit; max-width: 100%; }
button { font: inherit; padding: .35rem .9rem; }
:focus-visible { outline: 3px solid var(--real); outline-offset: 2px; }
ul { list-style: none; padding: 0; }
li { display: flex; gap: 1rem; border: 1px solid var(--line); border-left: .4rem solid var(--line);
  border-radius: .4rem; padding: .8rem; margin: .6rem 0; }
li.real { border-left-color: var(--real); }
li.fake { border-left: .4rem double var(--fake); }
li.error { border-left-style: dashed; }
li img { width: 7rem; height: 7rem; object-fit: contain; flex: none; }
li > div { flex: 1; min-width: 0; overflow-wrap: anywhere; }
.verdict { font-size: 1.4rem; font-weight: 700; }
.bar { position: relative; height: .9rem; background: var(--soft); border: 1px solid var(--line);
  margin: .3rem 0; }
.fill { height: 100%; background: var(--real); }
.fake .fill { background: repeating-linear-gradient(45deg, var(--fake) 0 6px, transparent 6px 9px); }
.mark { position: absolute; top: -.25rem; bottom: -.25rem; border-left: 3px solid currentColor; }
.small { font-size: .9rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 30rem) { li { flex-direction: column; } }
"""

SCRIPT = """
'use strict';
const $ = (id) => document.getElementById(id);
const make = (tag, text = '', name = '') => {
  const e = document.createElement(tag); e.textContent = text; e.className = name; return e; };
const percent = (p) => p >= 0.9995 ? '> 99.9 %' : p < 0.0005 ? '< 0.1 %' : (100 * p).toFixed(1) + ' %';
const say = (text) => { $('status').textContent = text; };
const AT_ONCE = 4, PIECES = 50;

function bar(p, threshold) {
  const outer = make('div', '', 'bar'), fill = make('div', '', 'fill'), mark = make('div', '', 'mark');
  outer.setAttribute('role', 'img');
  outer.setAttribute('aria-label',
    `P(fake) ${percent(p)}, ${p >= threshold ? 'at or above' : 'below'} the threshold of ` +
    percent(threshold));
  fill.style.width = 100 * p + '%'; mark.style.left = `calc(${100 * threshold}% - 1px)`;
  outer.append(fill, mark);
  return outer;
}

function picture(file, item) {
  const image = make('img'), address = URL.createObjectURL(file);
  image.alt = 'The picture ' + file.name;
  image.onload = () => URL.revokeObjectURL(address);
  image.onerror = () => { URL.revokeObjectURL(address); image.remove(); };
  image.src = address; item.prepend(image);
}

function verdict(item, body, judged, answer) {
  const fake = judged.label === 'fake', p = judged.p_fake;
  item.className = judged.label;
  body.append(make('div', `${fake ? '◆ FAKE' : '● REAL'} ${percent(fake ? p : 1 - p)}`, 'verdict'),
    bar(p, answer.threshold),
    make('div', `P(fake) ${p.toFixed(4)}, fake from ${answer.threshold.toFixed(4)} on (the mark); ` +
      `model ${answer.model}; ${answer.seconds.total.toFixed(2)} s`, 'small'));
  if (fake !== (p >= 0.5)) body.append(make('div', 'Note: the number is below 50 % because this ' +
    `model's threshold is ${percent(answer.threshold)}.`, 'small'));
}

async function ask(file) {
  for (let turn = 0; ; turn++) {
    const form = new FormData();
    form.append('file', file);
    const response = await fetch('predict/', { method: 'POST', body: form });
    if (response.status === 503 && turn < 5) {
      await new Promise((wake) => setTimeout(wake, 1000 * (turn + 1)));
      continue;
    }
    const answer = await response.json();
    if (!response.ok) {
      const [bad] = answer.pictures;  // its name stands on the card already
      throw new Error(bad ? bad.error.replace(bad.name + ': ', '') : answer.error);
    }
    return answer;
  }
}

async function judge(file) {
  const item = make('li'), body = make('div'), wait = make('div', 'being judged …');
  const name = make('div', file.name);
  name.dir = 'auto'; body.append(name, wait); item.append(body); $('results').prepend(item);
  while ($('results').children.length > PIECES) $('results').lastChild.remove();
  try {
    const answer = await ask(file);
    wait.remove(); picture(file, item);
    verdict(item, body, answer.pictures[0], answer);
    return answer.pictures[0].label;
  } catch (error) {
    wait.remove(); item.className = 'error';
    const gone = error instanceof TypeError || error instanceof SyntaxError;
    const why = gone ? 'the service does not answer; is it still running?' : error.message;
    body.append(make('div', '✕ Not judged: ' + why));
    return 'not judged';
  }
}

async function judgeAll(files) {
  const list = [...files], count = { real: 0, fake: 0, 'not judged': 0 };
  if (!list.length) return say('No file was chosen.');
  let next = 0, done = 0;
  say(`Judging ${list.length} …`);
  const worker = async () => {
    while (next < list.length) {
      count[await judge(list[next++])]++;
      say(`${++done} of ${list.length} done …`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  say(`${list.length} done: ${count.fake} called fake, ${count.real} called real, ` +
    `${count['not judged']} not judged.`);
}

$('files').addEventListener('change', async (event) => {
  const files = [...event.target.files];
  event.target.value = '';
  await judgeAll(files);
});
$('clear').addEventListener('click', () => { $('results').replaceChildren(); say('Cleared.'); });
const drop = $('drop');
drop.addEventListener('dragover', (event) => { event.preventDefault(); drop.classList.add('over'); });
drop.addEventListener('dragleave', () => drop.classList.remove('over'));
drop.addEventListener('drop', (event) => {
  event.preventDefault(); drop.classList.remove('over'); judgeAll(event.dataTransfer.files); });
fetch('model').then((r) => r.json()).then((m) => {
  $('model').textContent = `Model ${m.model}. At most ${Math.round(m.limits.file_bytes / 1e6)} MB ` +
    `a picture, at least ${m.min_side} × ${m.min_side} pixels.`;
  $('card').textContent = m.card || 'No card says what this model was trained on: do not rely on it.';
});
"""

BODY = """
<h1>Real or fake?</h1>
<p>Choose pictures of faces. They go to the computer on which this service runs, and are not kept.</p>
<div id="drop">
<label for="files"><strong>Choose pictures</strong>, or drop them here</label><br>
<input type="file" id="files" multiple accept=".jpg,.jpeg,.png,.webp,.gif,.bmp,.tif,.tiff"
  aria-describedby="model">
<button type="button" id="clear">Clear</button>
<div id="model" class="small"></div>
</div>
<p id="status" role="status">No picture yet.</p>
<ul id="results" aria-label="Verdicts, the newest first"></ul>
<p class="small">A verdict is a measurement on pixels, not a proof about people. On pictures unlike those the
model has learned from it is often wrong, and sounds just as sure.</p>
<details><summary>What this model has seen, and what it must not be used for</summary><pre id="card"
  class="small"></pre></details>
<p class="small"><a href="openapi.json">The same over HTTP: openapi.json</a></p>
"""

PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Real or fake?</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
    f"<style>{STYLE}</style></head><body><main>{BODY}</main><script>{SCRIPT}</script></body></html>\n"
)


def source(text: str) -> str:
    """What a Content-Security-Policy calls this very style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {source(SCRIPT)}; style-src {source(STYLE)}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

"""Look at the built site: `make book-check` after `make book`.

1. Every link and picture inside the site leads to a file that is there, every anchor to a place on its page.
2. In headless Chromium, on every page, wide, narrow and in the dark: pictures load and have alt text, no
   script fails, nothing is wider than the window, nothing but the badges comes from elsewhere, and words
   stand out from their ground by 4.5:1.
3. The search finds a word in the lesson that explains it, and that answer opens.

Addresses outside the site are not asked here; `make book-links` does that, and needs the network.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

HTML = Path(__file__).resolve().parents[1] / "build" / "book" / "html"
BADGES = (
    "https://img.shields.io/",
    "https://colab.research.google.com/assets/",
    "https://mybinder.org/badge",
)
SEARCHES = {"dilation": "03 · Convolution by hand", "prevalence": "12 · Judge it"}
VIEWS = ((1280, "light"), (1280, "dark"), (390, "light"))  # width of the window, theme

# Text whose colour stands out from the ground behind it by less than 4.5:1 (WCAG 2.1, 1.4.3).
FAINT = """() => {
  const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const light = c => [.2126, .7152, .0722].reduce((sum, w, i) => sum + w * linear(c[i] / 255), 0);
  const parse = s => (s.match(/^rgba?\\(([^)]+)\\)/) || [, ''])[1].split(',').map(Number);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length == 3 || c[3] > .99) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.querySelector('article') || document.body, 4);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.getBoundingClientRect().width) continue;
    if (e.closest('script, style, svg, .headerlink')) continue;
    const c = parse(getComputedStyle(e).color);
    if (c.length < 3) continue;
    const a = light(c), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(n.textContent.trim().slice(0, 40) + ', by ' + ratio.toFixed(2));
  }
  return found;
}"""
BROKEN = """() => [...document.images].filter(i => i.src.startsWith(location.origin))
    .filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"""
UNTOLD = "() => [...document.querySelectorAll('article img')].filter(i => !i.alt.trim()).map(i => i.src)"


class Page(HTMLParser):
    """What a page links to and shows, and the anchors it has."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif value and ((name == "href" and tag in ("a", "link")) or name == "src"):
                self.targets.append(value)


def site_pages(html: Path) -> list[Path]:
    """The pages of the site, without the theme's own files."""
    return sorted(p for p in html.rglob("*.html") if p.relative_to(html).parts[0] != "_static")


def broken_links(html: Path) -> Iterator[str]:
    """A sentence for each link inside the site that leads nowhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site_pages(html)}
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = path if not parts.path else Path(urljoin(path.as_uri(), parts.path).removeprefix("file://"))
            to = Path(unquote(str(to)))
            to = to / "index.html" if to.is_dir() else to
            where = f"{path.relative_to(html)} links to {target}"
            if not to.is_file():
                yield f"{where}, and there is no such file"
            elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors:
                yield f"{where}, and that page has no such place"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing: a log of two hundred pages helps nobody."""


def look(html: Path, chromium: str) -> Iterator[str]:
    """A sentence for each fault that a browser sees."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(Silent, directory=str(html))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/"
    names = ["index.html", *sorted(f"notebooks/{path.name}" for path in (html / "notebooks").glob("*.html"))]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, scheme in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            seen: list[str] = []
            page.on("pageerror", lambda error, seen=seen: seen.append(f"a script fails: {error}"))
            page.route("**/*", lambda route, seen=seen: fetch(route, base, seen))
            for name in names:
                seen.clear()
                page.goto(base + name, wait_until="load")
                page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
                page.wait_for_load_state("networkidle")
                seen += [f"does not load: {src}" for src in page.evaluate(BROKEN)]
                seen += [f"has no alt text: {src}" for src in page.evaluate(UNTOLD)]
                seen += [f"too faint: {words}" for words in page.evaluate(FAINT)]
                wide = page.evaluate("document.documentElement.scrollWidth")
                seen += [f"is {wide} pixels wide"] * (wide > width)
                yield from (f"{name}, {width} wide, {scheme}: {fault}" for fault in dict.fromkeys(seen))
            page.close()
        yield from search(browser, base)
        browser.close()
    server.shutdown()


def fetch(route, base: str, seen: list[str]) -> None:
    """Let through what belongs to the site; the badges get no answer; anything else is a fault."""
    url = route.request.url
    if url.startswith((base, "data:")):
        route.continue_()
        return
    if not url.startswith(BADGES):
        seen.append(f"asks for {url}")
    route.abort()


def search(browser, base: str) -> Iterator[str]:
    page = browser.new_page()
    page.route("**/*", lambda route: fetch(route, base, []))
    for word, lesson in SEARCHES.items():
        page.goto(f"{base}search.html?q={word}")
        page.wait_for_selector("#search-results li a", timeout=10_000)
        page.wait_for_load_state("networkidle")
        titles = page.locator("#search-results li > a").all_inner_texts()
        if lesson not in titles:
            yield f"the search for {word!r} does not find {lesson!r} but {titles}"
            continue
        page.locator("#search-results li > a", has_text=lesson).click()
        heading = page.locator("h1").first.inner_text()
        if not heading.startswith(lesson):
            yield f"the answer {lesson!r} to the search for {word!r} opens {heading!r}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--html", type=Path, default=HTML, help="the built site (default build/book/html)")
    options = parser.parse_args(arguments)
    html = options.html.resolve()
    if not (html / "index.html").is_file():
        print(f"There is no site in {options.html}; run `make book` first.", file=sys.stderr)
        return 1
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    faults = list(broken_links(html))
    pages = len(site_pages(html))
    if chromium is None:
        print("No Chromium here: links were checked, the pages were not looked at.")
    else:
        faults += look(html, chromium)
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{pages} pages, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

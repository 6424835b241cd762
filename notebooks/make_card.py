"""The quick-start card as one A4 page: `make card` writes build/quick_start.html, and with Chromium a PDF.

The text is `quick_start.md`; nothing else is edited by hand. Without Chromium, open the HTML in a browser
and print it from there.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent
CARD = NOTEBOOKS / "quick_start.md"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Real or Fake? Quick start</title>
<style>
@page {{ size: A4; margin: 14mm 16mm; }}
body {{ font: 10.5pt/1.38 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; color: #111;
  max-width: 178mm; margin: 0 auto; }}
h1 {{ font-size: 19pt; margin: 0 0 2mm; }}
h2 {{ font-size: 12pt; margin: 3.5mm 0 1mm; border-bottom: 0.4pt solid #555; }}
p, ul, ol {{ margin: 1mm 0; }} ul, ol {{ padding-left: 6mm; }}
table {{ border-collapse: collapse; width: 100%; }} td, th {{ text-align: left; padding: 0.3mm 3mm 0.3mm 0; }}
thead {{ display: none; }} code {{ font-size: 9.5pt; }}
</style></head><body>
{body}
</body></html>
"""


def card_page(markdown: str) -> str:
    """The card as one HTML page that fits on one sheet of A4."""
    import mistune

    return PAGE.format(body=mistune.create_markdown(plugins=["table"])(markdown).strip())


def print_pdf(page: Path, pdf: Path) -> bool:
    """Print a page with Chromium; False if there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            f"--user-data-dir={profile}",
            "--no-pdf-header-footer",
        ]
        command += [f"--print-to-pdf={pdf}", page.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode or not pdf.is_file():
        raise SystemExit(f"{browser} could not print the card: {result.stderr.strip()[-300:]}")
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=NOTEBOOKS.parent / "build", metavar="DIR")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    page, pdf = out / "quick_start.html", out / "quick_start.pdf"
    part = page.with_name(page.name + f".{os.getpid()}.part")
    part.write_text(card_page(CARD.read_text(encoding="utf-8")), encoding="utf-8")
    os.replace(part, page)
    printed = print_pdf(page, pdf)
    print(
        f"{page}"
        + (f"\n{pdf}" if printed else "\nNo Chromium here: open the page in a browser and print it.")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

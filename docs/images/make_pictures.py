# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes the pictures of README: the demo's comparison as a page, photographed by Chromium.

Run it with `python docs/images/make_pictures.py`; it needs plotly, rich, scikit-learn and Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from torch_remote._emulation.page import write_page
from torch_remote.demo import comparison

FOLDER = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT = 1200, 1645
SCHEMES = {"light": "1", "dark": "0"}


def photograph(browser: str, page: Path, picture: Path, scheme: str) -> None:
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=5000",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--screenshot={picture}",
    ]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)


def main() -> int:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        print(f"there is no browser: {', '.join(BROWSERS)}", file=sys.stderr)
        return 1
    compared = comparison.compare()
    print(compared)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        write_page(compared, page, comparison.TITLE)
        for scheme in SCHEMES:
            photograph(browser, page, FOLDER / f"nine_gpus_{scheme}.png", scheme)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Takes docs/landing.png: the landing page while the demo plays and one camera is critical. `python docs/picture.py`.

Plays the real demo on a free port, waits for the verdict, and asks headless Chromium for the page. Needs the
development environment and chromium with chromedriver.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from PIL import Image, ImageChops
from selenium import webdriver

DOCS = Path(__file__).resolve().parent
WIDTH, HIGHEST = 1200, 1400
MARGIN = 20
COLOURS = 64
PATIENCE_SECONDS = 170.0
SPARKLINES_SECONDS = 12.0
CAMERA = "camera=right"


def verdict(url: str) -> str:
    """What the exporter says of the damaged camera now; empty where it says nothing."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v1/evaluations", timeout=5) as answer:  # noqa: S310
        for model in json.load(answer)["models"]:
            for evaluation in model["evaluations"]:
                for window in evaluation["windows"]:
                    if window["slice"] == CAMERA:
                        return str(window["verdict"])
    return ""


def photograph(url: str, file: Path) -> None:
    """The page at ``url``, as high as it is, as a PNG of few colours."""
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={WIDTH},{HIGHEST}",
    ):
        options.add_argument(argument)
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        browser.get(url)
        browser.get_screenshot_as_file(str(file))
    finally:
        browser.quit()
    with Image.open(file) as taken:
        page = taken.convert("RGB")
    ground = Image.new("RGB", page.size, page.getpixel((0, page.height - 1)))
    bottom = ImageChops.difference(page, ground).getbbox()[3] + MARGIN
    page.crop((0, 0, page.width, bottom)).quantize(COLOURS).save(file, optimize=True)


def main() -> int:
    """Play, wait, take the picture."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "visiondrift", "demo", "--port", str(port)]
    demo = subprocess.Popen(command, cwd=DOCS.parent)  # noqa: S603 - our own interpreter and our own module
    try:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while verdict(url) != "critical":
            if time.monotonic() > give_up or demo.poll() is not None:
                sys.exit("docs/picture.py: the demo never showed a critical camera")
            time.sleep(0.5)
        time.sleep(SPARKLINES_SECONDS)
        photograph(url, DOCS / "landing.png")
        return demo.wait()
    finally:
        if demo.poll() is None:
            demo.terminate()


if __name__ == "__main__":
    sys.exit(main())

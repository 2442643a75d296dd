"""The picture of the server's page in the README: ``python docs/picture_of_page.py [FOLDER]`` (needs chromium).

It starts ``rxt serve`` with the bundled model and an empty store, has a conversation by the keyboard, and takes
pictures.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

SAID = [
    "Hello!",
    "My name is Anna.",
    "My dog is called Rex.",
    "I live in Paris.",
    "What is my dog called?",
    "Where do I live?",
]


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "rxt", "serve", "--port", "0", "--db", f"{temporary}/db"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        try:
            take(address[0], folder)
        finally:
            server.terminate()
            server.wait()


def take(address: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="light")
        page.goto(address)
        page.locator(".hint").wait_for()
        for first in ("My cat is called Luna.", None):
            for count, text in enumerate([first] if first else SAID, start=1):
                page.keyboard.type(text)
                page.keyboard.press("Enter")
                page.locator(".fork").nth(count - 1).wait_for()
                page.locator(".sign").wait_for(state="detached")
            if first:
                page.keyboard.press("Alt+n")
                page.locator(".hint").wait_for()
        page.locator(".layer").first.wait_for()
        page.wait_for_timeout(300)
        page.screenshot(path=folder / "page.png")
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=folder / "page-dark.png")
        page.set_viewport_size({"width": 390, "height": 760})
        page.screenshot(path=folder / "page-small.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

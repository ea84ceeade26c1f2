"""TensorBoard as a user sees it: a server on a run directory, and headless Chromium.

    python tests/tensorboard_page.py runs/mnist/<run> docs/tensorboard      a screenshot of each tab

Nothing is fetched from outside, and the server listens on this machine only.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver

BROWSER, DRIVER = "chromium", "chromedriver"
SIZE = 1200, 800
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL, for the projector
    *("--window-size={},{}".format(*SIZE), "--hide-scrollbars"),
)
# Web components keep their content in shadow roots, and some tabs are documents of their own in an iframe.
WALK = """
const found = [];
function walk(node) {
  for (const child of node.childNodes) {
    if (child.nodeType == 3) found.push(child.data);
    if (child.nodeType != 1 || ['STYLE', 'SCRIPT', 'NOSCRIPT'].includes(child.tagName)) continue;
    if (matches(child)) elements.push(child);
    if (child.shadowRoot) walk(child.shadowRoot);
    if (child.tagName == 'IFRAME' && child.contentDocument) walk(child.contentDocument);
    walk(child);
  }
}
const selector = arguments[0], elements = [];
const matches = (element) => selector && element.matches(selector);
walk(document);
"""
TABS = {  # with what is there once the tab shows its data
    "timeseries": "val", "scalars": "step/loss", "custom_scalars": "Matches", "images": "tag:", "graphs": "Main Graph",
    "text": "run/command", "pr_curves": "tag:", "projector": "Dimension:", "hparams": "Trial ID",
}  # fmt: skip


class Page:
    """One browser window on one TensorBoard."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, tab: str, query: str = "") -> None:
        self.driver.get(f"{self.address}?at={time.monotonic()}&{query}#{tab}")  # another query loads the page anew

    def text(self) -> str:
        """All text of the page, with single blanks."""
        return " ".join(" ".join(self.driver.execute_script(WALK + "return found")).split())

    def each(self, selector: str, expression: str) -> list:
        """JavaScript's `expression` of each `element` of that CSS selector, those in shadow roots too."""
        return self.driver.execute_script(WALK + f"return elements.map((element) => {expression})", selector)

    def screenshot(self) -> Image.Image:
        return Image.open(BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")

    def wait_for(self, *texts: str) -> str:
        """The page's text once it has all of `texts`."""
        self.wait_until(lambda: all(part in page for page in [self.text()] for part in texts), f"{texts} on the page")
        return self.text()

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Returns once `condition` holds.

        Raises:
            TimeoutError: it does not in time; the message has `what` was waited for, and the page's end.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited for {what}; there is ...{self.text()[-3000:]}")
            time.sleep(0.2)


def missing_programs() -> list[str]:
    return [name for name in (BROWSER, DRIVER) if not shutil.which(name)]


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium, which ends with the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which(BROWSER)
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def page_of(command: list[str], folder: Path) -> Iterator[Page]:
    """The page of a server that prints its address; it and the browser end with the block."""
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(word for line in server.stdout for word in line.split() if word.startswith("http://127.0.0.1"))
        with browser() as driver:
            yield Page(driver, address)
    finally:
        server.terminate()
        server.wait()


def tensorboard_page(run: Path) -> AbstractContextManager[Page]:
    """A page of TensorBoard on the run directory."""
    where = ["--logdir", run.name, "--host", "127.0.0.1", "--port", "0"]  # the page shows --logdir as it is
    return page_of([sys.executable, "-m", "tensorboard.main", *where], run.parent)


def save_screenshots(run: Path, folder: Path, settle: float = 3.0) -> None:
    """Writes `folder`/TAB.png for each tab, with a palette of 64 colours, which keeps them small."""
    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard_page(run) as page:
        for tab, text in TABS.items():
            page.open(tab)
            page.wait_for(text)
            time.sleep(settle)  # for what is drawn without text
            path = folder / f"{tab}.png"
            page.screenshot().quantize(64).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    save_screenshots(Path(sys.argv[1]), Path(sys.argv[2]))

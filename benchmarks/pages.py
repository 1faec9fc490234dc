"""The site's pages over a month of demo data: the server's time, what a browser sees, and Lighthouse's marks.

    python benchmarks/pages.py                  1,000,000 generations; some ten minutes, most of them to make the data
    python benchmarks/pages.py --data FOLDER    over a folder that is kept, and filled if it is empty

Lighthouse comes from npm (`npx`), and is left out without it.
"""

import argparse
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from common import MODEL, announce, machine, number, save, table
from servers import EMBEDROUTER, Server, free_port, raise_on_sigterm

_LIGHTHOUSE = "lighthouse@13.5.0"
_CHROMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync", *(["--no-sandbox"] if os.geteuid() == 0 else []))  # fmt: skip
_TABS = ("", "/providers", "/performance", "/pricing", "/apps", "/activity", "/uptime", "/api")
_PUBLIC = (
    "/", "/models", *(f"/{MODEL}{tab}" for tab in _TABS), "/rankings", "/rankings?period=month", "/apps",
    "/apps?url=https://tavern.example", "/providers", "/providers/openai", "/pricing", "/status", "/playground",
    "/docs", "/docs/api", "/docs/reference",
)  # fmt: skip
_SIGNED_IN = (
    "/dashboard", "/dashboard/keys", "/dashboard/credits", "/dashboard/activity", "/dashboard/activity?stretch=year",
    "/dashboard/logs", "/dashboard/credentials", "/dashboard/routing", "/dashboard/members", "/dashboard/settings",
    "/dashboard/users", "/dashboard/system", "/dashboard/catalog", "/dashboard/incidents",
)  # fmt: skip
_MARKED = ("/", f"/{MODEL}", "/rankings", "/status", "/playground", "/docs/quickstart", "/models", "/login")


class Served(NamedTuple):
    """Milliseconds until a page was there whole."""

    path: str
    p50: float
    p99: float
    most: float
    kib: float


def filled(folder: Path, requests: int) -> dict[str, Any]:
    """The demo's own words about a folder, which it fills if it has to."""
    told = folder / "demo.json"
    if not told.exists():
        command = [str(EMBEDROUTER), "demo", "--data-dir", str(folder), "--requests", str(requests), "--json"]
        told.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    document: dict[str, Any] = json.loads(told.read_bytes())
    return document


def sign_in(place: tuple[str, int], user: dict[str, str]) -> str:
    """The session's cookie."""
    connection = http.client.HTTPConnection(*place)
    form = urlencode({"email": user["email"], "password": user["password"], "next": "/dashboard"})
    kind = "application/x-www-form-urlencoded"
    connection.request("POST", "/login", form, {"Content-Type": kind, "Sec-Fetch-Site": "same-origin"})
    answer = connection.getresponse()
    if answer.status != 303:
        sys.exit(f"signing in was answered with {answer.status}")
    return str(answer.headers["Set-Cookie"]).partition(";")[0]


def timed(place: tuple[str, int], path: str, cookie: str, times: int) -> Served:
    """One request after the other on one connection."""
    connection = http.client.HTTPConnection(*place)
    headers = {"Cookie": cookie} if cookie else {}
    took, size = [], 0
    for turn in range(times + 3):
        begun = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"{path} was answered with {answer.status}")
        if turn >= 3:
            took.append((time.perf_counter() - begun) * 1e3)
        size = len(body)
    return Served(path, float(np.median(took)), float(np.percentile(took, 99)), max(took), size / 1024)


def seen(browser: Browser, root: str, path: str) -> dict[str, float]:
    """First contentful paint in ms, the median of five fresh visits; KiB of scripts, compressed."""
    paints, scripts = [], set[str]()
    for _ in range(5):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.on("response", lambda answer: scripts.add(answer.url) if answer.url.endswith(".js") else None)
        page.goto(root + path)
        page.wait_for_load_state("networkidle")
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        context.close()
    place = urlsplit(root)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    size = 0
    for url in scripts:
        connection.request("GET", urlsplit(url).path)
        size += len(gzip.compress(connection.getresponse().read(), 9))
    return {"first_paint_ms": float(np.median(paints)), "scripts_kib": size / 1024}


def marks(root: str, path: str, chrome: str, folder: Path) -> dict[str, float]:
    """Lighthouse's, of 100."""
    output = folder / "lighthouse.json"
    wanted = "--only-categories=accessibility,best-practices,performance"
    flags = " ".join(["--headless=new", *_QUIET])
    command = ["npx", "--yes", _LIGHTHOUSE, root + path, "--quiet", wanted, "--output=json", f"--output-path={output}"]
    subprocess.run(
        [*command, f"--chrome-flags={flags}"],
        check=True,
        env={**os.environ, "CHROME_PATH": chrome},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = json.loads(output.read_bytes())["categories"]
    return {name: round(100 * category["score"]) for name, category in found.items()}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    data = options.data or folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    user = filled(data, options.requests)["users"][0]
    port = free_port()
    command = [str(EMBEDROUTER), "serve", "--port", str(port), "--data-dir", str(data)]
    chrome = next(filter(None, map(shutil.which, _CHROMES)), None)
    with Server("embedrouter", command, port, "/ready", folder / "log", {}) as server:
        root, place = server.url.removesuffix("/api/v1"), ("127.0.0.1", port)
        cookie = sign_in(place, user)
        served = [timed(place, path, "", options.times) for path in _PUBLIC]
        served += [timed(place, path, cookie, options.times) for path in _SIGNED_IN]
        rows = [[one.path, number(one.p50), number(one.p99), number(one.most), number(one.kib)] for one in served]
        print(table(["page", "p50 ms", "p99 ms", "most ms", "KiB"], rows), flush=True)
        result: dict[str, object] = {"pages": [one._asdict() for one in served]}
        if chrome is not None:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chrome, args=list(_QUIET))
                looks = {path: seen(browser, root, path) for path in _MARKED}
                browser.close()
            shown = [[path, number(of["first_paint_ms"]), number(of["scripts_kib"])] for path, of in looks.items()]
            print(table(["page", "first paint ms", "scripts KiB, gzip"], shown), flush=True)
            result["browser"] = looks
            if shutil.which("npx") and not options.no_lighthouse:
                marked = {path: marks(root, path, chrome, folder) for path in _MARKED}
                names = list(next(iter(marked.values())))
                print(
                    table(["page", *names], [[path, *(str(of[name]) for name in names)] for path, of in marked.items()])
                )
                result["lighthouse"] = marked
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="generations of the demo data")
    parser.add_argument("--times", type=int, default=200, help="requests of each page")
    parser.add_argument("--data", type=Path, help="a folder of demo data that is kept")
    parser.add_argument("--no-lighthouse", action="store_true")
    options = parser.parse_args()
    raise_on_sigterm()
    facts = machine()
    announce(facts)
    with tempfile.TemporaryDirectory(prefix="embedrouter-pages-") as folder:
        save("pages", {"machine": facts, **measure(options, Path(folder))})


if __name__ == "__main__":
    main()

"""platmap draw: the page by itself, and what it does in Chromium, if there is one.

The browser is driven through its debugging pipe, keys, pointer and all; each check of what the script
did is one expression evaluated in the page.
"""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
PLATMAP = platqemu.BUILD / "platmap"
MAPS = Path(os.environ.get("PLAT_MAPS", ROOT.parent / "shared/firmware/maps"))
REAL = sorted(MAPS.glob("*.txt")) if MAPS.is_dir() else []
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# One worker for all of them: they share a browser.
pytestmark = pytest.mark.xdist_group("draw")

RUNTIME = 1 << 63
PIXELS, TOP = 680, 16

# Type, start, pages, attributes.
DESCS = [(3, 0x0, 0x1, 0xf), (7, 0x1000, 0x9f, 0xf), (7, 0x100000, 0x7f00, 0xf)]
DESCS += [(3 + n % 2, 0x8000000 + n * 0x4000, 4, 0xf) for n in range(70)]
DESCS += [(6, 0x9000000, 0x100, 0xf | RUNTIME), (5, 0x9100000, 0x100, 0xf | RUNTIME),
          (9, 0x9200000, 0x12, 0xf), (10, 0x9212000, 0x80, 0xf), (8, 0x9292000, 0x6, 0xf),
          (0, 0x9298000, 0x8, 0xf), (7, 0x92a0000, 0x6d60, 0xf), (11, 0xffc00000, 0x400, 0x1 | RUNTIME),
          (7, 0x100000000, 0x100000, 0xf), (11, 0xfd00000000, 1, 0x1 | RUNTIME)]
# A month later: two megabytes more in front of what runtime services need, and no bad RAM.
LATER = [(t, s + 0x200000 if 0x9000000 <= s < 0x9292000 else s, n, a) for t, s, n, a in DESCS if t != 8]
LATER = [d for d in LATER if d[:2] != (0, 0x9298000)]
LATER = [(t, s + 0x1f2000, n - 0x1f2, a) if s == 0x92a0000 else (t, s, n, a) for t, s, n, a in LATER]


def linux(descs):
    lines = ["[    0.000000] Linux version 6.1.0", "[    0.000000] efi: EFI v2.70 by EDK II"]
    lines += [f"[    0.000000] efi: mem{i:02}: type={t}, attr=0x{a:x}, "
              f"range=[0x{s:016x}-0x{s + n * 4096:016x}) ({n * 4096 >> 20}MB)"
              for i, (t, s, n, a) in enumerate(descs)]
    return "\n".join(lines) + "\n[    0.000000] secureboot: Secure boot disabled\n"


def platmap(*args, stdin=None):
    done = subprocess.run([PLATMAP, *map(str, args)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def trouble(*args):
    done = subprocess.run([PLATMAP, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False)
    assert done.returncode == 2 and done.stdout == b""
    return done.stderr.decode()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("draw")
    (path / "a.log").write_text(linux(DESCS))
    (path / "b.log").write_text(linux(LATER))
    (path / "one.html").write_text(platmap("draw", path / "a.log"))
    (path / "two.html").write_text(platmap("draw", path / "a.log", path / "b.log"))
    return path


SVG = "{http://www.w3.org/2000/svg}"
HTML = "{http://www.w3.org/1999/xhtml}"


def parse(page):
    """The page as a tree: it is XML but for style and script, whose text cannot end them early."""
    for tag in ("style", "script"):
        assert page.count(f"<{tag}>") == page.count(f"</{tag}") == 1
        page = re.sub(rf"<{tag}>.*?</{tag}>", "", page, flags=re.S)
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))


def by_class(tree, tag, name):
    return [e for e in tree.iter(HTML + tag) if name in e.get("class", "").split()]


def rows(tree, letter="a"):
    """(first, last, use or hole) of each row of the table of regions."""
    found = []
    for row in tree.iter(HTML + "tr"):
        if re.fullmatch(rf"{letter}\d+", row.get("id", "")):
            cells = [c.text for c in row]
            found.append((int(cells[0], 16), int(cells[1], 16), cells[3]))
    return found


def regions_of(path):
    """The regions as `show` has them, in the same form."""
    return [(int(a, 16), int(b, 16) - 1, use) for a, b, use in
            re.findall(r"^(0x\w+) (0x\w+) +\S+ \w+  (\S.*?)  ", platmap("show", "--normalised", path), re.M)]


def check_page(page):
    """What every page must be. Returns the tree."""
    tree = parse(page)
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for e in tree.iter():
        for key, value in e.attrib.items():
            assert not key.startswith("on") and key not in ("src", "style", "srcset", "data")
            if key in ("href", "action"):
                assert value.startswith("#") and value[1:] in ids
    assert not re.search(r"url\((?!\"#)|@import|\bimport\b *\(|fetch\(|XMLHttp|innerHTML", page)
    assert set(re.findall(r"https?://[^\s\"'<)]*", page)) <= {
        "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}
    return tree


# ---- the page ------------------------------------------------------------------------------------


@pytest.mark.quick
def test_page_has_every_region_and_hole(home):
    tree = check_page((home / "one.html").read_text())
    found = rows(tree)
    assert [r for r in found if r[2] != "hole"] == regions_of(home / "a.log")
    assert found[0][0] == 0
    for (_, last, _), (first, _, _) in zip(found, found[1:]):
        assert first == last + 1
    assert tree.find(".//*[@id='uses']") is not None
    assert not [e for e in tree.iter(HTML + "details") if e.get("id")]


@pytest.mark.quick
def test_page_of_two(home):
    tree = check_page((home / "two.html").read_text())
    for letter, name in ("a", "a.log"), ("b", "b.log"):
        assert [r for r in rows(tree, letter) if r[2] != "hole"] == regions_of(home / name)
    done = subprocess.run([PLATMAP, "diff", home / "a.log", home / "b.log"], capture_output=True, text=True,
                          check=False)
    changes = [line[2:] for line in done.stdout.splitlines() if line[:2] in ("! ", "* ", "  ")]
    items = list(tree.find(".//*[@id='changes']").iter(HTML + "li"))
    assert [i.text for i in items] == changes and any("moved up" in c for c in changes)


def column(tree, k):
    g = [g for g in tree.iter(HTML + "g") if g.get("class") == "column"][k]
    return [(r.get("class"), float(r.get("x")), float(r.get("y")), float(r.get("width")),
             float(r.get("height"))) for r in g]


@pytest.mark.parametrize("name, ncolumns", [("one", 1), ("two", 2)])
def test_picture(home, name, ncolumns):
    """Columns are full from top to bottom, and no two labels touch."""
    tree = parse((home / f"{name}.html").read_text())
    for k in range(ncolumns):
        rects = column(tree, k)
        assert rects[0][2] == TOP
        for above, below in zip(rects, rects[1:]):
            gap = below[2] - above[2] - above[4]
            assert 0 <= gap < 0.52, (above, below)
        assert 0 <= TOP + PIXELS - rects[-1][2] - rects[-1][4] < 0.52
    labels = [float(t.get("y")) for g in tree.iter(HTML + "g") if g.get("class") == "labels"
              for t in g.iter(HTML + "text")]
    assert len(labels) == PIXELS // 14
    assert all(b - a >= 13.99 for a, b in zip(labels, labels[1:]))
    assert labels[0] > TOP and labels[-1] < TOP + PIXELS + 5


def test_same_map_same_page(home):
    assert platmap("draw", home / "a.log") == (home / "one.html").read_text()


def test_two_maps_of_one_file(home):
    path = home / "both.log"
    path.write_text(linux(DESCS) + linux(LATER))
    tree = check_page(platmap("draw", "--map=1", "--with=2", path))
    assert rows(tree, "b") == rows(parse((home / "two.html").read_text()), "b")


HOSTILE = "</script></style><img src=x onerror=alert(1)>&\"'\u202e\u2066\x01\x9b\ufeff]]><!--"


@pytest.fixture(scope="module")
def hostile(home):
    """A report of a liar: markup wherever there is text, screens and tables anywhere."""
    path = home / "liar.json"
    doc = json.loads(platmap("convert", "--to", "json", home / "a.log"))
    doc["captures"][0]["origin"] = HOSTILE
    finding = dict(doc["findings"][0], what=HOSTILE.replace("\x01", "").replace("\x9b", ""), rule="<b>")
    doc["findings"].append(finding)
    doc["firmware"] = {"vendor": HOSTILE, "revision": "0x00000001", "uefi": "2.7",
                       "uefi_revision": "0x00020046"}
    doc["acpi_tables"] = [{"signature": "<b>\"", "address": "0x0000000009200040", "bytes": 64, "revision": 1,
                           "oem_id": "", "oem_table_id": "", "oem_revision": "0x00000000"}]
    doc["framebuffers"] = [{"base": "0xffffffffffffffff", "bytes": 2**64 - 1, "width": 2**32 - 1,
                            "height": 1, "stride": 0, "format": "bgrx"},
                           {"base": "0x0000000009000800", "bytes": 4096, "width": 1, "height": 1,
                            "stride": 1, "format": "bgrx"}]
    path.write_text(json.dumps(doc))
    return path


@pytest.mark.quick
def test_hostile_report(hostile, home):
    page = platmap("draw", hostile)
    tree = check_page(page)
    assert "<img" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not set(page) & set("\u202e\u2066\x01\x9b\ufeff\0")
    marks = by_class(tree, "table", "marks")
    assert len(marks) == 1 and "0xffffffffffffffff" in ET.tostring(marks[0], encoding="unicode")


def test_hostile_name(home):
    path = home / "<b>&\udcff\u202e'\".log"
    os.link(home / "a.log", os.fsencode(path))
    done = subprocess.run([PLATMAP, "draw", os.fsencode(path)], capture_output=True, check=True)
    assert "&lt;b&gt;&amp;\ufffd\ufffd&#39;&quot;.log</title>" in done.stdout.decode()
    check_page(done.stdout.decode())


@pytest.mark.parametrize("descs", [
    [(7, 0, 1, 0xf)],
    [(7, 2**64 - 0x2000, 1, 0xf)],
    [(0, 0, 2**52 - 1, 0xf)],
    [(7, 0x1000, 1, 0xf), (11, 2**63, 2**51 - 1, 1)],
    [(7, n << 40, 1, 0xf) for n in range(1, 60)],
], ids=["a page", "the last page", "everything", "half", "islands"])
def test_extremes(tmp_path, descs):
    path = tmp_path / "map"
    path.write_text(linux(descs))
    tree = check_page(platmap("draw", path))
    assert [r for r in rows(tree) if r[2] != "hole"] == regions_of(path)
    for e in tree.iter():
        for key in "y", "height", "x", "width":
            if e.tag.endswith("rect") and e.get(key):
                assert -1 <= float(e.get(key)) <= 1000


def test_real_maps(tmp_path):
    if not REAL:
        pytest.skip("no maps of real firmware here")
    for path in REAL:
        tree = check_page(platmap("draw", path))
        assert [r for r in rows(tree) if r[2] != "hole"] == regions_of(path), path.name


def many(n):
    """Short regions of all types, with a hole after every seventh."""
    at, descs = 0, []
    for i in range(n):
        pages = 1 + i * 7919 % 50
        descs.append(((3, 4, 7, 6, 9, 10, 0, 11)[i * 31 % 8], at, pages, 0xf | RUNTIME * (i * 31 % 8 == 3)))
        at += (pages + (i % 7 == 0)) * 4096
    return descs


def test_a_hundred_thousand_descriptors(home):
    """The picture stays small, and all is in the page, as text."""
    path = home / "many.log"
    path.write_text(linux(many(100000)))
    start = time.monotonic()
    page = platmap("draw", "-o", home / "many.html", path)
    assert page == "" and time.monotonic() - start < 10, "a quarter of a second on a quiet machine"
    tree = parse((home / "many.html").read_text())
    assert len(list(tree.find(f".//*[@id='picture']").iter())) < 6000
    blocks = by_class(tree, "pre", "regions")
    lines = [line for b in blocks for line in b.text.splitlines()]
    assert len([line for line in lines if "  hole" not in line]) == 100000
    assert len(lines) == sum(len(b.get("data-at").split(";")) for b in blocks)


def test_output(home):
    assert "standard input" in trouble("draw", "-", "-")
    done = subprocess.run(["script", "-qec", f"{PLATMAP} draw {home / 'a.log'}", "/dev/null"],
                          capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert b"-o FILE.html" in done.stdout and b"<svg" not in done.stdout


# ---- colours -------------------------------------------------------------------------------------

# Simulation of colour vision deficiency at full severity: Machado, Oliveira, Fernandes 2009, on linear RGB.
VISION = {
    "usual": [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    "protan": [(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
               (-0.003882, -0.048116, 1.051998)],
    "deutan": [(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
               (-0.011820, 0.042940, 0.968881)],
    "tritan": [(1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
               (0.004733, 0.691367, 0.303900)],
}


def lab(rgb):
    """CIE L*a*b* of linear RGB, D65."""
    xyz = [sum(a * b for a, b in zip(row, rgb)) for row in
           ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))]
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
         for t in (max(v, 0) / white for v, white in zip(xyz, (0.9505, 1, 1.089)))]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


@pytest.mark.parametrize("vision", VISION)
def test_uses_can_be_told_apart(vision):
    css = (ROOT / "scripts/platmap/draw.css").read_text()
    uses = {int(k): v for k, v in re.findall(r"\.k(\d+).*? --use: #(\w{6})", css)}
    assert sorted(uses) == list(range(13))
    seen = {}
    for use, colour in uses.items():
        srgb = [int(colour[i:i + 2], 16) / 255 for i in (0, 2, 4)]
        rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb]
        seen[use] = lab([sum(a * b for a, b in zip(row, rgb)) for row in VISION[vision]])
    hatched = {9, 11, 12}
    for a in uses:
        for b in uses:
            if a < b and (a in hatched) == (b in hatched):
                distance = sum((x - y) ** 2 for x, y in zip(seen[a], seen[b])) ** 0.5
                assert distance >= 15, f"uses {a} and {b}: {distance:.1f}"


# ---- in a browser --------------------------------------------------------------------------------


class Browser:
    """Chromium without a window, through its debugging pipe: messages are JSON, ended by NUL."""

    def __init__(self, home):
        child_in, self._to = os.pipe()
        self._from, child_out = os.pipe()
        # Where 3 and 4 do not overwrite them.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (child_in, child_out)]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash", CHROMIUM, "--headless",
             "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
             "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={home}", "about:blank"],
            pass_fds=ends, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (child_in, child_out, *ends):
            os.close(fd)
        self._bytes, self._id, self._session = b"", 0, None
        self.events = []
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"],
                                  flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def _read(self):
        while b"\0" not in self._bytes:
            got = os.read(self._from, 1 << 20)
            assert got, "Chromium ended"
            self._bytes += got
        message, _, self._bytes = self._bytes.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data):]
        while (answer := self._read()).get("id") != self._id:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def js(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self):
        """Until what was asked for has been drawn."""
        self.js("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def open(self, path, width=1280, height=800, scheme="light", fragment=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=False)
        self.call("Emulation.setEmulatedMedia", media="",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="about:blank")  # else a fragment alone would load nothing
        self.events.clear()
        loader = self.call("Page.navigate", url=path.as_uri() + fragment)["loaderId"]
        loaded = {"loaderId": loader, "name": "load"}
        while not any(e.get("method") == "Page.lifecycleEvent" and loaded.items() <= e["params"].items()
                      for e in self.events):
            self.events.append(self._read())
        self.settle()

    def key(self, *keys):
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else \
                {"windowsVirtualKeyCode": 27} if key == "Escape" else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
            self.settle()

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.settle()

    def click(self, x, y, count=1):
        for kind in "mousePressed", "mouseReleased":
            self.mouse(kind, x, y, button="left", clickCount=count)

    def centre(self, selector):
        return self.js(f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
                       ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()")

    def complaints(self):
        """Exceptions, console, violations of the page's policy, and requests for anything else."""
        self.js("0")
        loaded = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"
                  and not e["params"]["request"]["url"].startswith(("file:", "about:"))]
        return loaded + [e for e in self.events if e.get("method") in
                         ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")]

    def close(self):
        try:
            self.call("Browser.close")
        except (AssertionError, OSError):
            pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        os.close(self._to)
        os.close(self._from)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here: scripts/setup, or the package chromium, brings one")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    """It must have nothing to complain of at the end of each test."""
    yield chromium
    assert chromium.complaints() == []


HERE = """(() => {
    const here = document.querySelector('#here');
    const lines = [...here.children].map((p) => p.textContent);
    return here.hidden ? null : lines.length ? lines.join("\\n") : here.textContent;
})()"""
LABELS = "[...document.querySelectorAll('.labels text')].map((t) => t.textContent)"
ROOM = "document.querySelectorAll('#picture .column rect').length"
# Do any two of these boxes overlap, or does one leave the picture?
CLASHES = """(() => {
    const all = [...document.querySelectorAll('.labels text, .overview text')]
        .map((t) => [t.getBBox(), t.textContent]);
    const width = document.querySelector('#picture').viewBox.baseVal.width;
    const bad = all.filter(([a]) => a.x < 0 || a.x + a.width > width).map(([, t]) => t);
    all.forEach(([a, s], i) => all.slice(i + 1).forEach(([b, t]) => {
        if (a.x < b.x + b.width && b.x < a.x + a.width &&
            a.y + 2 < b.y + b.height && b.y + 2 < a.y + a.height) {
            bad.push(s + " / " + t);
        }
    }));
    return bad;
})()"""


@pytest.mark.parametrize("name", ["one", "two"])
def test_script_draws_what_the_page_has(browser, home, name):
    """At the size of the page as it comes, columns and labels are the same ones."""
    path = home / f"{name}.html"
    browser.open(path)
    browser.js("window.dispatchEvent(new Event('beforeprint'))")
    tree = parse(path.read_text())
    drawn = browser.js("""[...document.querySelectorAll('.column')].map((g) => [...g.children].map((r) =>
        [r.getAttribute('class'), ...['x', 'y', 'width', 'height'].map((a) => +r.getAttribute(a))]))""")
    for k, rects in enumerate(drawn):
        still = column(tree, k)
        assert [r[0] for r in rects] == [r[0] for r in still]
        for a, b in zip(rects, still):
            assert a[1:] == pytest.approx(b[1:], abs=0.02)
    texts = [("".join(t.itertext()), float(t.get("y"))) for g in tree.iter(HTML + "g")
             if g.get("class") == "labels" for t in g.iter(HTML + "text")]
    moved = browser.js("[...document.querySelectorAll('.labels text')].map((t) => "
                       "[t.textContent, +t.getAttribute('y')])")
    assert [t for t, _ in texts] == [t for t, _ in moved]
    assert [y for _, y in texts] == pytest.approx([y for _, y in moved], abs=0.02)
    assert browser.js(CLASHES) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [1280, 400])
def test_no_text_on_text(browser, home, name, scheme, width):
    browser.open(home / f"{name}.html", width=width, scheme=scheme)
    assert browser.js(CLASHES) == []
    assert browser.js("document.documentElement.scrollWidth") <= width
    paper = browser.js("getComputedStyle(document.body).backgroundColor")
    light = [int(v) for v in re.findall(r"\d+", paper)][:3]
    assert (min(light) > 200) if scheme == "light" else (max(light) < 60)


@pytest.mark.quick
def test_keys(browser, home):
    browser.open(home / "one.html")
    browser.js("document.querySelector('#map').focus()")
    browser.key("Home")
    assert browser.js(HERE).startswith("0x0 – 0xfff\n4.0 KiB BootServicesCode, free after exit")
    browser.key("ArrowDown")
    assert browser.js(HERE).startswith("0x1000 – 0x9ffff\n")
    browser.key("ArrowUp")
    assert browser.js(HERE).startswith("0x0 – 0xfff\n")
    assert browser.js("document.querySelector('tr.chosen').id") == "a0"
    browser.key("End")
    assert browser.js(HERE).startswith("0xfd00000000 – 0xfd00000fff\n")
    rects = browser.js(ROOM)
    browser.key("+", "+", "+")
    assert browser.js(ROOM) < rects and browser.js("!!document.querySelector('.frame')")
    browser.key("0")
    assert browser.js(ROOM) == rects and not browser.js("!!document.querySelector('.frame')")
    browser.key("p")
    assert "M24" in browser.js(HERE)
    browser.key("Escape")
    assert browser.js(HERE) is None
    browser.key("d")
    assert browser.js("document.documentElement.style.colorScheme") == "dark"
    browser.key("?")
    assert browser.js("document.querySelector('#help').open")
    browser.key("Escape")
    assert not browser.js("document.querySelector('#help').open")


def search(browser, words):
    browser.key("/")
    browser.js("document.querySelector('#search').value = ''")
    browser.call("Input.insertText", text=words)
    browser.settle()
    return browser.js(HERE)


def test_search(browser, home):
    browser.open(home / "one.html")
    assert search(browser, "0x9000123").startswith("0x9000123 is 0x123 into\n0x9000000 – 0x90fffff\n")
    assert search(browser, str(0x9000123)).startswith("0x9000123 is 0x123 into\n")
    assert search(browser, "92a0fff").startswith("0x92a0fff is 0xfff into\n")
    assert "hole: the map says nothing" in search(browser, "0xb0000")
    assert "ACPINVS" in search(browser, "acpinvs")
    assert "Nothing in the map" in search(browser, "0xffffffffffffffff")
    assert "Nothing in the map" in search(browser, "<b>")
    browser.key("Escape")
    browser.open(home / "one.html", fragment="#0x9100000")
    assert "RuntimeServicesCode" in browser.js(HERE)


def test_pointer(browser, home):
    browser.open(home / "one.html")
    x, y = browser.centre(".column rect.k6")
    browser.mouse("mouseMoved", x, y)
    tip = "document.querySelector('#tip').hidden ? null : document.querySelector('#tip').innerText"
    assert "RuntimeServicesData, runtime data" in browser.js(tip) and "RUNTIME" in browser.js(tip)
    browser.click(x, y)
    assert "0x9000000 – 0x90fffff" in browser.js(HERE)
    rects = browser.js(ROOM)
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400, modifiers=2)
    assert browser.js(ROOM) < rects
    browser.mouse("mouseMoved", x, y)
    assert "RuntimeServicesData" in browser.js(tip), "what is under the pointer stays there"
    before = browser.js(LABELS)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x, y - 80, button="left", buttons=1)
    browser.mouse("mouseReleased", x, y - 80, button="left", clickCount=1)
    assert browser.js(LABELS) != before
    browser.mouse("mouseMoved", 2, 2)
    assert browser.js(tip) is None
    # A row of the table, and a stretch of the linear scale.
    browser.js("document.querySelector('#a1').click()")
    browser.settle()
    assert "0x1000 – 0x9ffff" in browser.js(HERE)
    browser.js("scrollTo(0, 0)")
    browser.key("0")
    left, top, height = browser.js("(() => { const r = document.querySelector('.overview rect')"
                                   ".getBoundingClientRect(); return [r.x + 8, r.y, r.height]; })()")
    browser.mouse("mousePressed", left, top + height / 2, button="left", clickCount=1)
    browser.mouse("mouseMoved", left, top + height - 2, button="left", buttons=1)
    browser.mouse("mouseReleased", left, top + height - 2, button="left", clickCount=1)
    assert browser.js("!!document.querySelector('.frame')")


def test_touch(browser, home):
    """A tap tells what is there; two fingers zoom."""
    browser.open(home / "one.html", width=400)
    x, y = browser.centre(".column rect.k6")
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.settle()
    assert "RuntimeServicesData" in browser.js("document.querySelector('#tip').innerText")
    assert "RuntimeServicesData" in browser.js(HERE)
    rects = browser.js(ROOM)
    for kind, apart in ("touchStart", 20), ("touchMove", 40), ("touchMove", 90), ("touchEnd", None):
        points = [{"x": x, "y": y - apart, "id": 0}, {"x": x, "y": y + apart, "id": 1}] if apart else []
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        browser.settle()
    assert browser.js(ROOM) < rects


def test_filter(browser, home):
    browser.open(home / "one.html")
    shown = "[...document.querySelectorAll('tr.k1')].filter((r) => r.offsetParent).length"
    assert browser.js(shown) == 71
    browser.click(*browser.centre("#use1"))
    assert browser.js(shown) == 0
    assert not any("BootServices" in label for label in browser.js(LABELS))
    assert browser.js("getComputedStyle(document.querySelector('.column .k1')).opacity") == "0.1"
    browser.click(*browser.centre("#use1"))
    assert browser.js(shown) == 71


def test_changes(browser, home):
    browser.open(home / "two.html")
    moved = "RuntimeServicesData moved up 2.0 MiB"
    assert any(label.endswith(moved) for label in browser.js(LABELS))
    browser.js("document.querySelector('#map').focus()")
    chosen = "document.querySelectorAll('.changes path.chosen').length"
    for _ in range(len(browser.js(LABELS))):
        browser.key("n")
        if browser.js(chosen) == 1:
            break
    assert browser.js("document.querySelectorAll('#changes li.chosen').length") == 1
    browser.key("Escape")
    assert browser.js(chosen) == 0
    browser.js("[...document.querySelectorAll('#changes li')].find((l) => /moved/.test(l.innerText)).click()")
    browser.settle()
    assert browser.js(chosen) == 1
    browser.key("ArrowLeft")
    assert browser.js(HERE).startswith("A: 0x")
    browser.key("ArrowRight")
    assert browser.js(HERE).startswith("B: 0x")


def test_print(browser, home):
    browser.open(home / "one.html", scheme="dark")
    pdf = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF") and 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.js("document.querySelector('#tools').offsetParent") is None
    assert browser.js("getComputedStyle(document.documentElement).colorScheme") == "light"


def test_hostile_page(browser, home, hostile):
    page = home / "liar.html"
    page.write_text(platmap("draw", hostile))
    browser.open(page)
    assert browser.js("document.images.length") == 0
    assert "frame buffer" in search(browser, "0x9000800")


def test_many_regions(browser, home):
    path = home / "many.html"
    if not path.exists():
        (home / "many.log").write_text(linux(many(100000)))
        platmap("draw", "-o", path, home / "many.log")
    start = time.monotonic()
    browser.open(path)
    assert time.monotonic() - start < 30, "two seconds on a quiet machine"
    assert browser.js("document.querySelectorAll('*').length") < 20000
    assert browser.js(CLASHES) == []
    first, last = browser.js("(() => { const p = document.querySelectorAll('pre')[20].textContent"
                             ".split('\\n')[7].split(/ +/); return p.slice(0, 2); })()")
    assert f"{first} – {last}" in search(browser, first)
    browser.js("document.querySelector('#map').focus()")
    browser.key("Enter", "Enter")
    assert browser.js("getSelection().toString()").startswith(first)

"""docs/fleet.md as its readers meet it: its commands and queries, run by sqlite3 over the reports of a
fleet that does not exist, and their answers held against what that fleet was made to be.

    python3 tests/tools/test_fleet.py 10000

makes that many reports, with maps of a usual size, and prints how long everything takes.
"""

import datetime
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DOC = ROOT / "docs/fleet.md"
BUILD = ROOT / os.environ.get("B", "build")
SQLITE = tuple(map(int, subprocess.run(["sqlite3", "--version"], check=True, capture_output=True,
                                       text=True).stdout.split()[0].split(".")))
pytestmark = [pytest.mark.quick,
              pytest.mark.skipif(SQLITE < (3, 38), reason="SQLite has ->> since 3.38")]

RUNTIME = 1 << 63
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAYS = (12, 9, 6, 1)  # ago: when each machine was started

# ---- the fleet -----------------------------------------------------------------------------------

# What the firmware of each product and version does beside what all do.
FLEET = {
    ("Acme", "Book 13", "1.04"): {"machines": 5, "moves": True},
    ("Acme", "Book 13", "1.05"): {"machines": 4},
    ("Acme", "Tower", "F2"): {"machines": 3, "mat": None},
    ("Acme", "Tower", "F3"): {"machines": 2, "mat": {}},
    ("Bolt", "Server 1U", "2.8"): {"machines": 4, "loses": 2},
    ("Cord", "Board", "0.9"): {"machines": 3, "high": True, "odd": True},
}


def descriptors(traits, machine, boot, pieces=4):
    """Type, start, pages, attributes of a machine's map. `loses`: so many machines have less memory since
    the last boot. `pieces`: of what boot services leave behind."""
    top = 0x7000_0000 if machine < traits.get("loses", 0) and boot == len(DAYS) - 1 else 0x8000_0000
    shift = 0x10 * (boot % 3) if traits.get("moves") else 0
    used = [(2, 0x100 + shift, 0xf), (0, 0x100, 0xf), (10, 0x40, 0xf), (9, 0x12, 0xf), (6, 0x80, 0xf | RUNTIME),
            (5, 0x40, 0xf | RUNTIME)]
    if traits.get("odd"):
        used += [(0x7000_0001, 0x8, 0xf), (7, 0, 0xf)]
    used += [(4, 0x80 - shift, 0xf)]
    used += [((3, 4, 7)[i % 3], 1 + i % 30, 0xf) for i in range(pieces)]
    end = top >> 12
    made = []
    for kind, pages, attribute in used:
        end -= pages
        made.append((kind, end << 12, pages, attribute))
    made += [(7, 0x10_0000, end - 0x100, 0xf), (7, 0x0, 0xa0, 0xf)]
    made.reverse()
    if traits.get("high"):  # one run over the border of 4 GiB
        return [*made, (7, 0x8000_0000, 0x10_0000, 0xf)]
    return [*made, (11, 0xffc0_0000, 0x400, 0x1 | RUNTIME)]


def descriptor(index, kind, start, pages, attribute):
    """As an element of a report's `descriptors`, but for what only explains."""
    raw = struct.pack("<IIQQQQQ", kind, 0, start, 0, pages, attribute, 0).hex()
    return {"index": index, "type": kind, "physical_start": f"0x{start:016x}",
            "virtual_start": "0x0000000000000000", "pages": pages,
            "attribute": f"0x{attribute:016x}", "raw": raw}


def memory_attributes(traits, descs):
    if "mat" in traits and traits["mat"] is None:
        return None
    says = traits.get("mat", {5: 0x20000, 6: 0x4000})  # code RO, data XP
    rows = [(t, s, n, RUNTIME | says.get(t, 0)) for t, s, n, _ in descs if t in (5, 6)]
    return {"address": "0x000000007ff00000", "flags": "0x00000000", "problem": None,
            "descriptor_size": 48, "descriptor_version": 1, "rest": "",
            "descriptors": [descriptor(i, *row) for i, row in enumerate(rows)]}


def platmap(*args, stdin):
    """Its answer; lint may find errors."""
    done = subprocess.run([BUILD / "platmap", *args], input=stdin, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.stdout


class Maps:
    """Captures by their descriptors: many machines have the same map."""

    def __init__(self):
        self.known = {}

    def capture(self, descs):
        key = tuple(descs)
        if key not in self.known:
            raw = b"".join(bytes.fromhex(descriptor(0, *d)["raw"]) for d in descs)
            document = json.loads(platmap("convert", "--to", "json", "-", stdin=raw))
            self.known[key] = document["captures"][0] | {
                "origin": "GetMemoryMap()", "whole": True, "verbatim": True}
            self.frame = document
        return self.known[key]

    def report(self, maker, product, version, traits, machine, boot, pieces):
        """All members that platmap leaves null are written here."""
        descs = descriptors(traits, machine, boot, pieces)
        capture = self.capture(descs)
        started = NOW - datetime.timedelta(days=DAYS[boot % len(DAYS)], minutes=machine + boot)
        name = dict.fromkeys(("bios_date", "version", "family", "sku", "serial", "board_manufacturer",
                              "board_product", "board_version", "board_serial"))
        return self.frame | {
            "time": started.strftime("%Y-%m-%dT%H:%M:%SZ"), "identifiers": True, "arch": "x86",
            "firmware": {"vendor": maker, "revision": "0x00010000", "uefi_revision": "0x00020046"},
            "smbios": name | {
                "address": "0x00000000000f0000", "major": 3, "minor": 3, "bios_vendor": maker,
                "bios_version": version, "manufacturer": maker, "product": product,
                "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{product} {version} {machine}")),
                "memory_devices": []},
            "configuration_tables": [],
            "memory_attributes": memory_attributes(traits, descs),
            "captures": [capture | {"when": "start"}, capture | {"when": "last"}],
            "findings_capture": None, "findings": None,
        }


def fleet(machines=None, pieces=4):
    """Reports as dictionaries, each with what lint says of it. `machines`: of each product."""
    maps = Maps()
    made = [maps.report(*key, traits, machine, boot, pieces)
            for key, traits in FLEET.items()
            for machine in range(machines or traits["machines"]) for boot in range(len(DAYS))]
    lines = "".join(json.dumps(r) + "\n" for r in made).encode()
    for report, line in zip(made, platmap("lint", "--json", "-", stdin=lines).splitlines(), strict=True):
        found = json.loads(line)["findings"]
        report["findings"] = [f | {"other_descriptor": f["other"]} for f in found]
        report["findings_capture"] = "last"
    return made


def write_fleet(path, reports):
    """As `platmap convert --to reports` has them."""
    lines = "".join(json.dumps(r) + "\n" for r in reports).encode()
    path.write_bytes(platmap("convert", "--to", "reports", "-", stdin=lines))


# ---- the page ------------------------------------------------------------------------------------


class Page:
    """Its blocks: shell by number, SQL by name, questions by their heading."""

    def __init__(self):
        text = DOC.read_text()
        self.shell = re.findall(r"^```sh.*\n([^`]*)```", text, re.M)
        self.sql = dict(re.findall(r"^```sql (\w+)\n([^`]*)```", text, re.M))
        self.questions = dict(re.findall(r"^### (.*)\n(?:(?!###)[^`]*\n)?```sql\n([^`]*)```", text, re.M))
        assert text.count("```") == 2 * (len(self.shell) + len(self.sql) + len(self.questions))


def sh(text, folder):
    """Its output; platmap is what was built."""
    env = os.environ | {"PATH": f"{BUILD}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", text], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    return done.stdout


def sqlite(folder, sql):
    """The rows of its answer."""
    done = subprocess.run(["sqlite3", "-bail", "-json", "fleet.db"], cwd=folder, input=sql,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout or "[]")


@pytest.fixture(scope="module")
def page():
    return Page()


@pytest.fixture(scope="module")
def reports():
    return fleet()


@pytest.fixture(scope="module")
def folder(page, reports, tmp_path_factory):
    """Where the page's commands were followed up to the first question."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "reports").mkdir()
    for number, report in enumerate(reports):
        (folder / f"reports/{number:03}.json").write_text(json.dumps(report, indent=1))
    errors = sh(page.shell[0], folder).splitlines()
    assert len(errors) == 10 and all(" error M04 " in line for line in errors)
    assert len((folder / "fleet.jsonl").read_text().splitlines()) == len(reports)
    for name in ("load", "tables"):
        assert sqlite(folder, page.sql[name]) == []
    return folder


def ask(folder, page, words):
    """The rows that answer the one question with `words` in it, as tuples."""
    found = [sql for heading, sql in page.questions.items() if words in heading]
    assert len(found) == 1
    return [tuple(row.values()) for row in sqlite(folder, found[0])]


def by_product(number):
    """A row for each product and version, of what `number` has to say of its traits."""
    return [(f"{maker} {product}", version, *number(traits))
            for (maker, product, version), traits in sorted(FLEET.items())]


# ---- the answers ---------------------------------------------------------------------------------


def test_reports_load_as_they_are(folder, reports):
    """Every byte of each line, in order; and SQLite's own reader takes them all."""
    rows = sqlite(folder, "SELECT doc, json_valid(doc) AS good FROM report ORDER BY rowid")
    assert [r["doc"] for r in rows] == (folder / "fleet.jsonl").read_text().splitlines()
    assert {r["good"] for r in rows} == {1}
    assert [json.loads(r["doc"])["captures"][1]["descriptors"][2]["raw"] for r in rows] == [
        r["captures"][1]["descriptors"][2]["raw"] for r in reports]


def test_tables_hold_the_map_that_counts(folder, reports):
    rows = sqlite(folder, "SELECT * FROM boot ORDER BY id")
    assert [r["machine"] for r in rows] == [r["smbios"]["uuid"] for r in reports]
    assert {r["capture"] for r in rows} == {1}
    regions = sqlite(folder, "SELECT boot, base, end FROM region ORDER BY boot, base")
    assert [(r["boot"], r["base"], r["end"]) for r in regions] == [
        (n, r["base"], r["end"]) for n, report in enumerate(reports, 1)
        for r in report["captures"][1]["regions"]]


def test_bounds_of_runs_are_numbers(folder, reports):
    """All of memory that is in a region is in a run, and runs of one use do not touch."""
    runs = sqlite(folder, "SELECT * FROM run ORDER BY boot, base")
    for number, report in enumerate(reports, 1):
        mine = [r for r in runs if r["boot"] == number]
        regions = report["captures"][1]["regions"]
        assert sum(r["end"] - r["base"] for r in mine) == sum(r["bytes"] for r in regions)
        assert {r["base"] for r in mine} < {int(r["base"], 16) for r in regions}
        for a, b in zip(mine, mine[1:]):
            assert a["end"] < b["base"] or (a["end"] == b["base"] and a["use"] != b["use"])


def test_overview(folder, page):
    day = (NOW - datetime.timedelta(days=DAYS[-1], minutes=len(DAYS) - 1)).strftime("%Y-%m-%d")
    assert ask(folder, page, "What is there") == by_product(
        lambda traits: (traits["machines"], traits["machines"] * len(DAYS), day))


def test_who_moves_runtime_regions(folder, page):
    """One does; where modules were taken out, the map is another one for a reason."""
    rows = ask(folder, page, "moves runtime regions")
    assert rows[0] == ("Acme Book 13", "1.04", 5, 5)
    assert sorted(rows) == by_product(
        lambda traits: (traits["machines"], traits["machines"] if "moves" in traits else 0))


def test_what_firmware_keeps(folder, page):
    assert sorted(ask(folder, page, "firmware keep")) == by_product(
        lambda traits: (4 * 0xc0, 4 * 0x40, *[4 * (0x108 if "odd" in traits else 0x100)] * 2))


def test_findings_by_firmware(folder, page, reports):
    rows = ask(folder, page, "lint find")
    found = {(f["severity"], f["rule"], f"{r['smbios']['manufacturer']} {r['smbios']['product']}",
              r["smbios"]["bios_version"], r["smbios"]["uuid"]) for r in reports for f in r["findings"]}
    assert Counter(row[:5] for row in rows) == Counter(
        (*key, n) for key, n in Counter(f[:4] for f in found).items())
    assert rows[0][:5] == ("error", "M04", "Cord Board", "0.9", 3)
    assert [row[0] for row in rows] == sorted((row[0] for row in rows),
                                              key=["error", "warning", "info"].index)
    assert ("warning", "A04", "Acme Tower", "F3", 2) in [row[:5] for row in rows]


def test_who_changed(folder, page, reports):
    """Those that move, against a week ago; and two that lost a quarter of a GiB."""
    rows = ask(folder, page, "changed since last week")
    assert [(row[0], row[1], row[2], row[6]) for row in rows] == \
        5 * [("Acme Book 13", "1.04", "1.04", 0)] + 2 * [("Bolt Server 1U", "2.8", "2.8", -256)]
    for _, _, _, machine, before, now, _ in rows:
        assert [reports[n - 1]["smbios"]["uuid"] for n in (before, now)] == [machine, machine]
        assert (before % len(DAYS), now % len(DAYS)) == (2, 0)
    text = sh(page.shell[1], folder)
    assert "RuntimeServicesData" in text and "Breaks hibernation" in text


def test_who_is_not_protected(folder, page):
    assert ask(folder, page, "not protected") == [
        ("Acme Tower", "F2", 3, 3, 0), ("Acme Tower", "F3", 2, 0, 2)]


def test_largest_block(folder, page, reports):
    """Runs of usable memory, added up from the regions; one is cut at 4 GiB: 2 GiB, and what the loader
    had below them."""
    worst = {}
    for report in reports:
        runs = []
        for r in report["captures"][1]["regions"]:
            base, end = int(r["base"], 16), min(int(r["end"], 16), 1 << 32)
            if r["kind"] not in ("free", "free after exit") or base >= end:
                continue
            if runs and runs[-1][1] == base:
                runs[-1][1] = end
            else:
                runs.append([base, end])
        key = (f"{report['smbios']['manufacturer']} {report['smbios']['product']}",
               report["smbios"]["bios_version"])
        largest = max(end - base for base, end in runs) >> 20
        worst[key] = min(worst.get(key, largest), largest)
    rows = ask(folder, page, "largest usable block")
    assert {row[:2]: row[2] for row in rows} == worst
    assert [row[2] for row in rows] == sorted(worst.values())
    assert worst["Cord Board", "0.9"] == 2048 + 1


def test_unusual_descriptors(folder, page):
    rows = ask(folder, page, "unusual descriptors")
    assert [row[:5] for row in rows] == [("Cord Board", "0.9", 3, 12, "Conventional"),
                                         ("Cord Board", "0.9", 3, 12, "OEM-defined")]
    assert [row[6] for row in rows] == [0, 8]


def test_every_question_is_asked(page):
    tests = Path(__file__).read_text()
    asked = re.findall(r'ask\(folder, page, "(.*?)"\)', tests)
    assert len(asked) == len(page.questions) == 8


# ---- how long it takes ---------------------------------------------------------------------------


def measure(count):
    """Seconds of each step over so many reports, with 180 descriptors in each."""
    page = Page()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        machines = -(-count // len(FLEET) // len(DAYS))
        write_fleet(folder / "fleet.jsonl", fleet(machines, pieces=80))
        print(f"{(folder / 'fleet.jsonl').stat().st_size / 1e6:.0f} MB")
        steps = [("lint", lambda: sh("platmap lint fleet.jsonl >lint.txt", folder))]
        steps += [(what, lambda sql=sql: sqlite(folder, sql))
                  for what, sql in [*page.sql.items(), *page.questions.items()]]
        for what, step in steps:
            before = os.times()
            start = time.monotonic()
            step()
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            print(f"{time.monotonic() - start:7.2f} s, {used:7.2f} s of processor time: {what}")


if __name__ == "__main__":
    measure(int(sys.argv[1]))

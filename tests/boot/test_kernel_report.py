"""The report that the monitor prints, as the host reads it out of the serial log: platmap, a JSON Schema
validator, and what the monitor itself says of the same maps."""

import json
import re
import subprocess

import jsonschema
import pytest

from plat import platqemu, screen_text
from test_monitor import PAGE, descriptors, regions

GUEST = dict(mem="256M", conf="nokaslr")

PLATMAP = platqemu.BUILD / "platmap"
SCHEMA = json.loads((platqemu.ROOT / "docs" / "report.schema.json").read_text())
MARK = '{"format":"plat-report",'
CTRL_C = "\x03"


def platmap(*args, status=0):
    """Run it; what it prints. Complaints come with trouble, and only then."""
    done = subprocess.run([PLATMAP, *map(str, args)], capture_output=True, check=False, text=True)
    assert done.returncode == status, f"{args}: {done.stdout}{done.stderr}"
    assert (done.stderr != "") == (status == 2), done.stderr
    return done.stdout


def document(text):
    """The last report in a serial log."""
    line = text[text.rindex(MARK):].split("\n", 1)[0]
    return json.loads(line)


def capture(doc, when):
    (found,) = [c for c in doc["captures"] if c["when"] == when]
    return found


def valid(doc):
    jsonschema.Draft202012Validator(SCHEMA).validate(doc)
    whens = [c["when"] for c in doc["captures"]]
    assert whens == ["start", "final", "kernel"]
    assert doc["findings_capture"] == "final" and doc["findings_lost"] == 0
    return doc


@pytest.fixture
def reported(guest, tmp_path):
    """The guest, its report, and a log with that and nothing else of its kind in it."""
    before = len(guest.raw)
    output = guest.cmd("report")
    log = tmp_path / "serial.log"
    log.write_bytes(guest.raw[:before].replace(MARK.encode(), b"an earlier one:") +
                    guest.raw[before:])
    return guest, valid(document(output)), log


@pytest.mark.quick
def test_platmap_finds_it_in_the_log(reported):
    g, doc, log = reported
    assert json.loads(platmap("convert", "--to", "json", log)) == doc
    assert len(log.read_bytes()) > len(json.dumps(doc)) / 2 + 1000  # a log, with other lines
    for when in ("final", "kernel"):
        assert f"Plat report, map {when} (" in platmap("show", "--map", when, log)
    # Again, from what platmap wrote: the same bytes.
    again = log.with_suffix(".json")
    again.write_text(platmap("convert", "--to", "json", log))
    assert platmap("convert", "--to", "json", again) == again.read_text()
    assert g.text.count("report: sent\n") >= 1


@pytest.mark.quick
def test_captures_are_what_memmap_prints(reported):
    g, doc, _ = reported
    final, kernel = capture(doc, "final"), capture(doc, "kernel")
    assert final["verbatim"] and final["whole"] and final["descriptor_size"] == 48
    said = [(str(d["index"]), d["physical_start"][-12:], str(d["pages"]), d["type_name"],
             d["attribute_names"]) for d in final["descriptors"]]
    assert said == descriptors(g.cmd("memmap -r"))
    found = regions(g)
    assert [(int(r["base"], 16), int(r["end"], 16), r["kind"]) for r in kernel["regions"]] == found
    assert kernel["descriptors"] == [] and not kernel["verbatim"]
    assert {r["descriptor"] for r in kernel["regions"]} > {None}
    for name, nbytes in kernel["totals"]["kind_bytes"].items():
        assert nbytes == sum(end - base for base, end, kind in found if kind == name), name
    for name, nbytes in final["totals"]["type_bytes"].items():
        pages = [d["pages"] for d in final["descriptors"] if d["type_name"] == name]
        assert nbytes == sum(pages) * PAGE, name


def test_every_capture_is_worked_with(reported):
    """What the kernel made of the map is a map, too."""
    g, doc, log = reported
    found = regions(g)
    text = platmap("show", "--map", "kernel", log)
    assert [(int(base, 16), int(end, 16), kind.strip()) for base, end, kind in
            re.findall(r"^(0x\w+) (0x\w+) +\S+ \S+  (.{15})  ", text, re.M)] == found
    # The sums behind the bar and a blank line, and behind a title.
    own = g.cmd("memmap -s").split("\n\n", 1)[1]
    assert platmap("summary", "--map", "kernel", log).split("\n", 1)[1] == own
    for addr in [0, 0xfff, 0xb0000, found[3][0], found[-1][1], *(r[0] for r in found if r[2] == "kernel")]:
        inside = any(base <= addr < end for base, end, _ in found)
        assert platmap("at", "--map", "kernel", f"{addr:#x}", log,
                       status=0 if inside else 1) == g.cmd(f"memmap {addr:#x}")
    assert "after ACPI tables are read" in platmap("replay", "--map", "kernel", log)
    for c in doc["captures"]:
        platmap("summary", "--map", c["when"], log)


def test_lint_here_is_lint_there(reported):
    g, doc, log = reported
    own = g.cmd("lint")
    assert platmap("lint", log).replace(f"{log}: ", "") == own
    assert [f"{f['severity']} {f['rule']}" for f in doc["findings"]] == re.findall(
        r"^(\w+ [MA]\d\d)", own, re.M)
    for rule in {f["rule"] for f in doc["findings"]}:
        said = g.cmd(f"lint {rule}")
        assert said.split() == platmap("lint", "--explain", rule).split()


def test_differences_between_captures(reported):
    g, _, log = reported
    said = g.cmd("report -d")
    assert "kernel to kernel" not in said
    theirs = platmap("diff", "--map", "final", "--with", "kernel", log, status=1)
    assert said.endswith("final to kernel: what the kernel made of it\n" + theirs)
    assert re.search(r"^  kernel 0x[0-9a-f]+ \(.*\) appeared, was LoaderData$", theirs, re.M)
    assert "Runtime services regions: the same. ACPI regions: the same.\n" in theirs
    # The stub's own memory, at least.
    theirs = platmap("diff", "--map", "start", "--with", "final", log, status=1)
    assert f"start to final: what firmware and the stub did before exit\n{theirs}\n" in said
    assert "loader memory took " in theirs


def test_as_text(reported):
    g, doc, _ = reported
    text = g.cmd("report -t")
    assert text.isascii() and MARK not in text
    for d in capture(doc, "final")["descriptors"]:
        assert re.search(rf"^ *{d['index']} 0x0*{int(d['physical_start'], 16):x} .* {d['type_name']} ",
                         text, re.M), d
    for f in doc["findings"]:
        assert f"\n{f['severity']} {f['rule']}" in text


def test_ctrl_c_stops_it(guest, tmp_path):
    before = len(guest.raw)
    guest.send("report\r" + CTRL_C)
    guest.wait_text(r"^report: stopped; what was sent is of no use$")
    guest.wait_prompt()
    log = tmp_path / "cut.log"
    log.write_bytes(guest.raw[before:])
    assert MARK.encode() in log.read_bytes() and len(log.read_bytes()) < 2000
    platmap("show", log, status=2)
    assert guest.cmd("echo alive") == "alive\n"


def test_nothing_of_it_is_kept(guest):
    guest.cmd("report")  # kmalloc keeps an arena
    before = guest.cmd("heap")
    for command in ("report", "report -t", "report -d", "lint", "memmap 0"):
        guest.cmd(command)
    assert guest.cmd("heap") == before
    assert guest.cmd("check").count("BROKEN") == 0


def test_screen_says_what_was_sent(guest):
    guest.cmd("clear")
    guest.cmd("report")
    guest.cmd("")
    lines = screen_text(guest)
    at = lines.index("plat> report")
    assert re.match(r"[\d.]+ KiB over serial, for platmap: the maps (start, )?final and kernel; Ctrl-C stops$",
                    lines[at + 1])
    assert lines[at + 2] == "report: sent"


def test_without_memory(boot):
    """It says so, and prints nothing else."""
    g = boot(mem="64M")
    g.wait_prompt()
    for order in range(18, -1, -1):
        while "out of memory" not in g.cmd(f"alloc -f {order}"):
            pass
    for command in ("report", "report -d", "lint", "memmap 0"):
        said = g.cmd(command)
        assert re.match(r"\w+: not enough memory[^\n]*\n$", said), said
    g.cmd("free -a")
    valid(document(g.cmd("report")))


@pytest.mark.parametrize("options", [
    dict(mem="64M"),
    dict(mem="256M", conf="keep=boot-services"),
    dict(mem="4G", machine="pc"),
    dict(mem="256M", cpu="max,+la57", conf="paging=5"),
    dict(mem="256M", fb=False),
], ids=["64M", "keep-boot-services", "i440fx-4G", "five-levels", "no-frame-buffer"])
def test_machines(boot, options):
    conf = 'run="report; lint; memmap; poweroff"\n' + options.get("conf", "") + "\n"
    g = boot(**{**options, "conf": conf})
    assert g.wait_exit() == "guest-shutdown"
    doc = valid(document(g.text))
    assert not [f for f in doc["findings"] if f["severity"] == "error"]
    assert platmap("lint", g.log).replace(f"{g.log}: ", "") in g.text
    ram = capture(doc, "kernel")["totals"]["ram_bytes"]
    assert 0.9 < ram / platqemu.parse_size(options["mem"]) <= 1
    platmap("diff", "--map", "final", "--with", "kernel", g.log, status=1)


def test_two_machines_differ(boot, guest):
    """Logs of two guests, compared as a user would."""
    guest.cmd("report")
    other = boot(mem="512M", conf='run="report; poweroff"\n')
    assert other.wait_exit() == "guest-shutdown"
    (first, second) = guest.log.with_suffix(".one"), other.log
    line = guest.text[guest.text.rindex(MARK):].split("\n", 1)[0]
    first.write_text(f"[ 0.0] a line before\n{line}\na line behind\n")
    said = platmap("diff", first, second, status=1)
    first.unlink()
    assert re.search(r"^\* RAM .* appeared", said, re.M) or "grew" in said, said
    assert "hibernation" in said.lower()

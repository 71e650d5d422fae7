"""build/platmap as its users meet it: every format in, every command, exit codes, and what it says when
something is wrong. Maps of real firmware are read if there are any: in ../shared/firmware/maps, or
where PLAT_MAPS in the environment says."""

import csv
import io
import json
import os
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
PLATMAP = platqemu.BUILD / "platmap"
MAPS = Path(os.environ.get("PLAT_MAPS", ROOT.parent / "shared/firmware/maps"))
pytestmark = pytest.mark.quick

RUNTIME = 1 << 63
COMMANDS = ["show", "summary", "lint", "at", "diff", "draw", "convert", "replay"]
FORMATS = ["json", "reports", "text", "csv", "jsonl", "e820", "memmap", "badram"]

# What firmware gives for a small machine: type, start, pages, attributes.
DESCS = [
    (3, 0x0, 0x1, 0xf),
    (7, 0x1000, 0x9f, 0xf),
    (7, 0x100000, 0x7f00, 0xf),
    (4, 0x8000000, 0x1000, 0xf),
    (6, 0x9000000, 0x100, 0xf | RUNTIME),
    (5, 0x9100000, 0x100, 0xf | RUNTIME),
    (9, 0x9200000, 0x12, 0xf),
    (10, 0x9212000, 0x80, 0xf),
    (8, 0x9292000, 0x6, 0xf),
    (0, 0x9298000, 0x8, 0xf),
    (7, 0x92a0000, 0x6d60, 0xf),
    (11, 0xffc00000, 0x400, 0x1 | RUNTIME),
]
SHELL = ["Reserved", "LoaderCode", "LoaderData", "BS_Code", "BS_Data", "RT_Code", "RT_Data", "Available",
         "Unusable", "ACPI_Recl", "ACPI_NVS", "MMIO"]


def shell(descs):
    """As the EFI shell's memmap prints it."""
    lines = ["Type       Start            End              # Pages          Attributes"]
    lines += [f"{SHELL[t]:10} {s:016X}-{s + n * 4096 - 1:016X} {n:016X} {a:016X}"
              for t, s, n, a in descs]
    lines += [""]
    for number, name in enumerate(SHELL):
        pages = sum(n for t, _, n, _ in descs if t == number)
        lines += [f"  {name:10}: {pages:14,} Pages ({pages * 4096:,} Bytes)"]
    total = sum(n for t, _, n, _ in descs if t not in (0, 8, 11)) * 4096
    lines += [" " * 14 + "-" * 14, f"Total Memory: {total >> 20:14,} MB ({total:,} Bytes)", ""]
    return "\n".join(lines)


def linux(descs):
    lines = ["[    0.000000] Linux version 6.1.0", "[    0.000000] efi: EFI v2.70 by EDK II"]
    lines += [f"[    0.000000] efi: mem{i:02}: type={t}, attr=0x{a:x}, "
              f"range=[0x{s:016x}-0x{s + n * 4096:016x}) ({n * 4096 >> 20}MB)"
              for i, (t, s, n, a) in enumerate(descs)]
    return "\n".join(lines) + "\n[    0.000000] secureboot: Secure boot disabled\n"


def raw(descs, stride=48):
    return b"".join(struct.pack("<IIQQQQ", t, 0, s, 0, n, a).ljust(stride, b"\0")
                    for t, s, n, a in descs)


def platmap(*args, status=0, stdin=None):
    """Run it; standard output as text. Complaints that are no notes come with trouble, and only then."""
    done = subprocess.run([PLATMAP, *map(str, args)], input=stdin, capture_output=True, check=False)
    assert done.returncode == status, f"{args}: {done.stdout.decode()}{done.stderr.decode()}"
    complaints = re.sub(r"^platmap: note: .*\n", "", done.stderr.decode(), flags=re.M)
    assert (complaints != "") == (status == 2), complaints
    return done.stdout.decode()


def trouble(*args, stdin=None):
    """What it complains of: one line, and no answer."""
    done = subprocess.run([PLATMAP, *map(str, args)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 2 and done.stdout == b"", done.stdout.decode()
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("platmap: ")
    return lines[0].removeprefix("platmap: ")


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.txt"
    path.write_text(shell(DESCS))
    return path


@pytest.fixture
def report(good, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(platmap("convert", "--to", "json", good))
    return path


def rows_of(path):
    """The descriptors of a map as platmap has them."""
    rows = csv.DictReader(io.StringIO(platmap("convert", "--to", "csv", path)))
    return [(int(r["type"]), int(r["physical_start"], 16), int(r["pages"]), int(r["attribute"], 16))
            for r in rows]


# ---- the program ---------------------------------------------------------------------------------


def test_needs_no_library():
    headers = subprocess.run(["readelf", "-ld", PLATMAP], check=True, capture_output=True,
                             text=True).stdout
    assert "INTERP" not in headers and "NEEDED" not in headers


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command):
    text = platmap(*([command] if command else []), "--help")
    assert text.startswith("usage: platmap")
    assert "- is standard input" in text and "Exit status" in text
    assert max(map(len, text.splitlines())) <= 100
    for word in [] if command else COMMANDS:
        assert re.search(rf"^  {word} ", text, re.M)


def test_version():
    assert re.fullmatch(r"platmap \d+\.\d+\n", platmap("--version"))


def test_man_page_has_every_command_and_option():
    page = (ROOT / "docs/platmap.1").read_text().replace("\\-", "-")
    for command in COMMANDS:
        assert f".SS {command}" in page
        for option in re.findall(r"^  (--\w+)", platmap(command, "--help"), re.M):
            assert option in page
    for name in FORMATS:
        assert f".B {name}\n" in page
    assert platmap("--version").split()[1] in page


@pytest.mark.parametrize("args, word", [
    ([], "usage"),
    (["frobnicate"], "frobnicate"),
    (["show"], "usage"),
    (["show", "--frob", "x"], "--frob"),
    (["show", "--json", "x"], "--json"),
    (["show", "--type"], "needs a value"),
    (["show", "--type", "Foo", "x"], "Foo"),
    (["show", "--raw=1", "x"], "takes no value"),
    (["show", "--raw", "--normalised", "x"], "not both"),
    (["lint"], "no file"),
    (["lint", "--explain", "Z99"], "Z99"),
    (["at", "12g", "x"], "no address"),
    (["at", "0x10000000000000000", "x"], "no address"),
    (["diff", "x"], "--with"),
    (["diff", "-", "-"], "once"),
    (["convert", "x"], "--to"),
    (["convert", "--to", "xml", "x"], "xml"),
    (["convert", "--to", "csv", "x", "y"], "one file"),
    (["lint", "--arch", "z80", "x"], "z80"),
])
def test_wrong_calls(args, word):
    assert word in trouble(*args)


# ---- what comes in -------------------------------------------------------------------------------


@pytest.mark.parametrize("name, data", [
    ("shell", shell(DESCS).encode()),
    ("shell, UTF-16", shell(DESCS).encode("utf-16")),
    ("shell, CR LF", shell(DESCS).replace("\n", "\r\n").encode()),
    ("linux", linux(DESCS).encode()),
    ("raw", raw(DESCS)),
    ("raw, version 1", raw(DESCS, 40)),
], ids=lambda v: v if isinstance(v, str) else "")
def test_formats_say_the_same(tmp_path, good, name, data):
    path = tmp_path / "map"
    path.write_bytes(data)
    assert rows_of(path) == DESCS
    assert "the same" in platmap("diff", good, path)
    assert platmap("convert", "--to", "csv", "-", stdin=data) == platmap("convert", "--to", "csv", path)


def test_report_out_of_a_log(report, tmp_path):
    line = json.dumps(json.loads(report.read_text()), separators=(",", ":"))
    log = tmp_path / "serial.log"
    log.write_bytes(b"plat> report\r\n" + line.encode() + b"\r\nplat> poweroff\r\n")
    assert platmap("convert", "--to", "json", log) == report.read_text()
    platmap("diff", log, report)


def test_of_several_maps_one_is_chosen(tmp_path):
    """A log of two boots; the first is read unless --map says otherwise, and it is said so."""
    other = DESCS[:4] + DESCS[5:]
    path = tmp_path / "two.log"
    path.write_text(linux(DESCS) + linux(other))
    done = subprocess.run([PLATMAP, "summary", path], capture_output=True, text=True, check=True)
    assert "2 memory maps" in done.stderr and "--map" in done.stderr
    assert f"{len(DESCS)} descriptors" in platmap("show", "--map", 1, path)
    assert f"{len(other)} descriptors" in platmap("show", "--map=2", path)
    assert "RuntimeServicesData" in platmap("diff", "--map=1", "--with=2", path, status=1)
    assert "only 2" in trouble("show", "--map", 3, path)
    assert "final" in trouble("show", "--map", "final", path)


def test_maps_of_a_report(report, good, tmp_path):
    """The final map is the one that counts; others are had by name, and compared with it."""
    doc = json.loads(report.read_text())
    start = doc["captures"][0]
    left = start["descriptors"][:4] + start["descriptors"][5:]
    final = dict(start, when="final", regions=None, totals=None,
                 descriptors=[dict(d, index=i) for i, d in enumerate(left)])
    doc["captures"] = [dict(start, when="start"), final]
    doc["findings_capture"] = "start"
    path = tmp_path / "two.json"
    path.write_text(json.dumps(doc))
    assert "map final" in platmap("summary", path)
    assert rows_of(path) == DESCS[:4] + DESCS[5:]
    platmap("diff", "--map=start", path, good, "--with=1")
    assert "RuntimeServicesData" in platmap("diff", "--map=start", "--with=final", path, status=1)
    assert "kernel" in trouble("lint", "--map=kernel", path)

    lines = tmp_path / "fleet.jsonl"
    lines.write_text("".join(json.dumps(json.loads(p.read_text()), separators=(",", ":")) + "\n"
                             for p in (report, path)))
    platmap("diff", "--map=2", lines, path, "--with=final")
    assert "map final" in platmap("summary", "--map=2", lines)


def test_reports_one_after_another(report, good, tmp_path):
    """JSON Lines, also as other programs write them: each report in turn, called by its line."""
    doc = json.loads(report.read_text())
    line = json.dumps(doc, separators=(",", ":"))
    bad = json.dumps(dict(doc, captures=dict(doc["captures"][0], when="start")))
    final = json.dumps(dict(doc, captures=[dict(doc["captures"][0], when="final")]), sort_keys=True)
    path = tmp_path / "fleet.jsonl"
    path.write_text(f"{line}\n\n{json.dumps(doc)}\r\n{final}\n{line}")
    text = platmap("lint", path)
    assert re.findall(r"^(.*): 0 errors, ", text, re.M) == [f"{path}:{n}" for n in (1, 3, 4, 5)]
    objects = [json.loads(o) for o in platmap("lint", "--json", path).splitlines()]
    assert [(o["file"], o["line"]) for o in objects] == [(str(path), n) for n in (1, 3, 4, 5)]
    assert json.loads(platmap("lint", "--json", good))["line"] is None
    for command in ("show", "summary"):
        text = platmap(command, path)
        assert re.findall(r"^(.*): Plat report", text, re.M) == [f"{path}:{n}" for n in (1, 3, 4, 5)]
        assert f"\n\n{path}:3: " in text
    assert platmap("show", "--map", 2, path).startswith(f"{path}: Plat report")
    for which in ([], ["--map=file"]):
        done = subprocess.run([PLATMAP, "at", *which, "0x1000", path], capture_output=True, text=True,
                              check=True)
        assert "there are 4 reports in it" in done.stderr

    # What is wrong with one does not hide the others.
    path.write_text(f"{line}\n{bad}\n{final}\n{line[:-9]}\n")
    done = subprocess.run([PLATMAP, "lint", "--map=final", path], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and re.findall("^.*: 0 errors", done.stdout, re.M) == [f"{path}:3: 0 errors"]
    assert re.findall(rf"^platmap: {path}:(\d): (.{{6}})", done.stderr, re.M) == [
        ("1", "there "), ("2", "column"), ("4", "column")]


def test_utf16_report(report, tmp_path):
    """A log that an editor or PowerShell has saved, with characters of every length in it."""
    doc = json.loads(report.read_text())
    doc["plat"] = "\u00e9 \u20ac \U0001f600"
    line = json.dumps(doc, separators=(",", ":"), ensure_ascii=False)
    for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        data = mark + f"plat> report\r\n{line}\r\nplat> \r\n".encode(encoding)
        assert json.loads(platmap("convert", "--to", "json", "-", stdin=data)) == doc
        assert "UTF-16" in trouble("show", "-", stdin=data[:-1])
    half = line.replace("\U0001f600", "\ud83d")
    data = b"\xff\xfe" + half.encode("utf-16-le", "surrogatepass")
    assert json.loads(platmap("convert", "--to", "json", "-", stdin=data))["plat"] == "\u00e9 \u20ac \ufffd"
    pretty = tmp_path / "pretty"
    pretty.write_bytes(report.read_text().encode("utf-16"))
    assert platmap("convert", "--to", "json", pretty) == report.read_text()


def test_what_may_not_be_whole(tmp_path):
    """A log that ends with the map, or a dump: more may have been there."""
    path = tmp_path / "dump"
    path.write_bytes(raw(DESCS))
    phrase = "nothing shows whether the map is whole"
    assert phrase in platmap("show", path).splitlines()[0]
    assert phrase in platmap("lint", path).splitlines()[-1]
    assert json.loads(platmap("lint", "--json", path))["whole"] is False
    assert phrase in platmap("at", "0xb0000", path, status=1)
    assert phrase not in platmap("at", "0x1000", path)
    done = subprocess.run([PLATMAP, "convert", "--to", "csv", path], capture_output=True, text=True,
                          check=True)
    assert done.stderr == f"platmap: note: {path}: {phrase}\n"
    less = tmp_path / "less"
    less.write_bytes(raw(DESCS[:-1]))
    assert text_of_notes(platmap("diff", path, less, status=1)) == [
        f"{p}: {phrase}; what vanished or appeared may only be missing." for p in (path, less)]


def text_of_notes(text):
    return re.findall(r"^Note: (.*)$", text, re.M)


def test_damage_is_named_and_nothing_is_shown(good, report, tmp_path):
    path = tmp_path / "bad"
    cut = shell(DESCS).splitlines()
    path.write_text("\n".join(cut[:6]) + "\n" + cut[6][:40])
    for command in (["show"], ["lint"], ["summary"], ["at", "0x1000"], ["convert", "--to", "json"]):
        assert trouble(*command, path).startswith(f"{path}:7: ")
    path.write_text(linux(DESCS).replace("mem05", "mem06"))
    assert trouble("show", path).startswith(f"{path}:8: ")
    text = report.read_text()
    path.write_text(text[:len(text) // 2])
    assert re.match(rf"{path}:\d+: column \d+: ", trouble("show", path))
    path.write_text("log\n" * 7 + json.dumps(json.loads(text), separators=(",", ":"))[:-3])
    assert trouble("show", path).startswith(f"{path}:8: ")
    assert "pages" in trouble("show", "-", stdin=text.replace('"pages": 159', '"pages": 158').encode())


def test_what_is_no_map(tmp_path, good):
    path = tmp_path / "notes"
    path.write_text("Nothing of interest.\n")
    assert trouble("show", path).startswith(f"{path}: ")
    assert "standard input" in trouble("show", "-", stdin=b"")
    assert "No such file" in trouble("show", tmp_path / "missing")
    assert "directory" in trouble("show", tmp_path)
    assert trouble("diff", good, path).startswith(f"{path}: ")


# ---- commands ------------------------------------------------------------------------------------


def test_show(good):
    lines = platmap("show", good).splitlines()
    assert lines[0] == f"{good}: EFI shell memmap, {len(DESCS)} descriptors"
    assert len(lines) == len(DESCS) + 3 and "\033" not in "".join(lines)
    assert re.search(r"^ +4  0x000009000000 +256 +1\.0 MiB  RuntimeServicesData +UC\|WC\|WT\|WB\|RUNTIME$",
                     "\n".join(lines), re.M)


@pytest.mark.parametrize("wanted, count", [
    ("Conventional", 3), ("conventional,ACPINVS", 4), ("7", 3), ("free after exit", 2), ("13", 0)])
def test_show_by_type(good, wanted, count):
    assert platmap("show", "--type", wanted, good).splitlines()[-1].startswith(f"{count} descriptors")


def test_show_normalised(tmp_path):
    path = tmp_path / "overlap"
    path.write_text(shell([(7, 0x200000, 0x100, 0xf), (0, 0x180000, 0x100, 0xf)]))
    text = platmap("show", "--normalised", path)
    assert re.findall(r"^(0x\w+) (0x\w+) .*[KM]iB  (\w+)", text, re.M) == [
        ("0x000000180000", "0x000000280000", "reserved"),
        ("0x000000280000", "0x000000300000", "free")]


def test_colour_is_for_terminals(good):
    """script(1) gives it a terminal."""
    done = subprocess.run(["script", "-qec", f"{PLATMAP} show {good}", "/dev/null"], check=True,
                          capture_output=True, stdin=subprocess.DEVNULL)
    assert b"\033[32m" in done.stdout


def test_summary(good):
    text = platmap("summary", good)
    ram = sum(n for t, _, n, _ in DESCS if t in (1, 2, 3, 4, 5, 6, 7, 9, 10)) * 4096 / 2**20
    assert f"RAM                   {int(ram * 10) / 10:8.1f} MiB" in text


def test_at(good):
    text = platmap("at", "0x9000123", good)
    assert "runtime data, 0x123 into 0x9000000-0x90fffff (1.0 MiB)" in text
    assert "descriptor 4: RuntimeServicesData" in text and "(line 6)" in text
    assert platmap("at", 0x9000123, good) == text
    assert "M24" in platmap("at", "0x0", good)
    assert "0xb0000-" not in platmap("at", "0xb0000", good, status=1)
    assert "0xa0000-0xfffff" in platmap("at", "0xb0000", good, status=1)


def test_lint(good, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_text(shell(DESCS[:3] + [(7, 0x50000, 0x10, 0xf)] + DESCS[3:]))
    assert re.search(rf"^{good}: 0 errors, ", platmap("lint", good), re.M)
    text = platmap("lint", good, bad, status=1)
    assert re.search(rf"^{bad}:\d+: error M08 at 0x50000", text, re.M)
    assert text.index(f"{good}: 0 errors") < text.index(f"{bad}:")
    objects = [json.loads(line) for line in platmap("lint", "--json", good, bad, status=1).splitlines()]
    assert [o["file"] for o in objects] == [str(good), str(bad)]
    assert objects[0]["errors"] == 0 < objects[1]["errors"]
    for o in objects:
        assert len(o["findings"]) == o["errors"] + o["warnings"] + o["infos"]


def test_lint_by_architecture(tmp_path):
    """Runtime memory below 1 MiB is a fault on a PC alone, and a dump does not tell what it is from."""
    path = tmp_path / "dump"
    path.write_bytes(raw([(7, 0x1000000, 0x100, 0xf), (5, 0x0, 0x10, 0xf | RUNTIME)]))
    assert "M26" in platmap("lint", path)
    path.write_bytes(raw([(7, 0x1000000, 0x100, 0xf), (5, 0x10000, 0x10, 0xf | RUNTIME)]))
    assert "M26" not in platmap("lint", path)
    assert "M26" not in platmap("lint", "--arch", "arm64", path)
    assert "M26" in platmap("lint", "--arch", "x86", path)
    assert "M26" in platmap("at", "--arch=x86", "0x10000", path)
    done = json.loads(platmap("convert", "--arch=x86", "--to=json", path))
    assert done["arch"] == "x86" and "M26" in {f["rule"] for f in done["findings"]}
    path.write_text(json.dumps(done))
    assert "M26" in platmap("lint", "--arch=arm64", path)  # it tells


def test_lint_against_an_earlier_boot(good, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(shell([(t, s - 0x3000 if t == 6 else s, n - 3 if t == 4 else n, a)
                            for t, s, n, a in DESCS]))
    assert "M38" not in platmap("lint", good, other)
    assert "M38" not in platmap("lint", "--against", good, good)
    text = platmap("lint", "--against", good, other, status=1)
    assert re.findall(r"error M38 at (\w+)-(\w+): only in the (\w+) map", text) == [
        ("0x8ffd000", "0x8ffffff", "second"), ("0x90fd000", "0x90fffff", "first")]
    assert "2 errors," in text
    text = platmap("lint", "--against", other, "--json", good, status=1)
    assert json.loads(text)["findings"][0]["rule"] == "M38"
    e820 = tmp_path / "e820"
    e820.write_text(platmap("convert", "--to", "e820", good))
    assert "runtime services" in trouble("lint", "--against", e820, good)
    assert "runtime services" in trouble("lint", "--against", good, e820)
    assert "missing" in trouble("lint", "--against", tmp_path / "missing", good)


def test_lint_against_another_machine(report, tmp_path):
    """It is done, and it is said that the question is an odd one."""
    names = ("bios_vendor", "bios_version", "bios_date", "manufacturer", "version", "family", "sku",
             "board_manufacturer", "board_product", "board_version")
    smbios = dict.fromkeys(names) | {"address": "0x00000000000f0000", "major": 3, "minor": 0,
                                     "memory_devices": [], "product": "A"}
    def notes(a, b):
        paths = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, known in zip(paths, (a, b)):
            doc = json.loads(report.read_text()) | {"smbios": known, "identifiers": True}
            path.write_text(json.dumps(doc))
        done = subprocess.run([PLATMAP, "lint", "--against", *paths], capture_output=True, text=True,
                              check=True)
        return done.stderr.count("different machines")
    assert notes(None, smbios) == notes(smbios, smbios) == 0
    assert notes(smbios, smbios | {"product": "B"}) == 1
    uuids = ["00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddee00"]
    assert notes(smbios, smbios | {"uuid": uuids[0]}) == 0
    assert notes(smbios | {"uuid": uuids[1]}, smbios | {"uuid": uuids[0]}) == 1
    assert notes(smbios | {"serial": "1"}, smbios | {"serial": "2"}) == 1


def test_lint_knows_pci_configuration_space(report):
    """M29 and M41 go by what the report has of the MCFG table."""
    doc = json.loads(report.read_text())
    def lint(base):
        doc["pci_configuration"] = [{"segment": 0, "first_bus": 0, "last_bus": 255,
                                     "base": f"0x{base:016x}", "bytes": 1 << 28}]
        text = json.dumps(doc)
        return platmap("lint", "-", stdin=text.encode(), status=int(base < 0x10000000))
    assert "error M29" in lint(0)
    assert "M29" not in lint(0xe0000000) and "info M41" in lint(0xe0000000)


def test_lint_shows_the_good_of_a_call_with_bad_files(good, tmp_path):
    done = subprocess.run([PLATMAP, "lint", tmp_path / "missing", good], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2
    assert "missing: No such file" in done.stderr and f"{good}: 0 errors" in done.stdout


def test_lint_explains_every_rule():
    ids = set(re.findall(r"MAPLINT_([MA]\d\d),", (ROOT / "include/mm/maplint.h").read_text()))
    assert len(ids) >= 50
    for rule in ids:
        text = platmap("lint", "--explain", rule)
        assert text.startswith(rule) and "Consequence" in text and "Advice" in text
    assert all(f"\n{rule} " in "\n" + platmap("lint", "--explain=all") for rule in ids)


def test_lint_keeps_what_the_machine_itself_found(report):
    """Only the machine knows where its stack was: what it found is not lost when a report is read."""
    doc = json.loads(report.read_text())
    extra = json.loads(report.read_text())["findings"][0]
    extra.update(rule="M30", severity="error")
    doc["findings"].append(extra)
    text = platmap("lint", "-", stdin=json.dumps(doc).encode(), status=1)
    assert "error M30" in text and text.count("M24") == 1
    assert "1 error," in text


def test_report_of_a_liar(report):
    """What goes to a terminal is text, whatever the report says; what cannot be is left out."""
    doc = json.loads(report.read_text())
    finding = doc["findings"][0]
    doc["captures"][0]["origin"] = "\x1b[2J"
    doc["findings"] = [dict(finding, rule="M30", what="\x1b[2J"), dict(finding, rule="M31", what=None),
                       dict(finding, rule=None), dict(finding, rule="M29", subject="\u009b2J"),
                       dict(finding, rule="M28", descriptor=99)]
    data = json.dumps(doc).encode()
    for command in ("show", "lint", "summary"):
        text = platmap(command, "-", stdin=data)
        assert "\x1b" not in text and "\x9b" not in text
        assert not re.search("M28|M29|M30|M31", text)


def test_diff(good, tmp_path):
    other = tmp_path / "other.txt"
    moved = [(t, s - 0x3000 if t == 6 else s, n - 3 if t == 4 else n, a) for t, s, n, a in DESCS]
    other.write_text(shell(moved))
    text = platmap("diff", good, other, status=1)
    assert re.search(r"RuntimeServicesData 0x9000000 .*moved down by 3 pages", text)
    doc = json.loads(platmap("diff", "--json", good, other, status=1))
    assert doc["from"] == str(good) and doc["diff"]["same"] is False
    assert "hibernation" in doc["diff"]["breaks"]
    assert json.loads(platmap("diff", "--json", good, good))["diff"]["same"] is True
    other.write_text(shell(DESCS[::-1]))
    platmap("diff", good, other)


def test_diff_of_formats(good, tmp_path):
    """An e820 map tells less: it is said what that means, and not that the machine changed."""
    e820 = tmp_path / "e820"
    e820.write_text(platmap("convert", "--to", "e820", good) + "Linux\n")
    text = platmap("diff", good, e820, status=1)
    assert len(text_of_notes(text)) == 1
    assert re.search(rf"^Note: {e820}: tells no UEFI types and attributes.*rounded to pages", text, re.M)
    assert text_of_notes(platmap("diff", e820, e820)) == []
    doc = json.loads(platmap("diff", "--json", e820, good, status=1))
    assert len(doc["from_notes"]) == 1 and doc["to_notes"] == []


def test_runtime_map(good, tmp_path):
    """Its virtual addresses are the kernel's: no fault of firmware's. And it is not the whole map."""
    path = tmp_path / "runtime-map"
    runtime = [d for d in DESCS if d[3] & RUNTIME]
    path.write_text("".join(
        f"/sys/firmware/efi/runtime-map/{i}/{name}:0x{value:x}\n"
        for i, (t, s, n, a) in enumerate(runtime)
        for name, value in (("attribute", a), ("num_pages", n), ("phys_addr", s), ("type", t),
                            ("virt_addr", 0xfffffffe00000000 + s))))
    assert rows_of(path) == runtime
    assert not re.search("M11|error", platmap("lint", path).replace("0 errors", ""))
    text = platmap("diff", path, good, status=1)
    assert f"Note: {path}: holds only what runtime services need" in text
    assert "Runtime services regions: the same" in text


def test_convert_json_comes_back_the_same(report):
    doc = json.loads(report.read_text())
    assert doc["format"] == "plat-report"
    assert [d["type"] for d in doc["captures"][0]["descriptors"]] == [t for t, *_ in DESCS]
    assert platmap("convert", "--to", "json", report) == report.read_text()
    assert rows_of(report) == DESCS


def test_convert_jsonl(good):
    objects = [json.loads(line) for line in platmap("convert", "--to=jsonl", good).splitlines()]
    assert [(o["type"], int(o["physical_start"], 16), o["pages"]) for o in objects] == \
        [(t, s, n) for t, s, n, _ in DESCS]


# What Linux would make of DESCS: the kind by which runs are told apart, and their bounds.
E820 = [("usable", 0x0, 0xa0000), ("usable", 0x100000, 0x9000000), ("reserved", 0x9000000, 0x9200000),
        ("ACPI data", 0x9200000, 0x9212000), ("ACPI NVS", 0x9212000, 0x9292000),
        ("unusable", 0x9292000, 0x9298000), ("reserved", 0x9298000, 0x92a0000),
        ("usable", 0x92a0000, 0x10000000), ("reserved", 0xffc00000, 0x100000000)]


def test_convert_e820(good, tmp_path):
    text = platmap("convert", "--to", "e820", good)
    assert re.findall(r"\[mem (0x\w+)-(0x\w+)\] (.*)", text) == [
        (f"0x{a:016x}", f"0x{b - 1:016x}", kind) for kind, a, b in E820]
    path = tmp_path / "e820"
    path.write_text(text)
    assert len(rows_of(path)) == len(E820)
    assert platmap("convert", "--to", "e820", path) == text
    assert "M18" not in platmap("lint", path)
    back = tmp_path / "e820.json"
    back.write_text(platmap("convert", "--to", "json", path))
    assert platmap("convert", "--to", "e820", back) == text


def test_convert_memmap(good):
    words = platmap("convert", "--to", "memmap", good).split()
    mark = {"usable": "@", "ACPI data": "#", "reserved": "$"}
    number = {"ACPI NVS": "+0x4", "unusable": "+0x5"}
    assert words == ["memmap=exactmap"] + [
        f"memmap=0x{b - a:x}{mark.get(kind, '%')}0x{a:x}{number.get(kind, '')}" for kind, a, b in E820]


def test_convert_badram(good, tmp_path):
    text = platmap("convert", "--to", "badram", good)
    pairs = [int(v, 16) for v in text.strip().removeprefix("badram=").split(",")]
    for frame in range(0x9280, 0x92b0):
        bad = any((frame << 12) & mask == addr for addr, mask in zip(pairs[::2], pairs[1::2]))
        assert bad == (0x9292 <= frame < 0x9298)


def test_convert_into_a_file(good, tmp_path):
    out = tmp_path / "out.csv"
    assert platmap("convert", "--to", "csv", "-o", out, good) == ""
    assert out.read_text() == platmap("convert", "--to", "csv", good)
    assert "out.csv/x" in trouble("convert", "--to", "csv", "--output", out / "x", good)
    new = tmp_path / "new"
    trouble("convert", "--to", "csv", "-o", new, tmp_path)
    assert not new.exists()


def test_convert_into_reports(good, report, tmp_path):
    """Any number of files; each report is one line, and the same report."""
    out = tmp_path / "fleet.jsonl"
    platmap("convert", "--to", "reports", "-o", out, good, report)
    lines = out.read_text().splitlines()
    assert [json.loads(line) for line in lines] == 2 * [json.loads(report.read_text())]
    assert lines[0].startswith('{"format":"plat-report",')
    assert platmap("convert", "--to=reports", out) == out.read_text()
    assert platmap("convert", "--to=json", "--map=2", out) == report.read_text()


def test_convert_to_text(good, report, tmp_path):
    """A report for people, the same however its document is laid out; firmware's texts are harmless."""
    text = platmap("convert", "--to", "text", report)
    assert text.startswith("Memory report\n") and "\nDescriptors of the map " in text
    line = tmp_path / "line.json"
    platmap("convert", "--to", "reports", "-o", line, report)
    assert platmap("convert", "--to", "text", line) == text
    assert "\nFindings\n" in platmap("convert", "--to", "text", good)
    doc = json.loads(report.read_text())
    doc["plat"] = "\x1b[31m\r\n\u20ac " + 100 * "long "
    text = platmap("convert", "--to", "text", "-", stdin=json.dumps(doc).encode())
    assert "made by Plat    ?[31m??? long long" in text
    assert all(c == "\n" or " " <= c <= "~" for c in text)
    assert all(len(line) <= 80 for line in text.splitlines())


def test_file_is_written_whole_or_not_at_all(good, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("old")
    out.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(out)
    # No room for more than a block: the old one stays, and nothing else is left.
    done = subprocess.run(["sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "sh", PLATMAP, "convert",
                           "--to", "json", "-o", out, good], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "File too large" in done.stderr
    assert out.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == [
        "good.txt", "link", "out.csv"]
    platmap("convert", "--to", "csv", "-o", link, good)
    assert link.is_symlink() and out.read_text() == platmap("convert", "--to", "csv", good)
    assert out.stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 3
    assert "No space left" in trouble("convert", "--to", "csv", "-o", "/dev/full", good)
    assert platmap("convert", "--to", "csv", "-o", "/dev/stdout", good) == out.read_text()


def test_full_disk_is_noticed(good):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PLATMAP, "show", good], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 2 and "No space left" in done.stderr


def test_replay(good):
    """All that can become usable does, but for frame 0 and what the pools say they keep."""
    text = platmap("replay", good)
    stages = re.findall(r"^(?:as|after) .*? +(\d+\.\d) MiB", text, re.M)
    usable = [sum(n for t, s, n, _ in DESCS if t in types and s != 0) * 4096 / 2**20
              for types in ((7,), (7, 4), (7, 4, 9))]
    kib = float(re.search(r"Overhead: (\d+\.\d) KiB", text)[1])
    for shown, whole in zip(stages, usable, strict=True):
        assert whole - kib / 1024 - 0.11 <= float(shown) <= whole
    blocks = re.findall(r"^ +(\d+) +\d+\.\d [KMG]iB +(\d+) ", text, re.M)
    frames = sum(int(n) << int(order) for order, n in blocks)
    assert abs(frames * 4096 / 2**20 - float(stages[2])) <= 0.1


def test_replay_of_too_little(tmp_path):
    path = tmp_path / "small"
    path.write_text(shell([(7, 0x1000, 0x9f, 0xf)]))
    assert "1 MiB" in trouble("replay", path)


# ---- maps of real firmware -----------------------------------------------------------------------

REAL = sorted(p for p in MAPS.glob("*.txt")) if MAPS.is_dir() else []
# Lines of descriptors, counted without platmap.
DESC_LINE = re.compile(
    r"^\w+ +[0-9A-F]{16}-[0-9A-F]{16} [0-9A-F]{16} [0-9A-F]{16}|^MemoryMap,|mem\d+: |"
    r"efi: +0x\w+-0x\w+ \[|^ *\w+ [0-9a-f]{12} [0-9a-f]{12} [0-9a-f]{8}", re.M)


@pytest.mark.skipif(not REAL, reason="no maps of real firmware here")
def test_real_maps(tmp_path):
    for path in REAL:
        rows = rows_of(path)
        assert len(rows) == len(DESC_LINE.findall(path.read_text())), path.name
        assert platmap("show", path).splitlines()[-1].startswith(f"{len(rows)} descriptors")
        assert platmap("summary", path)
        assert "Overhead" in platmap("replay", path)
        platmap("diff", path, path)
        first = tmp_path / "first.json"
        first.write_text(platmap("convert", "--to", "json", path))
        assert platmap("convert", "--to", "json", first) == first.read_text()
        assert rows_of(first) == rows
        platmap("diff", path, first)


@pytest.mark.skipif(not REAL, reason="no maps of real firmware here")
def test_real_maps_in_one_lint():
    """Those that booted are quiet, but for two whose faults are real."""
    start = time.monotonic()
    text = platmap("lint", *REAL, status=1)
    assert time.monotonic() - start < 5, "a few milliseconds on a quiet machine"
    counts = dict(re.findall(r"^(.*): (\d+) errors?, ", text, re.M))
    assert len(counts) == len(REAL)
    assert {Path(f).name for f, n in counts.items() if n != "0"} == {
        "lenovo-thinkpad-x240-8g.dmesg.txt", "nxp-lx2160a-clearfog-uboot.freebsd.txt"}

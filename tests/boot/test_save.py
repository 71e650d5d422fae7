"""Reports that the stub saves to the volume it came from, on real firmware: what is written, and that
nothing else is."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest

from plat import platqemu
from test_kernel_report import PLATMAP, SCHEMA, capture, document, platmap

import jsonschema

SAVED = re.compile(r"^Plat: report saved: \\plat\\reports\\(\S+)\.json, and \.txt$", re.M)
NAME = r"standard-pc-[a-z0-9-]*-\d{4}-\d\d-\d\d-\d+"
OFF = 'save=auto run="poweroff"\n'


def mtools(image, command, *args, **options):
    env = {**os.environ, "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run([command, "-i", f"{image}@@{platqemu.ESP_OFFSET}", *map(str, args)],
                          env=env, check=True, capture_output=True, text=True, **options).stdout


def reports(image):
    """The names in \\plat\\reports."""
    listing = mtools(image, "mdir", "-b", "::/plat/")
    if "::/plat/reports/" not in listing:
        return None
    return sorted(line.rsplit("/", 1)[1]
                  for line in mtools(image, "mdir", "-b", "::/plat/reports/").split("\n") if line)


def sound(image, tmp_path):
    """fsck finds nothing wrong with the file system."""
    partition = tmp_path / "partition"
    with open(image, "rb") as disk, open(partition, "wb") as out:
        disk.seek(platqemu.ESP_OFFSET)
        shutil.copyfileobj(disk, out)
        out.truncate((129023 - 2048 + 1) * 512)  # scripts/mkimage: FIRST, LAST
    done = subprocess.run(["/usr/sbin/fsck.fat", "-n", partition], capture_output=True, text=True,
                          check=False)
    partition.unlink()
    assert done.returncode == 0, done.stdout


def run(boot, image, tmp_path, conf=OFF, **options):
    """Boot `image`, wait until it is off, and take what it left: the guest and its disk."""
    g = boot(image=image, conf=conf, mem="256M", **options)
    assert g.wait_exit() == "guest-shutdown"
    after = tmp_path / "after.img"
    subprocess.run(["cp", "--sparse=always", g.image, after], check=True)
    return g, after


@pytest.fixture
def image(tmp_path):
    return platqemu.copy_image(platqemu.IMAGE, tmp_path / "disk.img")


def lines(g):
    """What the stub said."""
    return g.text[:g.text.index("Plat: loading the kernel")]


@pytest.mark.quick
def test_two_files_each_boot(boot, image, tmp_path):
    g, first = run(boot, image, tmp_path, conf='save=auto run="report; poweroff"\n')
    name = SAVED.search(g.text)[1]
    assert re.fullmatch(NAME, name) and name.endswith("-1")
    assert reports(first) == [name + ".json", name + ".txt"]
    sound(first, tmp_path)

    text = mtools(first, "mtype", f"::/plat/reports/{name}.json")
    assert text.endswith("}\n") and text.count("\n") == 1
    doc = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(doc)
    assert [c["when"] for c in doc["captures"]] == ["start", "last"]
    assert doc["findings_capture"] == "last"
    for c in doc["captures"]:
        assert c["verbatim"] and c["whole"] and c["origin"] == "GetMemoryMap()"
        assert len(c["descriptors"]) > 50

    # The .txt is what platmap makes of the .json.
    saved = tmp_path / "saved.json"
    saved.write_text(text)
    assert platmap("convert", "--to", "text", saved) == mtools(
        first, "mtype", f"::/plat/reports/{name}.txt")
    assert platmap("convert", "--to", "json", saved) != text  # that is indented, ...
    back = tmp_path / "back.json"
    back.write_text(platmap("convert", "--to", "json", saved))
    assert json.loads(back.read_text()) == doc  # ... and means the same

    # What the kernel was handed is what the file has, and the first map is the same bytes.
    there = document(g.text)
    for member in ("plat", "time", "firmware", "security", "cpu", "smbios", "acpi_tables",
                   "configuration_tables", "memory_attributes", "framebuffers"):
        assert there[member] is not None and there[member] == doc[member], member
    assert capture(there, "start") == capture(doc, "start")
    assert capture(there, "final")["descriptors"] != capture(doc, "last")["descriptors"]

    # Once more from the same volume: another number, and the first two files as they were.
    g, second = run(boot, first, tmp_path)
    again = SAVED.search(g.text)[1]
    assert again == name[:-1] + "2" or "-1" in again[-2:]  # midnight may be between
    assert len(reports(second)) == 4
    assert mtools(second, "mtype", f"::/plat/reports/{name}.json") == text
    sound(second, tmp_path)
    paths = []
    for one in (name, again):
        path = tmp_path / f"{one}.json"
        path.write_text(mtools(second, "mtype", f"::/plat/reports/{one}.json"))
        paths.append(path)
    # Two boots of one machine: runtime services stay where they are, whatever else moved.
    done = subprocess.run([PLATMAP, "diff", *paths], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (0, "The maps are the same.\n") or (
        done.returncode == 1 and "Runtime services regions: the same." in done.stdout), done.stdout


@pytest.mark.parametrize("conf", ['run="poweroff"\n', 'save=off run="poweroff"\n',
                                  'save=perhaps run="poweroff"\n'])
def test_off_writes_nothing(boot, image, tmp_path, conf):
    platqemu.set_conf(image, "inspect=off\n" + conf)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    g, after = run(boot, image, tmp_path, conf=None)
    assert hashlib.sha256(after.read_bytes()).hexdigest() == before
    assert "report" not in lines(g)
    assert ("plat: option save: is auto or off" in g.text) == ("perhaps" in conf)


def test_full_volume(boot, image, tmp_path):
    free = int(re.search(r"([\d ]+) bytes free", mtools(image, "mdir", "::/"))[1].replace(" ", ""))
    big = tmp_path / "big"
    big.write_bytes(b"x")
    os.truncate(big, free - 1_000_000)
    mtools(image, "mcopy", big, "::/big")
    g, after = run(boot, image, tmp_path)
    assert re.search(r"^plat: report not saved: .*\b(full|room|space)\b", lines(g), re.M), lines(g)
    assert reports(after) in (None, [])
    sound(after, tmp_path)


def test_read_only_volume(boot, image, tmp_path):
    g, after = run(boot, image, tmp_path, disk="virtio", extra=["-set", "drive.disk.readonly=on"])
    assert re.search(r"^plat: report not saved: .*write protection", lines(g), re.M)
    assert reports(after) is None


def test_no_volume(boot, image, tmp_path):
    """Started over the network: there is nothing to write to, and nothing is written."""
    tftp = tmp_path / "tftp"
    tftp.mkdir()
    shutil.copy(platqemu.BUILD / "plat.efi", tftp)
    mtools(image, "mdel", "::/EFI/BOOT/BOOTX64.EFI")
    g = boot(image=image, conf=None, mem="256M",
             extra=["-netdev", f"user,id=net,tftp={tftp},bootfile=plat.efi",
                    "-device", "virtio-net-pci,netdev=net,bootindex=1"])
    g.wait_prompt()
    # There is no plat.conf either; a volume that is not ours is left alone.
    assert "report" not in lines(g)
    assert '"start"' in g.cmd("report")
    g.send("poweroff\r")
    assert g.wait_exit() == "guest-shutdown"
    assert reports(g.image) is None


@pytest.mark.parametrize("disk", ["nvme", "usb"])
def test_other_buses(boot, image, tmp_path, disk):
    g, after = run(boot, image, tmp_path, disk=disk)
    assert len(reports(after)) == 2 and SAVED.search(g.text)
    sound(after, tmp_path)


def test_serial_numbers_only_when_asked_for(boot, image, tmp_path):
    number = "PLAT-SERIAL-4711"
    smbios = ["-smbios", f"type=1,serial={number},uuid=11223344-5566-7788-99aa-bbccddeeff00"]
    g, after = run(boot, image, tmp_path, extra=smbios)
    for name in reports(after):
        assert number not in mtools(after, "mtype", f"::/plat/reports/{name}")
    g, after = run(boot, image, tmp_path, conf="identifiers=on " + OFF, extra=smbios)
    for name in reports(after):
        assert number in mtools(after, "mtype", f"::/plat/reports/{name}"), name

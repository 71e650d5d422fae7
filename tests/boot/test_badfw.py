"""Plat on firmware that misbehaves: tests/boot/badfw.c spoils the calls of a real OVMF."""

import re
import subprocess

import pytest

from plat import platqemu
from test_kernel_report import document, platmap, valid

VERDICT = 'run="check; audit; report; lint; selftest; poweroff"\n'


@pytest.fixture(scope="module")
def badfw_image(tmp_path_factory):
    """The image with badfw.efi as the program that firmware starts; tests add badfw.conf."""
    image = platqemu.copy_image(platqemu.IMAGE, tmp_path_factory.mktemp("badfw") / "badfw.img")
    copy_in(image, platqemu.BUILD / "plat.efi", "/plat/real.efi")
    copy_in(image, platqemu.BUILD / "badfw.efi", "/EFI/BOOT/BOOTX64.EFI")
    return image


def copy_in(image, source, dest):
    subprocess.run(["mcopy", "-o", "-i", f"{image}@@{platqemu.ESP_OFFSET}", str(source), "::" + dest],
                   check=True, capture_output=True)


@pytest.fixture
def boot_bad(boot, badfw_image, tmp_path):
    def start(faults, conf=VERDICT, **options):
        image = platqemu.copy_image(badfw_image, tmp_path / "disk.img")
        words = tmp_path / "badfw.conf"
        words.write_text(faults)
        copy_in(image, words, "/plat/badfw.conf")
        return boot(image=image, conf=conf, **options)
    return start


def verdict(g):
    assert g.wait_exit() == "guest-shutdown"
    assert "badfw: starting Plat" in g.text
    assert ", 0 failed" in g.text
    assert "BROKEN" not in g.text
    return g.text


@pytest.mark.quick
def test_map_with_every_fault(boot_bad):
    g = boot_bad("map", mem="256M")
    text = verdict(g)
    for rule in ("M04", "M05", "M07", "M08", "M13"):
        assert re.search(rf"^(error|warning) {rule} at 0x", text, re.M), f"no finding {rule}"
    # The host reads the same map out of the log, and finds the same.
    there = platmap("lint", g.log, status=1).replace(f"{g.log}: ", "")
    assert there in text and there.count("\n") > 5
    doc = valid(document(text))
    assert len(doc["findings"]) == there.count("\n") - 1
    assert platmap("diff", "--map", "final", "--with", "kernel", g.log, status=1)


def test_stale_key_twice(boot_bad):
    g = boot_bad("stale=2", conf='run="boot; poweroff"\n', mem="256M")
    assert g.wait_exit() == "guest-shutdown"
    assert "3" in [line.split()[-1] for line in g.text.splitlines() if "tries" in line.lower()][0]


def test_stale_key_for_ever(boot_bad):
    """Bounded, then a reset: with -no-reboot that ends QEMU.

    The reset comes 2^35 ticks later, 256 of them an instruction here.
    """
    g = boot_bad("stale=0", mem="256M", icount="shift=8,sleep=off")
    assert g.wait_exit() == "guest-reset"
    assert "plat> " not in g.text


@pytest.mark.parametrize("faults", ["grow", "unset", "map grow unset stale=5"])
def test_map_reading(boot_bad, faults):
    verdict(boot_bad(faults, mem="256M"))


def test_overrun_is_noticed(boot_bad):
    assert "wrote past the end of the buffer" in verdict(boot_bad("overrun", mem="256M"))

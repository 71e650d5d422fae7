"""The same boot on many machines: the guest checks itself, gives its verdict and switches itself off."""

import re

import pytest

VERDICT = 'run="check; audit; memmap -s; frames; selftest; boot; poweroff"'
POOR_CPU = "max,-smap,-smep,-umip,-pdpe1gb"

# name: options of the machine (scripts/platqemu.py)
MACHINES = {
    "q35-256M": dict(mem="256M"),
    "q35-64M": dict(mem="64M"),
    "q35-4G": dict(mem="4G"),
    "q35-64G": dict(mem="64G"),
    "q35-1T": dict(mem="1T"),
    "i440fx-256M": dict(mem="256M", machine="pc"),
    "i440fx-4G": dict(mem="4G", machine="pc"),
    "cpu-qemu64": dict(mem="256M", cpu="qemu64"),
    "cpu-no-1G-pages": dict(mem="4G", cpu="max,-pdpe1gb"),
    "cpu-no-1G-pages-64G": dict(mem="64G", cpu="max,-pdpe1gb"),
    "cpu-poor": dict(mem="256M", cpu=POOR_CPU),
    "cpu-no-nx": dict(mem="256M", cpu=POOR_CPU + ",-nx"),
    "five-levels": dict(mem="256M", cpu="max,+la57", conf="paging=5"),
    "five-levels-64G": dict(mem="64G", cpu="max,+la57", conf="paging=5"),
    "secboot": dict(mem="256M", firmware="secboot"),
    "2m": dict(mem="256M", firmware="2m"),
    "nx-stack": dict(mem="256M", firmware="nx-stack"),
    "virtio": dict(mem="256M", disk="virtio"),
    "nvme": dict(mem="256M", disk="nvme"),
    "usb": dict(mem="256M", disk="usb"),
    "no-frame-buffer": dict(mem="256M", fb=False),
    "keep-boot-services": dict(mem="256M", conf="keep=boot-services"),
    "nokaslr": dict(mem="256M", conf="nokaslr"),
}


def judge(g, machine):
    """What every sound boot says, whatever the machine."""
    reason = g.wait_exit()
    text = g.text
    assert reason == "guest-shutdown"
    verdict = re.search(r"^selftest: (\d+) passed, (\d+) failed$", text, re.M)
    assert verdict, "no verdict of the self-test"
    assert int(verdict[1]) >= 20 and int(verdict[2]) == 0
    if machine != "cpu-no-nx":  # without NX every page is executable, and the audit says so
        assert "BROKEN" not in text
    assert not re.search(r"^\s*\[.*\berror\b", text, re.M)


@pytest.mark.parametrize("machine", [
    pytest.param(name, marks=[pytest.mark.slow] if name.endswith("1T") else
                 [pytest.mark.quick] if name in ("q35-256M", "i440fx-4G") else [])
    for name in MACHINES])
def test_machine(boot, machine):
    options = dict(MACHINES[machine])
    options["conf"] = VERDICT + "\n" + options.get("conf", "") + "\n"
    g = boot(**options)
    judge(g, machine)
    if machine.startswith("five-levels"):
        assert "5-level paging" in g.text
    if machine == "nokaslr":
        assert "kernel at 0xffffffff80000000, direct map at 0xffff800000000000 (pinned)" in g.text


def test_bases_slide(boot):
    """Three boots of one machine: kernel and direct map are not three times at the same place."""
    seen = set()
    for _ in range(3):
        g = boot(mem="256M", conf='run="poweroff"')
        g.wait_exit()
        seen.add(re.search(r"kernel at (0x\w+), direct map at (0x\w+)", g.text).groups())
    assert len({image for image, _ in seen}) > 1
    assert len({direct for _, direct in seen}) > 1


def test_options_that_make_no_sense_are_named(boot):
    g = boot(mem="256M", conf='frob=1 log=loud keep=nothing paging=7 run="boot; poweroff"')
    assert g.wait_exit() == "guest-shutdown"
    assert "option frob is unknown and ignored" in g.text
    assert "option log=loud: " in g.text
    assert "option keep=nothing: not boot-services: ignored" in g.text
    assert "option paging: is 4 or 5, ignored" in g.text
    assert re.search(r"^entry to prompt +[0-9]+ cycles", g.text, re.M)


def test_too_little_memory_returns_to_firmware(boot):
    g = boot(mem="52M")
    g.wait_text(r"Plat needs at least 16 MiB of free memory; this machine has \d+ KiB")
    g.wait_text(r"BdsDxe|Shell|PXE|Plat: loading")  # firmware is back, and tries what is next

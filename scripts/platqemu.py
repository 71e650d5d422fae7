"""The QEMU command line, composed in one place: for make run, make debug, make bench and the tests.

A Machine says what to start; its command() is the argument list. Nothing here starts anything, so
what --print shows is what runs. TCG is always the accelerator: /dev/kvm may exist and not work, and
the tests must mean the same everywhere.
"""

import argparse
import configparser
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# `make B=elsewhere` exports B; a relative one counts from the root, where make runs.
BUILD = ROOT / os.environ.get("B", "build")
IMAGE = BUILD / "plat.img"

ESP_OFFSET = 2048 * 512  # scripts/mkimage: FIRST

MACHINES = ("q35", "pc")
DISKS = {
    "sata": ["-device", "ich9-ahci,id=ahci", "-device", "ide-hd,bus=ahci.0,drive=disk,bootindex=0"],
    "virtio": ["-device", "virtio-blk-pci,drive=disk,bootindex=0"],
    "nvme": ["-device", "nvme,serial=plat,drive=disk,bootindex=0"],
    "usb": ["-device", "qemu-xhci,id=xhci",
            "-device", "usb-storage,bus=xhci.0,drive=disk,removable=on,bootindex=0"],
}
ICOUNT = "shift=0,sleep=off"  # the time-stamp counter counts instructions

GIB = 1 << 30
# The physical address width that QEMU gives `max` and `qemu64`; the guest's memory, the hole below
# 4 GiB and the PCI window must fit.
DEFAULT_PHYS_BITS = 40


class Error(Exception):
    """Something the user can put right; the text says what."""


def parse_size(text):
    """Bytes of "512M", "1G", "1T"; a bare number is MiB, as for QEMU's -m."""
    m = re.fullmatch(r"(\d+)([KMGT]?)", text.upper())
    if not m or int(m[1]) == 0:
        raise Error(f"{text!r} is not a memory size: write 256M, 4G or 1T")
    return int(m[1]) << {"K": 10, "": 20, "M": 20, "G": 30, "T": 40}[m[2]]


@dataclass(frozen=True)
class Firmware:
    """A profile of ovmf/ with its files found."""

    name: str
    code: Path
    vars: Path
    machines: tuple
    machine: str
    args: tuple


def firmware_names():
    return sorted(p.stem for p in (ROOT / "ovmf").glob("*.conf"))


def load_firmware(name):
    """The profile ovmf/NAME.conf. Error: there is none, or its files are not installed."""
    if name not in firmware_names():
        raise Error(f"no firmware profile {name!r} in ovmf/; there are: "
                    + ", ".join(firmware_names()))
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "ovmf" / f"{name}.conf")
    section = parser["firmware"]
    pairs = [line.split() for line in section["files"].splitlines() if line.strip()]
    for code, variables in pairs:
        if Path(code).is_file() and Path(variables).is_file():
            return Firmware(name, Path(code), Path(variables), tuple(section["machines"].split()),
                            section.get("machine", ""), tuple(shlex.split(section.get("args", ""))))
    looked = "\n".join(f"    {code} with {variables}" for code, variables in pairs)
    raise Error(f"firmware {name!r} is not installed; run scripts/setup. Looked for:\n{looked}")


@dataclass
class Machine:
    """What to start. The names are those of run-qemu's options."""

    image: Path = IMAGE
    mem: str = "1G"
    cpu: str = "max"
    smp: int = 1
    machine: str = ""  # "" is the firmware's first choice
    disk: str = "sata"
    firmware: str = "4m"
    fb: bool = True
    icount: str = ""
    extra: list = field(default_factory=list)

    def command(self, variables, console):
        """The argument list.

        `variables` - the run's own copy of the firmware's variables (copy_variables()).
        `console` - the arguments for serial ports, monitors and windows.
        """
        firmware = load_firmware(self.firmware)
        machine = self.machine or firmware.machines[0]
        if machine not in firmware.machines:
            raise Error(f"firmware {self.firmware!r} does not run on machine {machine!r}, only on "
                        + ", ".join(firmware.machines))
        if self.disk not in DISKS:
            raise Error(f"no disk type {self.disk!r}; there are: " + ", ".join(DISKS))
        nbytes = parse_size(self.mem)
        cpu = self.cpu
        if nbytes > (1 << DEFAULT_PHYS_BITS) // 2 and "phys-bits" not in cpu:
            # QEMU may put all but the lowest 2 GiB above 1 TiB, and the PCI window goes behind. No
            # more than that: OVMF maps all there can be, 2 MiB an entry.
            cpu += f",phys-bits={(nbytes - 1).bit_length() + 2}"

        # reserve=off: the host sets no memory aside, so a guest may have more than the host.
        cmd = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-nic", "none",
               "-accel", "tcg",
               "-machine", ",".join(filter(None, [machine, "memory-backend=ram",
                                                  firmware.machine])),
               "-object", f"memory-backend-ram,id=ram,size={nbytes},reserve=off",
               "-m", f"{nbytes >> 20}M",
               "-cpu", cpu, "-smp", str(self.smp),
               "-drive", pflash(0, firmware.code) + ",readonly=on",
               "-drive", pflash(1, variables),
               "-drive", f"if=none,id=disk,format=raw,file={comma(self.image)}",
               *DISKS[self.disk], *firmware.args]
        if self.fb:
            cmd += ["-device", "VGA"]
        if self.icount:
            cmd += ["-icount", self.icount]
        return cmd + list(console) + list(self.extra)

    def copy_variables(self, directory):
        """Copy the firmware's variables into `directory`; returns the copy's path."""
        source = load_firmware(self.firmware).vars
        copy = Path(directory) / ("vars" + source.suffix)
        shutil.copyfile(source, copy)
        return copy


def comma(path):
    """A path as a value inside an argument of QEMU, where a comma is written twice."""
    return str(path).replace(",", ",,")


def pflash(unit, path):
    fmt = "qcow2" if Path(path).suffix == ".qcow2" else "raw"
    return f"if=pflash,unit={unit},format={fmt},file={comma(path)}"


def add_options(parser):
    """The options that describe a Machine, for every program that starts one."""
    d = Machine()
    parser.add_argument("--image", type=Path, default=d.image, metavar="FILE",
                        help="the disk image to boot (default: build/plat.img)")
    parser.add_argument("--mem", default=d.mem, metavar="SIZE",
                        help="memory: 256M, 4G, 1T (default: %(default)s); more than the host has "
                             "is fine")
    parser.add_argument("--cpu", default=d.cpu, metavar="MODEL",
                        help="processor, as for QEMU's -cpu (default: %(default)s)")
    parser.add_argument("--smp", type=int, default=d.smp, metavar="N",
                        help="number of processors (default: %(default)s)")
    parser.add_argument("--machine", choices=MACHINES, default=d.machine,
                        help="machine type (default: the firmware's first choice)")
    parser.add_argument("--disk", choices=list(DISKS), default=d.disk,
                        help="what the image is attached to (default: %(default)s)")
    parser.add_argument("--firmware", choices=firmware_names(), default=d.firmware,
                        help="profile in ovmf/ (default: %(default)s)")
    parser.add_argument("--no-fb", dest="fb", action="store_false",
                        help="no graphics adapter, and so no frame buffer")
    parser.add_argument("--icount", action="store_const", const=ICOUNT, default=d.icount,
                        help="count instructions: the time-stamp counter counts one for each; "
                             "about four times slower")
    parser.add_argument("extra", nargs="*", metavar="-- ARG...", help="more arguments for QEMU")


def machine_of(args):
    """The Machine that the options of add_options() describe."""
    return Machine(**{name: getattr(args, name) for name in Machine.__dataclass_fields__})


def interactive_console(fb):
    """Serial port and QEMU's monitor on this terminal; a window where there can be one."""
    window = fb and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return ["-serial", "mon:stdio"] + ([] if window else ["-display", "none"])


def _mtools(command, image, *args, **options):
    env = {**os.environ, "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run([*command, "-i", f"{image}@@{ESP_OFFSET}", *args], env=env, check=True,
                          capture_output=True, **options).stdout


def get_conf(image):
    """The text of an image's plat.conf."""
    return _mtools(["mtype"], image, "::/plat/plat.conf").decode()


def set_conf(image, text):
    """Make `text` the plat.conf of `image`, which nothing runs from."""
    _mtools(["mcopy", "-D", "o"], image, "-", "::/plat/plat.conf", input=text.encode())


def copy_image(source, dest, conf=None):
    """A copy of a disk image, with `conf`, if given, as its plat.conf."""
    if not Path(source).is_file():
        raise Error(f"there is no disk image {source}: run make")
    subprocess.run(["cp", "--sparse=always", "--", str(source), str(dest)], check=True)
    if conf is not None:
        set_conf(dest, conf)
    return Path(dest)

"""The scripts: what they make, print and refuse. Needs no kernel, but for the builds at the end."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import plat
from plat import platqemu

ROOT = platqemu.ROOT
SCRIPTS = ROOT / "scripts"
CONF = SCRIPTS / "plat.conf"
SECTOR = 512
ESP_SECTORS = 129023 - 2048 + 1
quick = pytest.mark.quick


def load_script(name):
    """A program of scripts/ as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def run(*command, ok=True, **options):
    env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", **options.pop("env", {})}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env,
                          check=False, **options)
    if ok:
        assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done


@quick
@pytest.mark.parametrize("script", ["setup", "mkimage", "mkusb", "run-qemu", "debug-qemu", "test",
                                    "verify", "bench"])
def test_help(script):
    done = run(SCRIPTS / script, "--help")
    assert "usage:" in done.stdout
    assert done.stderr == ""


@quick
def test_shell_scripts_are_clean():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    shell = [p for p in [*SCRIPTS.iterdir(), ROOT / ".ci/run"]
             if p.is_file() and p.read_bytes().startswith(b"#!/bin/bash")]
    assert len(shell) >= 3
    run("shellcheck", *shell)


# ---- setup ---------------------------------------------------------------------------------------


@quick
def test_setup_is_silent_and_fast_when_all_is_there():
    start = time.monotonic()
    done = run(SCRIPTS / "setup")
    assert done.stdout == "" and done.stderr == ""
    assert time.monotonic() - start < 5, "well under a second on a quiet machine"


@quick
def test_setup_refuses_arguments():
    done = run(SCRIPTS / "setup", "everything", ok=False)
    assert done.returncode != 0 and "unknown argument everything" in done.stderr


def path_without(tmp_path, *names):
    """A directory that holds what scripts/setup itself needs, and no package manager."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "id", "mktemp", "tail", "cat", "grep", *names):
        (tools / name).symlink_to(shutil.which(name))
    return tools


@quick
@pytest.mark.parametrize("manager,command", [
    ("dnf", "sudo dnf install make clang lld"),
    ("pacman", "sudo pacman -S --needed make clang lld")])
def test_setup_prints_the_command_elsewhere(tmp_path, manager, command):
    tools = path_without(tmp_path)
    (tools / manager).write_text("#!/bin/sh\nexit 1\n")
    (tools / manager).chmod(0o755)
    # The script appends the administrator's directories, which hold no package manager.
    done = subprocess.run([shutil.which("bash"), SCRIPTS / "setup"], capture_output=True, text=True,
                          env={"PATH": str(tools)}, check=False)
    assert done.returncode == 1
    assert "clang" in done.stderr.split("\n")[0]
    assert command in done.stderr


# ---- mkimage -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An image with a stand-in for plat.efi of 300,000 bytes, some.efi beside it. Only to be read."""
    efi = tmp_path_factory.mktemp("image") / "some.efi"
    efi.write_bytes(bytes(i * 7 % 251 for i in range(300_000)))
    out = efi.with_name("out.img")
    run(SCRIPTS / "mkimage", out, efi, CONF)
    return out


@quick
def test_image_is_valid(image, tmp_path):
    assert image.stat().st_size == 64 << 20
    assert image.stat().st_blocks * 512 < 2 << 20, "the file is not sparse"

    assert "No problems found" in run("sgdisk", "-v", image).stdout
    info = run("sgdisk", "-i", "1", image).stdout
    assert "(EFI system partition)" in info and "'Plat'" in info

    esp = tmp_path / "esp.img"
    with open(image, "rb") as f:
        f.seek(2048 * SECTOR)
        esp.write_bytes(f.read(ESP_SECTORS * SECTOR))
    fsck = run("fsck.vfat", "-n", "-v", esp).stdout
    assert "2 FATs, 32 bit entries" in fsck
    # FAT32 has at least 65,525 clusters (Microsoft's FAT specification 1.03, 3.5).
    assert int(fsck.split("data clusters")[0].split()[-1]) >= 65525

    files = [line for line in run("mdir", "-/", "-b", "-i", esp, "::").stdout.split("\n") if line]
    assert sorted(files) == ["::/EFI/", "::/EFI/BOOT/", "::/EFI/BOOT/BOOTX64.EFI", "::/plat/",
                             "::/plat/plat.conf"]
    for inside, outside in (("::/EFI/BOOT/BOOTX64.EFI", image.with_name("some.efi")),
                            ("::/plat/plat.conf", CONF)):
        copy = tmp_path / "copy"
        run("mcopy", "-o", "-i", esp, inside, copy)
        assert copy.read_bytes() == outside.read_bytes()


@quick
def test_image_is_reproducible(image, tmp_path):
    first = image.read_bytes()
    time.sleep(2.1)  # FAT's clock counts pairs of seconds
    efi = shutil.copyfile(image.with_name("some.efi"), tmp_path / "some.efi")
    other = tmp_path / "another directory"
    other.mkdir()
    run(SCRIPTS / "mkimage", other / "x.img", efi, CONF, env={"TZ": "Asia/Tokyo"}, cwd=other)
    assert (other / "x.img").read_bytes() == first
    run(SCRIPTS / "mkimage", other / "y.img", efi, CONF, env={"SOURCE_DATE_EPOCH": "1500000000"})
    assert (other / "y.img").read_bytes() != first


@quick
def test_image_refuses_bad_input(tmp_path):
    done = run(SCRIPTS / "mkimage", tmp_path / "o", tmp_path / "nothing", CONF, ok=False)
    assert done.returncode != 0 and "cannot read" in done.stderr
    assert not (tmp_path / "o").exists()
    assert run(SCRIPTS / "mkimage", "one", ok=False).returncode == 2


@quick
def test_conf_of_an_image_can_be_replaced(image, tmp_path):
    copy = platqemu.copy_image(image, tmp_path / "copy.img", 'run="memmap; audit"\n')
    assert platqemu.get_conf(copy) == 'run="memmap; audit"\n'
    assert platqemu.get_conf(image) == CONF.read_text()


@quick
def test_default_options_are_comments_but_for_the_report():
    words = [line for line in CONF.read_text().split("\n") if line and not line.startswith("#")]
    assert words == ["save=auto"]


# ---- mkusb ---------------------------------------------------------------------------------------


class FakeSys:
    """/sys and /proc as Linux shows them, for as many disks as a test makes."""

    def __init__(self, root):
        self.sysfs, self.proc = root / "sys", root / "proc"
        (self.sysfs / "dev/block").mkdir(parents=True)
        (self.proc / "self").mkdir(parents=True)
        self.mounts, self.swaps = [], ["Filename Type Size Used Priority"]
        self.save()

    def save(self):
        (self.proc / "self/mountinfo").write_text("\n".join(self.mounts) + "\n")
        (self.proc / "swaps").write_text("\n".join(self.swaps) + "\n")

    def add(self, place, number, **files):
        directory = self.sysfs / "devices" / place
        directory.mkdir(parents=True)
        (self.sysfs / "dev/block" / number).symlink_to(directory)
        for name, text in {"dev": number, "size": "2000000", "ro": "0", **files}.items():
            path = directory / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        return directory

    def mount(self, number, path, source):
        self.mounts.append(f"30 1 {number} / {path} rw - vfat {source} rw")
        self.save()


USB = "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb"
SATA = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"


@pytest.fixture
def fake(tmp_path):
    """A machine whose system is on sda1 and that has a stick, sdb with sdb1."""
    fake = FakeSys(tmp_path)
    fake.add(SATA, "8:0", removable="0", device__vendor="ATA", device__model="Big SSD")
    fake.add(SATA + "/sda1", "8:1", partition="1")
    fake.add(USB, "8:16", removable="1", device__vendor="Acme  ", device__model="Stick 3000 ")
    fake.add(USB + "/sdb1", "8:17", partition="1")
    fake.mount("8:1", "/", "/dev/sda1")
    return fake


def refusal(fake, number, nbytes=64 << 20):
    """Why mkusb refuses the disk; None if it does not."""
    mkusb = load_script("mkusb")
    disk = mkusb.Disk(number, fake.sysfs, fake.proc)
    try:
        mkusb.check(disk, f"/dev/{disk.name}", nbytes, False,
                    mkusb.system_disks(fake.sysfs, fake.proc))
    except mkusb.Refusal as why:
        return str(why)
    return None


@quick
def test_usb_takes_a_stick(fake):
    assert refusal(fake, "8:16") is None
    assert load_script("mkusb").Disk("8:16", fake.sysfs, fake.proc).model == "Acme Stick 3000"


@quick
def test_usb_takes_a_fixed_disk_behind_usb(fake):
    (fake.sysfs / "devices" / USB / "removable").write_text("0\n")
    assert refusal(fake, "8:16") is None


@quick
def test_usb_refuses_a_partition(fake):
    assert "is a partition. Give the whole stick: /dev/sdb" in refusal(fake, "8:17")


@quick
def test_usb_refuses_the_system_disk(fake):
    assert "holds / of the running system" in refusal(fake, "8:0")


@quick
def test_usb_refuses_the_stick_that_the_system_runs_from(fake):
    fake.mount("8:17", "/boot", "/dev/sdb1")
    assert "holds /boot of the running system" in refusal(fake, "8:16")


@quick
def test_usb_refuses_the_disk_below_the_systems_volume(fake):
    fake.mounts.clear()
    lv = fake.add("virtual/block/dm-0", "253:0")
    (lv / "slaves").mkdir()
    (lv / "slaves/sdb1").symlink_to(fake.sysfs / "devices" / USB / "sdb1")
    fake.mount("253:0", "/", "/dev/mapper/vg-root")
    assert "holds / of the running system" in refusal(fake, "8:16")


@quick
def test_usb_refuses_a_disk_that_is_no_stick(fake):
    fake.add(SATA.replace("ata1", "ata2").replace("sda", "sdc"), "8:32", removable="0",
             device__model="Data")
    assert "neither removable nor on USB" in refusal(fake, "8:32")


@quick
def test_usb_refuses_what_is_mounted(fake):
    fake.mount("8:17", "/media/my\\040stick", "/dev/sdb1")
    why = refusal(fake, "8:16")
    assert "sdb1 is mounted on /media/my stick: umount /media/my stick" in why


@quick
def test_usb_refuses_swap(fake):
    fake.swaps.append("/dev/sdb1 partition 1000 0 -2")
    fake.save()
    assert "sdb1 is swap space" in refusal(fake, "8:16")


@quick
def test_usb_refuses_a_part_of_a_volume_group(fake):
    lv = fake.add("virtual/block/dm-0", "253:0", dm__name="vg-photos")
    holders = fake.sysfs / "devices" / USB / "sdb1/holders"
    holders.mkdir()
    (holders / "dm-0").symlink_to(lv)
    assert "sdb1 is part of vg-photos" in refusal(fake, "8:16")


@quick
def test_usb_refuses_write_protected_empty_and_small(fake):
    directory = fake.sysfs / "devices" / USB
    (directory / "size").write_text("100000\n")
    assert "/dev/sdb has 51.2 MB, the image needs 67.1 MB" in refusal(fake, "8:16")
    (directory / "size").write_text("0\n")
    assert "there is no card or stick in it" in refusal(fake, "8:16")
    (directory / "ro").write_text("1\n")
    assert "write-protected" in refusal(fake, "8:16")


@quick
@pytest.mark.parametrize("dev,words", [
    ("", "which device?"), ("/dev/null", "not a block device"),
    ("/dev/no-such", "No such file"), (str(CONF), "not a block device")])
def test_usb_refuses_what_is_no_disk(image, dev, words):
    done = run(SCRIPTS / "mkusb", dev, image, ok=False)
    assert done.returncode != 0 and words in done.stderr


@pytest.fixture
def loop(tmp_path):
    """A loop device over a file of 80 MiB, larger than the image: (device, file)."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a loop device")
    backing = tmp_path / "stick.img"
    with open(backing, "wb") as f:
        f.truncate(80 << 20)
    done = run("losetup", "--find", "--show", backing, ok=False)
    if done.returncode != 0:
        pytest.skip("no loop device to be had: " + done.stderr.strip())
    yield done.stdout.strip(), backing
    run("losetup", "--detach", done.stdout.strip(), ok=False)


def mkusb_on_loop(dev, image, typed):
    return run(SCRIPTS / "mkusb", dev, image, ok=False, input=typed + "\n",
               env={"PLAT_USB_ALLOW_LOOP": "1"})


@quick
def test_usb_writes_and_verifies(loop, image):
    dev, backing = loop
    backing_name = os.path.basename(dev)
    done = mkusb_on_loop(dev, image, backing_name)
    assert done.returncode == 0, done.stderr
    assert "83.9 MB" in done.stdout and "verified: 100 %" in done.stdout

    wrote, expected = backing.read_bytes(), image.read_bytes()
    esp = slice(2048 * SECTOR, (129023 + 1) * SECTOR)
    assert wrote[esp] == expected[esp]
    # The second header is in the last sector of the stick now; UEFI 2.10, 5.3.1.
    assert wrote[-SECTOR:][:8] == b"EFI PART"
    assert "No problems found" in run("sgdisk", "-v", backing).stdout


@quick
def test_usb_writes_nothing_without_the_name(loop, image):
    dev, backing = loop
    for typed in ("yes", "sda", ""):
        done = mkusb_on_loop(dev, image, typed)
        assert done.returncode != 0 and "Nothing was written" in done.stderr
    assert backing.stat().st_blocks == 0


@quick
def test_usb_refuses_loop_devices_by_default(loop, image):
    done = run(SCRIPTS / "mkusb", loop[0], image, ok=False, input=os.path.basename(loop[0]))
    assert done.returncode != 0 and "is a loop device, not a stick" in done.stderr


@quick
def test_usb_refuses_a_device_in_use(loop, image):
    """Held by someone whom no list shows, as a mount in another namespace does."""
    dev, backing = loop
    holder = os.open(dev, os.O_RDONLY | os.O_EXCL)
    try:
        done = mkusb_on_loop(dev, image, os.path.basename(dev))
    finally:
        os.close(holder)
    assert done.returncode != 0 and "is in use, says the kernel" in done.stderr
    assert backing.stat().st_blocks == 0


@quick
def test_usb_notices_a_stick_that_forgets(tmp_path, image):
    """Verification compares all bytes: damage one that was written, and it says where."""
    mkusb = load_script("mkusb")
    copy = tmp_path / "copy.img"
    shutil.copyfile(image, copy)
    with open(copy, "r+b") as f:
        f.seek(40_000_000)
        f.write(b"!")
    mkusb.fcntl = type("NoIoctl", (), {"ioctl": staticmethod(lambda *a: 0)})
    with open(copy, "rb") as device:
        with pytest.raises(mkusb.Refusal, match="differs from byte 40000000 on"):
            mkusb.verify_image(device.fileno(), image, 64 << 20)


# ---- run-qemu ------------------------------------------------------------------------------------


def printed(*options, **kwargs):
    return run(SCRIPTS / "run-qemu", "--print", *options, **kwargs).stdout.split()


@quick
@pytest.mark.parametrize("firmware", platqemu.firmware_names())
def test_run_qemu_prints_the_command_of_each_profile(firmware):
    try:
        platqemu.load_firmware(firmware)
    except platqemu.Error as why:
        pytest.skip(str(why))
    words = printed("--firmware", firmware)
    assert words[0] == "qemu-system-x86_64"
    assert words[words.index("-accel") + 1] == "tcg" and words.count("-accel") == 1
    assert any(w.startswith("if=pflash,unit=0,") and w.endswith(",readonly=on") for w in words)
    machine = words[words.index("-machine") + 1]
    assert machine.startswith("q35,")
    assert ("smm=on" in machine) == (firmware == "secboot")
    assert ("opt/ovmf/PcdSetNxForStack,string=1" in words) == (firmware == "nx-stack")


@quick
def test_run_qemu_options():
    words = printed("--mem", "1T", "--disk", "nvme", "--machine", "pc", "--no-fb", "--icount",
                    "--smp", "2", "--", "-d", "int")
    assert f"memory-backend-ram,id=ram,size={1 << 40},reserve=off" in words
    assert "max,phys-bits=42" in words
    assert "nvme,serial=plat,drive=disk,bootindex=0" in words
    assert words[words.index("-machine") + 1].startswith("pc,")
    assert "VGA" not in words
    assert words[words.index("-icount") + 1] == "shift=0,sleep=off"
    assert words[words.index("-smp") + 1] == "2"
    assert words[-2:] == ["-d", "int"]
    assert "VGA" in printed() and "max" in printed()


@quick
@pytest.mark.parametrize("options,words", [
    (["--print", "--firmware", "secboot", "--machine", "pc"], "does not run on machine 'pc'"),
    (["--print", "--mem", "lots"], "is not a memory size"),
    (["--image", "/nothing"], "there is no disk image /nothing")])
def test_run_qemu_says_what_is_wrong(options, words):
    done = run(SCRIPTS / "run-qemu", *options, ok=False)
    assert done.returncode != 0 and words in done.stderr


# ---- ksyms.awk -----------------------------------------------------------------------------------

NM = """\
                 w maybe_undefined
ffffffff80000000 A __image_start
ffffffff80001000 T __text_start
ffffffff80001000 t entry
ffffffff80001010 T kmain
ffffffff80001010 T kmain_alias
ffffffff80002fff t last
ffffffff80003000 R some_data
ffffffff80004000 b some_bss
"""
# By hand: offset from __image_start, offset of the name.
KSYMS = """\
    .long 4096, 0
    .long 4112, 6
    .long 12287, 12
plat_ksym_names:
    .asciz "entry"
    .asciz "kmain"
    .asciz "last"
"""


def ksyms(awk, text):
    if not shutil.which(awk):
        pytest.skip(f"{awk} is not installed")
    return run(awk, "-f", SCRIPTS / "ksyms.awk", input=text, ok=False)


@quick
@pytest.mark.parametrize("awk", ["mawk", "gawk", "awk"])
def test_ksyms(awk, tmp_path):
    done = ksyms(awk, NM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("plat_ksyms:\n" + KSYMS)
    assert "plat_ksyms_count:\n    .quad 3\n" in done.stdout
    source = tmp_path / "ksyms.S"
    source.write_text(done.stdout)
    run("clang", "--target=x86_64-unknown-none-elf", "-c", "-o", tmp_path / "ksyms.o", source)


@quick
@pytest.mark.parametrize("awk", ["mawk", "gawk"])
@pytest.mark.parametrize("text,words", [
    (NM.replace("__image_start", "image_start"), "no symbol __image_start"),
    ("ffffffff80000000 A __image_start\n", "no functions"),
    (NM.replace("ffffffff80002fff", "ffffffff7fffffff"), "last at ffffffff7fffffff is below"),
    (NM.replace("ffffffff80000000 A", "0000000000400000 A"), "not in the top 2 GiB")],
    ids=["no start", "no functions", "below the start", "low start"])
def test_ksyms_stops_on_what_it_cannot_say(awk, text, words):
    done = ksyms(awk, text)
    assert done.returncode != 0 and words in done.stderr


@quick
def test_symbol_table_agrees_with_the_final_kernel():
    """The second link, which adds the table, moves no function."""
    def functions(elf):
        if not elf.exists():
            pytest.skip(f"{elf.name} is not built")
        lines = run("nm", "-n", elf).stdout.splitlines()
        return [line for line in lines if line.split()[-2] in ("t", "T")]

    first = functions(platqemu.BUILD / "kernel.0.elf")
    assert len(first) > 10
    assert functions(platqemu.BUILD / "kernel.elf") == first


# ---- scripts/test --------------------------------------------------------------------------------

CMOCKA_MIXED = """\
[==========] Running 4 test(s).
[ RUN      ] good
[       OK ] good
[ RUN      ] bad
[  ERROR   ] --- 0x1 != 0x2
[  FAILED  ] bad
[ RUN      ] odd
needs a huge page
[  SKIPPED ] odd
[ RUN      ] fine
prints without a line end[       OK ] fine
[==========] 4 test(s) run.
[  PASSED  ] 2 test(s).
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] odd
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] bad
"""


@quick
def test_counting_of_unit_tests():
    count = load_script("test").count_cmocka
    mixed = count(CMOCKA_MIXED, 1)
    assert (mixed.passed, mixed.failed, mixed.skipped) == (2, 1, 1)
    assert mixed.reasons == ["odd: needs a huge page"]
    assert str(mixed) == "2 passed, 1 failed, 1 skipped"
    died = count("[ RUN      ] good\n[       OK ] good\n[ RUN      ] kills\n==1==ERROR: Asan", 1)
    assert (died.passed, died.failed) == (1, 1)
    late = count("[ RUN      ] good\n[       OK ] good\nLeakSanitizer: leaks", 23)
    assert (late.passed, late.failed) == (1, 1)
    assert count("", 0).failed == 1, "a program that runs no test"


@quick
def test_nothing_run_is_a_failure():
    done = run(SCRIPTS / "test", "unit", ok=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed"


# ---- tests/plat.py -------------------------------------------------------------------------------


@quick
def test_text_stream_takes_escapes_apart_wherever_they_are_cut():
    raw = "\x1b[2J\x1b[01;01Hone\r\n\x1b[1mplat>\x1b[0m \u2588\r\r\n".encode()
    for cut in range(len(raw)):
        stream = plat.TextStream()
        stream.feed(raw[:cut])
        stream.feed(raw[cut:])
        assert stream.text == "one\nplat> \u2588\n"


def psf1(glyphs):
    """A PSF1 font of 256 glyphs with a table, of {character: 16 rows}."""
    shapes, table = b"", b""
    for i in range(256):
        char = chr(i)
        shapes += bytes(glyphs.get(char, [i] + [0x81] * 15))
        table += (ord(char).to_bytes(2, "little") if char in glyphs else b"") + b"\xff\xff"
    return b"\x36\x04\x02\x10" + shapes + table


def psf2(glyphs):
    """The same as PSF2."""
    chars = sorted(glyphs)
    head = b"\x72\xb5\x4a\x86" + b"".join(n.to_bytes(4, "little") for n in
                                          (0, 32, 1, len(chars), 16, 16, 8))
    return head + b"".join(bytes(glyphs[c]) for c in chars) + b"".join(
        c.encode() + b"\xff" for c in chars)


LETTERS = {
    "H": [0, 0, 0x42, 0x42, 0x42, 0x42, 0x7e, 0x7e, 0x42, 0x42, 0x42, 0x42, 0x42, 0, 0, 0],
    "i": [0, 0x10, 0x10, 0, 0x30, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x38, 0, 0, 0],
    "\u00dc": [0xff] + [0x81] * 14 + [0xff],  # touches the corner that is taken for background
}


def picture(text, ink, paper, font=LETTERS, margin=3):
    """A PPM with `text` in the first line of cells, an empty line, and a margin."""
    width, height = 8 * (len(text) + 1) + margin, 32 + margin
    rows = [[paper] * width for _ in range(height)]
    for column, char in enumerate(text):
        for y, bits in enumerate(font.get(char, [0] * 16)):
            for x in range(8):
                if bits & (0x80 >> x):
                    rows[y][column * 8 + x] = ink
    return (b"P6\n%d %d\n255\n" % (width, height)) + b"".join(b"".join(row) for row in rows)


@quick
@pytest.mark.parametrize("make", [psf1, psf2])
@pytest.mark.parametrize("ink,paper", [(b"\xff\xff\xff", b"\0\0\0"), (b"\0\0\0", b"\xff\xff\xff"),
                                       (b"\x12\x34\x56", b"\x65\x43\x21")],
                         ids=["white on black", "black on white", "any"])
def test_screens_are_read_whatever_their_colours(make, ink, paper):
    font = plat.Font(make(LETTERS))
    lines = plat.text_of_screen(picture("Hi H\u00dc", ink, paper), font)
    assert lines == ["Hi H\u00dc", ""]


@quick
def test_screens_show_what_they_cannot_read():
    font = plat.Font(psf2(LETTERS))
    odd = {**LETTERS, "?": [0, 1, 2, 4, 8, 16, 32, 64] + [0] * 8}
    assert plat.text_of_screen(picture("H?i", b"\xff\0\0", b"\0\0\0", odd), font) == [
        "H\ufffdi", ""]


@quick
def test_keys():
    assert [plat.keys_of(c) for c in "aB1!-_\n;:"] == [
        ("a",), ("shift", "b"), ("1",), ("shift", "1"), ("minus",), ("shift", "minus"), ("ret",),
        ("semicolon",), ("shift", "semicolon")]


# ---- builds --------------------------------------------------------------------------------------


def source_copy(tmp_path):
    """The tree as it is, without what was built, in another directory."""
    leave = shutil.ignore_patterns(".git", "build", platqemu.BUILD.name, "__pycache__")
    return shutil.copytree(ROOT, tmp_path / "elsewhere", ignore=leave)


def make(directory, *words):
    """make without what an outer make or its command line passes down."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("B", "LLVM", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "-C", str(directory), "-j2", *words], capture_output=True,
                          text=True, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_builds_are_reproducible(tmp_path):
    """A build elsewhere, in a build directory of another name, gives the same bytes."""
    for name in ("plat.efi", "plat.img"):
        if not (platqemu.BUILD / name).exists():
            pytest.skip(f"{name} is not built")
    copy = source_copy(tmp_path)
    make(copy, "B=other", f"LLVM={os.environ.get('LLVM', '')}", "other/plat.img")
    for name in ("kernel.stripped.elf", "plat.efi", "plat.img"):
        assert (copy / "other" / name).read_bytes() == (platqemu.BUILD / name).read_bytes(), name


@pytest.mark.slow
def test_clang_19_builds_everything_without_a_warning(tmp_path):
    """Warnings are errors in the build; the linkers' are looked for here.

    Unit tests as gcc builds them, without sanitizers, which warn of nothing and cost half the time.
    """
    for tool in ("clang-19", "ld.lld-19", "lld-link-19"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    units = [f"{tmp_path}/b/gcc/{p.stem}" for p in (ROOT / "tests/unit").glob("test_*.c")]
    assert units
    said = make(ROOT, "LLVM=-19", "GCC=clang-19 -Wunreachable-code", f"B={tmp_path}/b", "all", *units)
    assert (tmp_path / "b/plat.img").exists()
    assert "warning" not in said.lower(), said

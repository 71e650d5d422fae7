"""Every bug that `crash` can commit ends in a panic that says what broke, and where."""

import re
import time

import pytest

KINDS = {
    # kind: (first line of the panic, function that the call chain names)
    "null": (r"page fault: read of unmapped address 0x0 \(a null pointer\)", "crash_null"),
    "nx": (r"page fault: execution of no-execute memory at 0xffffffff[0-9a-f]{8}", "crash_nx"),
    "text": (r"page fault: write of read-only memory at 0xffffffff[0-9a-f]{8}", "crash_text"),
    "stack": (r"stack overflow: .* in the guard page of the main stack", "crash_stack"),
    "df": (r"double fault, error code 0x0", "crash_df"),
    "ub": (r"undefined behaviour: addition overflow", "crash_ub"),
    "assert": (r"cmd_crash\.c:\d+: assertion failed: zero == 1", "crash_assert"),
    "heap": (r"slab \"kmalloc-64\": free\(0x[0-9a-f]+\), called from 0x[0-9a-f]+: "
             r"it was freed already \(0x[0-9a-f]+\)", "crash_heap"),
    "pmm": (r".*frame.*", "crash_pmm"),
    "smash": (r"stack smashed: .*", "crash_smash"),
}
FAULTS = {"null", "nx", "text", "stack", "df"}  # these show the walk of the address


def panic_of(g, kind):
    """Commit it; the panic's text, from its first word to its last."""
    g.send(f"crash {kind}\r")
    g.wait_text(r"^PANIC: ")
    start = len(g.text[:g.text.index("PANIC: ")])
    g.wait_text(r"^The machine is stopped\. Reset it to go on\.$")
    return g.text[start:]


def call_chain(text):
    chain = text.split("call chain, innermost first:\n", 1)[1]
    return re.findall(r"^  [0-9a-f]{16}  (\S+)$", chain.split("last log lines:")[0], re.M)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.quick) if k == "null" else k for k in KINDS])
def test_crash(boot, kind):
    words, function = KINDS[kind]
    g = boot(mem="128M", expect_panic=True)
    g.wait_prompt()
    text = panic_of(g, kind)
    assert re.match(rf"PANIC: {words}\n", text), text

    names = [entry.split("+")[0] for entry in call_chain(text)]
    assert function in names, text
    # What ran before it, up to the first function of the kernel. A stack overflow's chain is cut.
    if kind not in ("stack", "smash"):
        assert names[names.index(function) + 1] == "cmd_crash", text
        assert names[-2:] == ["monitor_run", "kmain"] or names[-3:-1] == ["monitor_run", "kmain"], \
            text
    assert "?" not in names[:names.index(function)] or kind == "nx", text

    if kind in FAULTS:
        walk = text.split("page walk of 0x", 1)[1]
        assert re.search(r"^  level 4 \[ *\d+\]  [0-9a-f]{16}", walk, re.M), text
    if kind == "null":
        assert re.search(r"^  level \d \[ *0\]  0{16}  not present$", text, re.M), text
    if kind == "nx":
        assert re.search(r"^  leads to physical 0x[0-9a-f]+, rw-", text, re.M), text
    if kind == "text":
        assert re.search(r"^  leads to physical 0x[0-9a-f]+, r-x", text, re.M), text
    assert "last log lines:\n" in text
    assert "PANIC in a panic" not in text


def test_panic_in_a_run_option(boot):
    """A panic before the first prompt is told as well."""
    g = boot(mem="128M", conf='run="crash assert"\n', expect_panic=True)
    g.wait_text(r"^PANIC: cmd_crash\.c:\d+: assertion failed: zero == 1$")
    g.wait_text(r"^The machine is stopped\b")
    assert "plat> crash assert\n" in g.text


def test_nmi_inside_firmware(boot):
    """An NMI while a runtime service runs is no fault of the service's that a call survives."""
    g = boot(mem="128M", conf=f'run="{"runtime; " * 60}"\n', expect_panic=True)
    g.wait_text(r"^vendor ")
    for _ in range(1000):
        g.qmp("stop")
        if int(re.search(r"RIP=([0-9a-f]{16})", g.hmp("info registers"))[1], 16) < 1 << 63:
            break
        g.qmp("cont")
        time.sleep(0.001)
    else:
        pytest.fail("firmware's code was never seen running")
    g.qmp("inject-nmi")
    g.qmp("cont")
    g.wait_text(r"^The machine is stopped\b")
    assert "PANIC: non-maskable interrupt" in g.text
    assert "call" in [entry.split("+")[0] for entry in call_chain(g.text)]

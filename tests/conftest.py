"""Fixtures of the boot tests, and what a failure shows.

boot   - function that starts a machine of its own for this test:
             g = boot(mem="64M", disk="nvme", conf='run="memmap -s"')
guest  - a machine at its prompt that the tests of a module share, since a boot takes seconds. A
         module's GUEST = dict(mem=...) says how to start it. A test that leaves it dead, stopped
         or busy costs the next one a new boot.

Each serial log stays in build/boot-logs/TEST.log; a failed test shows its end.
"""

import re
import sys

import pytest

sys.dont_write_bytecode = True

from plat import Guest, GuestError, platqemu  # noqa: E402

LOGS = platqemu.BUILD / "boot-logs"
LOG_TAIL_LINES = 60
LOG_COLUMNS = 400  # of a line; a report is one


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long tests first, so that none of them is left to run alone at the end. Tests that share a
    guest go to one xdist worker, where they find it running."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if "guest" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for g in item.__dict__.get("plat_guests", []):
        lines = [line if len(line) <= LOG_COLUMNS else line[:LOG_COLUMNS] + "..."
                 for line in g.text.rstrip("\n").split("\n")[-LOG_TAIL_LINES:]]
        report.sections.append((f"end of {g.log}", "\n".join(lines)))


def log_path(name):
    """A name for a log, of a test's name with its parameters."""
    return LOGS / (re.sub(r"[^\w.=-]+", "_", name).strip("_") + ".log")


def use(request, g):
    """Note that the running test uses `g`, for its report."""
    request.node.__dict__.setdefault("plat_guests", []).append(g)
    return g


@pytest.fixture
def boot(request):
    """Start a machine; ended after the test. Arguments as of plat.Guest, without the log."""
    started = []

    def start(**options):
        name = f"{request.module.__name__}.{request.node.name}"
        g = Guest(log_path(name + (f".{len(started) + 1}" if started else "")), **options)
        started.append(use(request, g))
        g.start()
        return g

    yield start
    for g in started:
        g.stop()


@pytest.fixture(scope="module")
def shared_guest(request):
    """The guest of a module, as a list of at most one: `guest` fills it."""
    holder = []
    yield holder
    for g in holder:
        g.stop()


@pytest.fixture
def guest(request, shared_guest):
    """The module's machine at its prompt."""
    if shared_guest and not at_rest(shared_guest[0]):
        shared_guest.pop().stop()
    if not shared_guest:
        name = f"{request.module.__name__}.{request.node.name}"
        g = Guest(log_path(name), **getattr(request.module, "GUEST", {}))
        use(request, g)
        g.start()
        shared_guest.append(g)
        g.wait_prompt()
        return g
    return use(request, shared_guest[0])


def at_rest(g):
    """Does the machine answer an empty line with a new prompt?"""
    if not g.alive or g.panicked:
        return False
    try:
        g.cmd("", timeout=10)
        return True
    except (GuestError, OSError):
        return False

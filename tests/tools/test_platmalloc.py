"""libplatmalloc: what malloc promises, how it dies, and programs that nobody here wrote, with it."""

import os
import random
import re
import resource
import shutil
import subprocess

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
SHARED = platqemu.BUILD / "libplatmalloc.so"
STATIC = platqemu.BUILD / "libplatmalloc.a"

FAMILY = {"malloc", "free", "calloc", "realloc", "reallocarray", "memalign", "posix_memalign",
          "aligned_alloc", "valloc", "pvalloc", "malloc_usable_size", "malloc_trim"}
# What a C library does with memory of its own.
ALLOCATING = re.compile(r"\b(malloc|calloc|realloc|free|strdup|fopen|fprintf|printf|asprintf|dlopen|"
                        r"pthread_mutex_\w+)@")

PROMISES = ["sizes", "waste", "zeroed", "errors", "aligned", "resized", "returned", "limited", "huge",
            "shared", "exits", "forks"]
DEATHS = {  # what stands on standard error
    "die_double": r"free\(0x\w+\), called from 0x\w+: it was freed already",
    "die_double_later": r"0x\w+, an object of 112 bytes, was freed twice",
    "die_double_gone": r"(free|size)\(0x\w+\).* called from 0x\w+: it (was freed already|points into)",
    "die_double_large": r"\(0x\w+\), called from 0x\w+: it was freed already.*, for a caller at 0x\w+",
    "die_inside": r"free\(0x\w+\), called from 0x\w+: it was never given: it lies inside an object",
    "die_inside_large": r"\(0x\w+\), called from 0x\w+: it lies inside a block.*, for a caller at 0x\w+",
    "die_stack": r"free\(0x\w+\), called from 0x\w+: it was never given: outside of the heap",
    "die_realloc": r"realloc\(0x\w+\), called from 0x\w+: it was never given: it lies inside an object",
    "die_usable": r"malloc_usable_size\(0x\w+\), called from 0x\w+: it was never given: outside",
}


def run(*command, preload=False, **options):
    env = {**os.environ, **options.pop("env", {})}
    env.pop("LD_PRELOAD", None)
    if preload:
        env["LD_PRELOAD"] = str(SHARED)
    done = subprocess.run([str(c) for c in command], capture_output=True, check=False, timeout=300,
                          env=env, **options)
    # A library that can't be preloaded is passed over with a warning.
    assert b"cannot be preloaded" not in done.stderr, done.stderr.decode()
    return done


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """malloc_tests, for preloading and linked with the library."""
    folder = tmp_path_factory.mktemp("platmalloc")
    built = {}
    for name, libraries in (("preloaded", []), ("linked", [STATIC]), ("static", ["-static", STATIC])):
        built[name] = folder / name
        done = run("gcc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-alloc-size-larger-than",
                   "-fno-builtin", "-D_GNU_SOURCE", "-o", built[name],
                   ROOT / "tests/tools/malloc_tests.c", *libraries, "-lpthread")
        assert done.returncode == 0, done.stderr.decode()
    return built


# ---- the library ---------------------------------------------------------------------------------


def test_library_shows_the_family_and_nothing_else():
    out = run("nm", "-D", "--defined-only", SHARED).stdout.decode()
    assert {line.split()[-1] for line in out.splitlines()} == FAMILY


def test_library_calls_nothing_that_allocates():
    out = run("nm", "-D", "-u", SHARED).stdout.decode()
    assert "mmap@" in out
    assert not ALLOCATING.search(out), out


def test_thread_local_variables_are_found_without_a_call():
    """Else the first use of one in a thread would allocate it: by malloc."""
    assert "__tls_get_addr" not in run("nm", "-D", "-u", SHARED).stdout.decode()


@pytest.mark.parametrize("test", PROMISES)
@pytest.mark.parametrize("how", ["preloaded", "linked", "static"])
def test_promise(programs, how, test):
    done = run(programs[how], test, preload=how == "preloaded")
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


@pytest.mark.quick
@pytest.mark.parametrize("test", ["sizes", "errors", "aligned", "shared"])
def test_promise_quickly(programs, test):
    done = run(programs["static"], test)
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


@pytest.mark.parametrize("test", DEATHS)
@pytest.mark.parametrize("how", ["preloaded", "static"])
def test_death(programs, how, test):
    done = run(programs[how], test, preload=how == "preloaded")
    assert done.returncode == -6, done
    assert done.stdout == b""
    assert re.fullmatch(r"platmalloc: .*\n", done.stderr.decode())
    assert re.search(DEATHS[test], done.stderr.decode()), done.stderr.decode()


def test_memory_goes_back_after_a_while(programs):
    done = run(programs["static"], "decays")
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


def test_few_addresses(programs):
    """With a limit to its address space the window is smaller, and all works as before."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))

    done = run(programs["preloaded"], "sizes", "aligned", "resized", preload=True, preexec_fn=limit)
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


# ---- programs ------------------------------------------------------------------------------------
# Each does its work twice, in the same place: once with its own malloc, once with ours.


def compare(tmp_path, prepare, *command, files=(), same_stderr=True, env=None):
    """Output, status and the `files` that are made must be the same."""
    program = "/usr/bin/python3" if command[0] == "python3" else command[0]
    if shutil.which(program) is None:
        pytest.skip(f"{command[0]} is not installed")
    results = []
    folder = tmp_path / "work"
    for preload in (False, True):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        prepare(folder)
        done = run(program, *command[1:], preload=preload, cwd=folder,
                   env={"LC_ALL": "C", "HOME": str(folder), **(env or {})})
        results.append((done.returncode, done.stdout, done.stderr if same_stderr else b"",
                        [(folder / f).read_bytes() for f in files]))
    assert results[0][0] == 0, results[0][2].decode(errors="replace")
    assert results[0][1] or files
    assert results[1] == results[0]


def words(seed, n):
    rng = random.Random(seed)
    return [rng.choice("abcdefgh") * rng.randrange(1, 9) + str(rng.randrange(10**6)) for _ in range(n)]


@pytest.mark.parametrize("compiler", ["clang", "gcc"])
def test_compiler(tmp_path, compiler):
    sources = ["mm/memmap/maplint_rules.c", "mm/heap/ff.c"]
    compare(tmp_path, lambda folder: None, compiler, "-O2", "-g", f"-I{ROOT}/include", "-c",
            ROOT / sources[0], "-o", "out.o", files=["out.o"])
    compare(tmp_path / "2", lambda folder: None, compiler, "-O1", f"-I{ROOT}/include", "-S",
            ROOT / sources[1], "-o", "out.s", files=["out.s"])


def test_python_json(tmp_path):
    """Its own tests of json where Debian's package has them, and a round trip."""
    compare(tmp_path, lambda folder: None, "python3", "-c", """
import json, threading
def work(n, out):
    data = {str(i): [i, i / 7, None, {"key" * (i % 9): "value" * (i % 50)}] for i in range(n)}
    text = json.dumps(data, indent=1)
    assert json.loads(text) == data
    out.append(len(text))
out = []
threads = [threading.Thread(target=work, args=(20000 + i, out)) for i in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(out))
""", env={"PYTHONMALLOC": "malloc"})
    if run("/usr/bin/python3", "-c", "import test.test_json").returncode == 0:
        done = run("/usr/bin/python3", "-m", "unittest", "test.test_json", preload=True, cwd=tmp_path,
                   env={"PYTHONMALLOC": "malloc"})
        assert done.returncode == 0, done.stderr.decode()
        assert re.search(rb"Ran \d{2,} tests", done.stderr)


def test_sqlite(tmp_path):
    lines = ["create table t(id integer primary key, name text, value real);", "begin;"]
    lines += [f"insert into t values({i}, '{w}', {i / 3});" for i, w in enumerate(words(1, 20000))]
    lines += ["commit;", "create index n on t(name);",
              "select substr(name, 1, 2) k, count(*), sum(value) from t group by k order by k;",
              "select a.name, b.id from t a join t b on a.name > b.name and a.id + 1 = b.id "
              "order by a.name desc limit 500;", "delete from t where id % 3 = 0;", "vacuum;",
              "pragma integrity_check;"]
    compare(tmp_path, lambda folder: (folder / "work.sql").write_text("\n".join(lines)),
            "sqlite3", "-batch", "-init", "work.sql", "work.db", "select count(*) from t;", files=["work.db"])


def test_git(tmp_path):
    """A history is made and packed by several threads; what is in it is the same, and sound."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    stream, rng = [], random.Random(2)
    files = [words(i, 300) for i in range(30)]
    for commit in range(200):
        stream.append(f"commit refs/heads/main\ncommitter A <a@b.c> {10**9 + commit} +0000\ndata 5\nwork\n")
        for which in range(30) if commit == 0 else rng.sample(range(30), 3):
            files[which][rng.randrange(300)] = f"line {commit}"
            data = "\n".join(files[which]) + "\n"
            stream.append(f"M 100644 inline dir{which % 5}/file{which}\ndata {len(data)}\n{data}\n")
    script = ("git init -q . && git fast-import --quiet < ../stream && git repack -q -a -d -f --threads=4 "
              "--depth=50 --window=50 && git gc -q && git fsck --full --strict && git rev-list --all --objects "
              "| sort && git log -p --stat | sha256sum && git blame main -- dir0/file0 | sha256sum")

    def prepare(folder):
        (folder.parent / "stream").write_text("".join(stream))

    compare(tmp_path, prepare, "sh", "-c", script, same_stderr=False, env={"GIT_CONFIG_NOSYSTEM": "1"})


def test_perl(tmp_path):
    compare(tmp_path, lambda folder: None, "perl", "-e", r"""
my (%count, @lines);
for my $i (1 .. 60000) {
    my $w = join("", map { chr(97 + ($i * $_ * 7) % 26) } 1 .. 1 + $i % 13);
    $count{$w} .= $i;
    push @lines, "$w " x ($i % 5);
    splice(@lines, $i % @lines, 1) if $i % 3 == 0;
}
my $text = join("\n", sort @lines);
$text =~ s/(\w)\1/<$1>/g;
print length($text), " ", scalar(keys %count), "\n";
print "$_ $count{$_}\n" for (sort keys %count)[0 .. 200];
my $pid = fork();
if ($pid == 0) { my @a = map { "x" x $_ } 1 .. 2000; print length(join("", @a)), "\n"; exit 0 }
waitpid($pid, 0);
""")


def test_jq(tmp_path):
    import json

    data = [{"id": i, "name": w, "tags": words(i, i % 7)} for i, w in enumerate(words(3, 20000))]
    compare(tmp_path, lambda folder: (folder / "in.json").write_text(json.dumps(data)), "jq", "-c",
            "group_by(.id % 10) | map({n: length, t: ([.[].tags[]] | unique | length), "
            "m: (map(.name) | max)}) | .[]", "in.json")


@pytest.mark.parametrize("command", [
    ("sort", "--parallel=4", "-S", "8M", "in"),
    ("xz", "-T4", "-k", "-c", "--block-size=100000", "in"),
    ("gzip", "-9", "-n", "-c", "in"),
    ("awk", "{ n[substr($0, 1, 3)]++ } END { for (k in n) s += n[k]; print s, length(n) }", "in"),
    ("tar", "cf", "-", "--mtime=@0", "--owner=0", "--group=0", "in"),
    ("bash", "-c", "for i in $(seq 300); do a[$i]=$(echo $i | tr 1 2); done; echo ${a[@]} | (cat; wait)"),
], ids=lambda c: c[0])
def test_small_programs(tmp_path, command):
    compare(tmp_path, lambda folder: (folder / "in").write_text("\n".join(words(4, 100000)) + "\n"), *command)

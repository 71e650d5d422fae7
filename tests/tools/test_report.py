"""The report and its schema, as others see them: a real validator, and Python's own JSON.

The documents are those of tests/unit/report_sample.c, written by the unit test's program.
"""

import copy
import json
import os
import subprocess

import jsonschema
import pytest

from plat import platqemu

ROOT = platqemu.ROOT
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
NAMES = ["full", "empty", "hostile"]
# One worker builds the program, once.
pytestmark = [pytest.mark.quick, pytest.mark.xdist_group("report")]


@pytest.fixture(scope="module")
def program():
    build = os.environ.get("B", "build")
    path = f"{build}/gcc/test_report"
    env = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(["make", f"B={build}", path], cwd=ROOT, env=env, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / path


@pytest.fixture(scope="module")
def documents(program, tmp_path_factory):
    """The samples' texts by file name without .json."""
    there = tmp_path_factory.mktemp("reports")
    subprocess.run([program, "--write", there], check=True)
    texts = {path.stem: path.read_bytes().decode() for path in there.iterdir()}
    assert sorted(texts) == sorted(NAMES + [f"{name}-pretty" for name in NAMES])
    return texts


def once(pairs):
    """An object of which no key is there twice."""
    made = dict(pairs)
    assert len(made) == len(pairs)
    return made


def parse(text):
    return json.loads(text, object_pairs_hook=once)


def closed(schema):
    """The schema, but members that it does not name are errors."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema and schema.get("type") == "object":
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        schema = [closed(value) for value in schema]
    return schema


def again(program, path):
    return subprocess.run([program, "--again", path], check=False, capture_output=True, text=True)


def test_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", ["", "-pretty"])
def test_documents_are_as_the_schema_says(documents, name, style):
    document = parse(documents[name + style])
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    jsonschema.Draft202012Validator(closed(SCHEMA)).validate(document)
    assert document == parse(documents[name])


def test_a_document_is_one_line(documents):
    for name in NAMES:
        assert documents[name].count("\n") == 1 and documents[name].endswith("}\n")


def members(value, where=""):
    """Every member of every object in `value`: where it is, and the object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where, value, key
            yield from members(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner, where)


def test_schema_names_every_member_and_misses_each(documents):
    """What is left out, or of another type, is seen by the schema: it lets nothing pass by accident."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    private = {"serial", "uuid", "board_serial"}
    document = parse(documents["full"])
    seen = set()
    for where, obj, key in list(members(document)):
        if (where, key) in seen:
            continue
        seen.add((where, key))
        value = obj.pop(key)
        open_ended = where.endswith("type_bytes")
        assert validator.is_valid(document) == (key in private or open_ended), f"{where}.{key}"
        obj[key] = {"of": "no type that is allowed"}
        assert not validator.is_valid(document), f"{where}.{key}"
        obj[key] = value
        # A reader of version 1.0 takes a document with more in it, and so does the schema.
        if "new" not in obj and not where.endswith("_bytes"):
            obj["new"] = [1]
            assert validator.is_valid(document), where
            del obj["new"]
    assert len(seen) > 150


def test_numbers_say_what_bytes_say(documents):
    """The descriptors' fields, taken from their bytes by another reader."""
    for capture in parse(documents["full"])["captures"]:
        for i, d in enumerate(capture["descriptors"]):
            raw = bytes.fromhex(d["raw"])
            field = [int.from_bytes(raw[at:at + 8], "little") for at in range(8, 40, 8)]
            assert len(raw) == capture["descriptor_size"]
            assert d["index"] == i
            assert d["type"] == int.from_bytes(raw[:4], "little")
            assert [d["physical_start"], d["virtual_start"]] == [f"0x{v:016x}" for v in field[:2]]
            assert d["pages"] == field[2]
            assert d["attribute"] == f"0x{field[3]:016x}"
            assert d["end"] == f"0x{field[0] + 4096 * field[2]:016x}"


def test_addresses_sort_as_texts(documents):
    regions = parse(documents["full"])["captures"][0]["regions"]
    for r in regions:
        assert r["bytes"] == int(r["end"], 16) - int(r["base"], 16)
    bases = [r["base"] for r in regions]
    assert len(bases) >= 6 and bases == sorted(bases)


@pytest.mark.parametrize("name", NAMES)
def test_order_and_escapes_mean_nothing(program, documents, tmp_path, name):
    """Through other programs, which sort members or escape characters: the same report."""
    path = tmp_path / "other.json"
    document = parse(documents[name])
    for options in ({"sort_keys": True}, {"ensure_ascii": True, "indent": "\t"},
                    {"ensure_ascii": False, "separators": (" ,\r\n", " : ")}):
        path.write_bytes(json.dumps(document, **options).encode())
        done = again(program, path)
        assert (done.stdout, done.returncode) == (documents[name], 0)
    # And backwards, at every level.
    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return [backwards(v) for v in value] if isinstance(value, list) else value
    path.write_text(json.dumps(backwards(document)))
    done = again(program, path)
    assert (done.stdout, done.returncode) == (documents[name], 0)


def test_what_the_schema_refuses_the_reader_refuses(program, documents, tmp_path):
    """One member at a time is of another type: neither takes it."""
    path = tmp_path / "wrong.json"
    document = parse(documents["full"])
    explained = {"type_name", "name", "uefi", "attribute_names"}
    seen = set()
    for where, obj, key in list(members(document)):
        if (where, key) in seen or key in explained or \
                f"{where}.{key}".endswith(("descriptors.end", "regions.bytes")):
            continue
        seen.add((where, key))
        value = obj[key]
        obj[key] = {}
        path.write_text(json.dumps(document))
        obj[key] = value
        done = again(program, path)
        assert done.returncode == 1 and done.stdout.startswith("line 1, column "), f"{where}.{key}"
    assert len(seen) > 150


def test_a_later_document(program, documents, tmp_path):
    path = tmp_path / "later.json"
    document = parse(documents["full"])
    minor = copy.deepcopy(document)
    minor["schema"] = "1.99"
    minor["new"] = {"x": [{}, 1.5, "\u20ac"]}
    path.write_text(json.dumps(minor))
    assert again(program, path).stdout == documents["full"]
    document["schema"] = "2.0"
    path.write_text(json.dumps(document))
    done = again(program, path)
    assert done.returncode == 1
    assert "schema: the report is of a later kind" in done.stdout

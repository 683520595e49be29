"""docs/operations.md: a section for each alarm, and commands that exist, with the options shown."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from common.config import load
from infra_scripts.assembly import stack_of
from infra_scripts.stack import Stack
from infra_scripts.template import alarms, bucket
from infra_scripts.template.resource import ANYWHERE

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOK = re.split(r"^## ", PAGE, flags=re.MULTILINE)
PARSERS = """
import importlib, json, sys
for module, words in json.load(sys.stdin):
    importlib.import_module(f"{module}.__main__")._parser().parse_args(words)
"""
TOOLS = {"df", "du", "find", "free", "systemd-cgtop"}  # of any Debian or Ubuntu
VERBS = {"start", "stop", "restart", "status", "reset-failed"}
CUSTOM = {  # commands of the AWS CLI that are not operations of a service, with their options
    "s3 sync": {"exclude", "include"},
    "s3 rm": {"recursive"},
    "logs tail": {"follow", "since", "filter-pattern"},
    "configure set": set(),
}
GLOBAL = {"query", "output", "region", "profile"}


def stack() -> Stack:
    return stack_of(load(ROOT / "config.toml", environment={}))


def commands() -> list[list[str]]:
    """The words of each line in a block of shell, without comments and sudo."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[line[0] == "sudo" :] for line in lines if line]


def inline() -> Iterator[list[str]]:
    """Those within the text."""
    for text in re.findall(r"`((?:sudo |python -m )[^`]+)`", PAGE):
        words = shlex.split(text)
        if "COMMAND" not in words and words[-1] != "infra_scripts":
            yield words[words[0] == "sudo" :]


COMMANDS = [*commands(), *inline()]


def of(*tools: str) -> list[list[str]]:
    return [words for words in COMMANDS if Path(words[0]).name in tools]


def options(words: list[str]) -> set[str]:
    return {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}


def sections() -> dict[str, str]:
    """Of the runbook, by anchor."""
    [runbook] = [part for part in RUNBOOK if part.startswith("Runbook\n")]
    found = re.split(r"^### ", runbook, flags=re.MULTILINE)[1:]
    return {head: text for head, _, text in (part.partition("\n") for part in found)}


def test_each_alarm_has_its_section_and_each_section_its_alarm() -> None:
    made = stack()
    every = alarms.alarms(made)
    anchors = [each.anchor for each in every]
    assert sorted(sections()) == sorted([*anchors, "fruits"])
    described = json.dumps(alarms.resources(made))
    assert all(f"docs/operations.md#{anchor}" in described for anchor in (*anchors, "fruits"))
    without = alarms.alarms(replace(made, instance=replace(made.instance, type="")))
    assert {each.anchor for each in without} < set(anchors)


@pytest.mark.parametrize("anchor", sorted(sections()))
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(anchor: str) -> None:
    text = sections()[anchor]
    assert [text.count(f"**{part}:**") for part in ("Means", "Look", "Do")] == [1, 1, 1]
    assert "```sh" in text


def test_the_names_are_those_of_the_default_configuration() -> None:
    made = stack()
    assert f"`{made.name}`" in PAGE
    assert f"/{made.log_group.strip('/')} --follow" in PAGE
    named = {word for words in COMMANDS for word in words if word.startswith("s3://")}
    buckets = {word.removeprefix("s3://").partition("/")[0] for word in named}
    assert buckets == {made.bucket, "NEW_BUCKET", "BACKUP"}
    stored = {f"s3://{made.bucket}/{folder}/" for folder in ("features", "rejects", "pending")}
    assert stored < named


def test_our_own_commands_have_these_options() -> None:
    asked = [(words[2], words[3:]) for words in of("python")]
    asked += [("processor", words[1:]) for words in of("fruits")]
    assert {module for module, _ in asked} == {"processor", "infra_scripts"}
    assert len(asked) > 20
    done = subprocess.run(
        [sys.executable, "-c", PARSERS],
        input=json.dumps(asked),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_units_exist() -> None:
    for words in of("systemctl"):
        assert words[1] in VERBS, words
        assert (ROOT / "systemd" / f"{words[2]}.service").exists(), words
    journals = of("journalctl")
    assert len(journals) > 5
    for words in journals:
        if "-u" in words:
            unit = words[words.index("-u") + 1]
            assert (ROOT / "systemd" / f"{unit}.service").exists(), words
        assert options(words) <= {"since", "disk-usage", "vacuum-size"}, words


def test_the_installer_has_these_options() -> None:
    script = (ROOT / "infra_scripts" / "install.sh").read_text(encoding="utf-8")
    found = of("install.sh")
    assert found
    for words in found:
        assert words[0].endswith("infra_scripts/install.sh")
        assert all(f"--{option}" in script for option in options(words))


def test_the_operations_of_aws_exist_and_take_these_options() -> None:
    session = botocore.session.get_session()
    known: dict[str, dict[str, set[str]]] = {}
    found = of("aws")
    assert len(found) > 20
    for words in found:
        name = " ".join(words[1:3])
        if name in CUSTOM:
            assert options(words) <= CUSTOM[name] | GLOBAL, words
            continue
        service = {"s3api": "s3"}.get(words[1], words[1])
        model = session.get_service_model(service)
        if service not in known:
            known[service] = {
                xform_name(each, "-"): {
                    xform_name(member, "-")
                    for member in model.operation_model(each).input_shape.members
                }
                for each in model.operation_names
                if model.operation_model(each).input_shape
            }
        assert words[2] in known[service], words
        assert options(words) <= known[service][words[2]] | GLOBAL, words


def test_there_are_no_other_commands() -> None:
    ours = {"python", "fruits", "aws", "systemctl", "journalctl", "install.sh"}
    assert {Path(words[0]).name for words in COMMANDS} - ours == TOOLS


def test_the_lifecycle_of_an_adopted_bucket_is_that_of_a_new_one() -> None:
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    made = bucket.resources(stack(), ANYWHERE)["Bucket"]["Properties"]
    _, *rules = made["LifecycleConfiguration"]["Rules"]
    for rule in rules:  # CloudFormation spells some otherwise
        rule["ID"], rule["Filter"] = rule.pop("Id"), {"Prefix": rule.pop("Prefix")}
        rule["Expiration"] = {"ExpiredObjectDeleteMarker": rule.pop("ExpiredObjectDeleteMarker")}
    assert json.loads(block) == {"Rules": rules}


def test_links_within_the_pages_lead_somewhere() -> None:
    for file, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", PAGE):
        target = ROOT / "docs" / (file or "operations.md")
        assert target.exists(), file
        heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {
            re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads
        }

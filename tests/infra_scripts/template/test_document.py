"""The template as a whole: what is in it for which stack, and that it is consistent."""

import json
import re
from collections.abc import Iterator

import pytest

from common.layout import BucketLayout
from infra_scripts.stack import Instance
from infra_scripts.template import document as module
from infra_scripts.template.document import (
    MOST_INLINE_BYTES,
    Document,
    compact,
    document,
    text,
)
from infra_scripts.template.resource import resource
from tests.support.aws import unique_stack
from tests.support.templates import RELEASE, SUBNET, stack_on, templates

TEMPLATES = templates()
MACHINE = {"SecurityGroup", "Instance"}
GROUNDWORK = {
    *("Queue", "QueuePolicy", "DeadLetterQueue", "DeadLetterQueuePolicy", "LogGroup"),
    *("Role", "InstanceProfile"),
}


def names_in(value: object) -> Iterator[str]:
    """All resources and parameters that a part of a template refers to."""
    if isinstance(value, list):
        for each in value:
            yield from names_in(each)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name == "Ref":
                yield member
            elif name == "Fn::GetAtt":
                yield member[0]
            elif name == "DependsOn":
                yield from member
            elif name == "Fn::Sub":
                yield from re.findall(r"\$\{([^!}][^}.]*)", member)
            else:
                yield from names_in(member)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_reference_leads_somewhere(name: str) -> None:
    template = TEMPLATES[name]
    known = {*template["Resources"], *template.get("Parameters", {})}
    pseudo = {"AWS::Region", "AWS::Partition", "AWS::AccountId"}
    assert set(names_in(template)) - known <= pseudo


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_name_is_left_that_nobody_fills_in(name: str) -> None:
    def plain(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for key, member in value.items():
                if key != "Fn::Sub":
                    yield from plain(member)
        elif isinstance(value, list):
            for each in value:
                yield from plain(each)
        else:
            yield str(value)

    assert not [each for each in plain(TEMPLATES[name]) if "${" in each]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_reader_learns_what_it_contains_and_why(name: str) -> None:
    template = TEMPLATES[name]
    listed = [each for names in template["Metadata"]["Contents"].values() for each in names]
    assert listed == list(template["Resources"])
    assert all(each["Metadata"]["Purpose"] for each in template["Resources"].values())
    assert all(each["Description"] for each in template["Outputs"].values())
    order = [
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Resources",
        "Outputs",
    ]
    assert list(template) == [each for each in order if each in template]
    assert json.loads(text(template)) == template


def test_cloudformation_takes_its_size() -> None:
    assert json.loads(compact(TEMPLATES["t2"])) == TEMPLATES["t2"]
    long = unique_stack(
        layout=BucketLayout("b" * 63, f"{'p' * 200}/", f"{'s' * 200}/"),
        queue="q" * 80,
        dead_letter_queue="d" * 80,
        log_group="g" * 512,
        weights=f"s3://{'w' * 63}/{'k' * 500}",
        instance=Instance(type="t2.xlarge", subnet=SUBNET),
    )
    groundwork, full = document(long), document(long, release=RELEASE)
    assert len(compact(groundwork)) < MOST_INLINE_BYTES
    assert len(text(full)) < 1_000_000
    assert len(full["Description"]) <= 1024


def test_without_an_instance_there_is_a_role_for_one() -> None:
    template = document(unique_stack(), release=RELEASE)
    assert template["Resources"].keys() >= GROUNDWORK
    assert not MACHINE & template["Resources"].keys()
    assert "Parameters" not in template
    assert not {"InstanceId", "Shell"} & template["Outputs"].keys()


def test_without_a_release_there_is_the_groundwork_alone() -> None:
    template = document(stack_on("t2.xlarge"))
    assert template["Resources"].keys() == GROUNDWORK | {"Bucket", "BucketPolicy"}


def test_with_a_release_there_is_the_machine() -> None:
    template = document(stack_on("t2.xlarge"), release=RELEASE)
    assert GROUNDWORK | MACHINE | {"Bucket"} <= template["Resources"].keys()
    assert list(template["Parameters"]) == ["Vpc"]
    shell = template["Outputs"]["Shell"]["Value"]["Fn::Sub"]
    assert shell == "aws ssm start-session --region ${AWS::Region} --target ${Instance}"


def test_an_existing_bucket_is_left_out() -> None:
    template = document(unique_stack(), new_bucket=False)
    assert template["Resources"].keys() & {"Bucket", "BucketPolicy"} == set()
    assert "Bucket" not in template["Metadata"]["Contents"]


def test_alarms_are_made_once_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def alarms(stack: object) -> dict:
        alarm = resource("AWS::CloudWatch::Alarm", "Watches.", {}, after=["Queue"])
        return {"AlarmAge": alarm, "AlarmTopic": resource("AWS::SNS::Topic", "Tells.", {})}

    monkeypatch.setattr(module, "_WATCHING", {"Alarms": alarms})
    made: Document = document(stack_on("t2.xlarge"), release=RELEASE)["Resources"]
    [condition] = [name for name in made if made[name]["Type"].endswith("::WaitCondition")]
    assert made["AlarmAge"]["DependsOn"] == ["Queue", condition]
    assert "DependsOn" not in made["AlarmTopic"]
    alone = document(unique_stack())["Resources"]
    assert alone["AlarmAge"]["DependsOn"] == ["Queue"]
    assert "AlarmAge" not in document(stack_on("t2.xlarge"))["Resources"]

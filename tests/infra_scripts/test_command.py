"""``python -m infra_scripts``: exit status, output, and errors in one line."""

import io
import json
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.aws import forget
from tests.support.aws import DeployedStack


def command(*arguments: str) -> str | int | None:
    """Run ``python -m infra_scripts`` in this process; its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["infra_scripts", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("infra_scripts", run_name="__main__")
    return ended.value.code


@pytest.fixture
def configured(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> DeployedStack:
    """A deployed stack that ``config.toml`` and the environment describe."""
    for name, value in stack.settings.items():
        monkeypatch.setenv(name, value)
    return stack


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without any AWS setting."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    forget()
    yield monkeypatch
    forget()


def test_plan_deploy_destroy(configured: DeployedStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("plan") == 0
    output = capsys.readouterr().out
    assert output.startswith("account 123456789012, region eu-west-1\n")
    assert output.endswith("0 to create, 0 to update, 2 unchanged\n")
    assert command("destroy") == 0
    assert "kept      bucket" in capsys.readouterr().out
    assert command("plan") == 0
    output = capsys.readouterr().out
    assert "create    Queue (AWS::SQS::Queue)\n" in output
    assert output.endswith(" to create, 0 to update, 5 unchanged\n")  # the settings of the bucket
    assert command("deploy") == 0
    output = capsys.readouterr().out
    assert "create complete      Queue (AWS::SQS::Queue)\n" in output
    assert "next\n  put photos: python -m ingest upload FOLDER" in output


def test_deleting_data_is_confirmed(
    configured: DeployedStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed in ("", "something else\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert command("destroy", "--delete-data") == 1
        assert "nothing was deleted" in capsys.readouterr().err
    assert configured.s3.head_bucket(Bucket=configured.bucket)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{configured.bucket}\n"))
    assert command("destroy", "--delete-data") == 0
    assert "deleted   bucket" in capsys.readouterr().out
    assert command("destroy", "--delete-data", "--yes") == 0


@pytest.mark.parametrize("dead", [False, True])
def test_deleting_messages_is_confirmed(
    configured: DeployedStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dead: bool,
) -> None:
    url = configured.dead_letter_queue_url if dead else configured.queue_url
    configured.sqs.send_message(QueueUrl=url, MessageBody="an event", DelaySeconds=900)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert command("destroy") == 1
    said = capsys.readouterr()
    queue = configured.stack.dead_letter_queue if dead else configured.stack.queue
    assert f"queue {queue!r} with 1 messages" in said.out
    assert "nothing was deleted" in said.err
    assert command("plan") == 0
    assert capsys.readouterr().out.endswith("0 to create, 0 to update, 2 unchanged\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{configured.bucket}\n"))
    assert command("destroy") == 0
    assert f"deleted   queue {queue}, with 1 messages in it" in capsys.readouterr().out


def test_policy_is_json(configured: DeployedStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("policy") == 0
    document = json.loads(capsys.readouterr().out)
    assert f"arn:aws:sqs:eu-west-1:123456789012:{configured.stack.queue}" in json.dumps(document)


def test_template_needs_no_aws(
    no_aws: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_aws.setenv("FRUITS_INSTANCE__TYPE", "")
    assert command("template") == 0
    template = json.loads(capsys.readouterr().out)
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    assert {"Bucket", "Queue", "Role"} <= template["Resources"].keys()
    assert command("template", "--existing-bucket") == 0
    assert "Bucket" not in json.loads(capsys.readouterr().out)["Resources"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no usable AWS credentials"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            "no AWS region is set: set AWS_REGION",
        ),
        ({"AWS_REGION": "eu-west-1"}, "no usable AWS credentials"),
        ({"AWS_REGION": "eu-west-1", "AWS_PROFILE": "nobody"}, "(nobody)"),
        ({"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "nowhere"}, "correct AWS_ENDPOINT_URL"),
        (
            {
                "AWS_REGION": "eu-west-1",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
            },
            "check the network, AWS_ENDPOINT_URL",
        ),
        ({"FRUITS_QUEUE__NAME": "no queue"}, "queue.name"),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    no_aws: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    words: str,
) -> None:
    for name, value in environment.items():
        no_aws.setenv(name, value)
    assert command("plan") == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert words in message
    assert message.count("\n") == 1


def test_a_missing_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("plan", "--config", str(tmp_path / "none.toml")) == 1
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["plan"], ["deploy"], ["destroy"], ["policy"], ["template"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words, "--help") == 0
    assert "usage: python -m infra_scripts" in capsys.readouterr().out

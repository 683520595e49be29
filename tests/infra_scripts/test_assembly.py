"""What the configuration describes is the stack that gets deployed."""

import json
from pathlib import Path

import pytest

from common.config import load
from common.layout import BucketLayout
from infra_scripts import release
from infra_scripts.assembly import settings_of, stack_of, template_of
from infra_scripts.errors import StackError
from infra_scripts.stack import Alarms, Instance, Stack
from tests.support.aws import DeployedStack


def test_the_settings_describe_the_stack(stack: DeployedStack) -> None:
    described = stack_of(load(environment=stack.settings))
    assert described.weights
    assert described.queue == stack.stack.queue
    assert described.layout == stack.stack.layout
    assert described.visibility_timeout_seconds == stack.stack.visibility_timeout_seconds


def test_every_setting_of_the_stack_comes_from_the_configuration() -> None:
    settings = {
        "FRUITS_STORAGE__BUCKET": "pears",
        "FRUITS_STORAGE__PHOTOS_PREFIX": "raw/",
        "FRUITS_STORAGE__STORE_PREFIX": "made/",
        "FRUITS_QUEUE__NAME": "events",
        "FRUITS_QUEUE__DEAD_LETTER_NAME": "dead",
        "FRUITS_QUEUE__MAX_RECEIVES": "7",
        "FRUITS_QUEUE__VISIBILITY_TIMEOUT_SECONDS": "90",
        "FRUITS_LOGS__GROUP": "/logs",
        "FRUITS_LOGS__RETENTION_DAYS": "7",
        "FRUITS_MODEL__WEIGHTS": "s3://weights/vgg.h5",
        "FRUITS_INSTANCE__TYPE": "c7i.xlarge",
        "FRUITS_INSTANCE__VOLUME_GB": "50",
        "FRUITS_INSTANCE__CPU_CREDITS": "unlimited",
        "FRUITS_INSTANCE__SUBNET": "subnet-01234567",
        "FRUITS_ALARMS__EMAIL": "ops@pears.example",
        "FRUITS_ALARMS__OLDEST_SECONDS": "60",
        "FRUITS_ALARMS__REJECT_SHARE": "0.5",
    }
    assert stack_of(load(environment=settings)) == Stack(
        layout=BucketLayout("pears", "raw/", "made/"),
        queue="events",
        dead_letter_queue="dead",
        max_receives=7,
        visibility_timeout_seconds=90,
        log_group="/logs",
        log_retention_days=7,
        weights="s3://weights/vgg.h5",
        instance=Instance(
            type="c7i.xlarge", volume_gb=50, cpu_credits="unlimited", subnet="subnet-01234567"
        ),
        alarms=Alarms(email="ops@pears.example", oldest_seconds=60, reject_share=0.5),
    )


def test_names_that_cannot_work_together_are_rejected() -> None:
    with pytest.raises(StackError, match="a queue of their own"):
        stack_of(load(environment={"FRUITS_QUEUE__DEAD_LETTER_NAME": "fruits-photos"}))


def test_an_instance_gets_the_settings_that_are_in_effect(tmp_path: Path) -> None:
    environment = {
        "FRUITS_PCA__COMPONENTS": "0.95",
        "FRUITS_MODEL__WEIGHTS": 'a "path" of \U0001f34e',
        "FRUITS_LOGS__CLOUDWATCH": "true",
        "FRUITS_BATCH__MAX_BYTES": "1_000",
    }
    config = load(environment=environment)
    file = tmp_path / "config.toml"
    file.write_text(settings_of(config), encoding="utf-8")
    assert load(file, environment={}) == config
    assert config != load(environment={})


def test_the_template_installs_this_code_with_these_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in release.FOLDERS:
        (tmp_path / name).mkdir()
    for name in release.FILES:
        (tmp_path / name).touch()
    pack = release.pack
    monkeypatch.setattr(release, "pack", lambda stack, text: pack(stack, text, tmp_path))
    config = load(environment={"FRUITS_LOGS__RETENTION_DAYS": "7"})
    packed = pack(stack_of(config), settings_of(config), tmp_path).release
    template = template_of(config, new_bucket=True)
    assert packed.key in json.dumps(template)
    assert "Bucket" in template["Resources"]
    other = template_of(load(environment={"FRUITS_PCA__COMPONENTS": "8"}), new_bucket=False)
    assert packed.key not in json.dumps(other)
    assert "Bucket" not in other["Resources"]

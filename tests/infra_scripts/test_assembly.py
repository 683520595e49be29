"""What the configuration describes is the stack that gets deployed."""

import pytest

from common.config import load
from common.layout import BucketLayout
from infra_scripts.assembly import stack_of
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

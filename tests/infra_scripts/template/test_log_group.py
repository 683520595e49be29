"""The log group in the template."""

from infra_scripts.template.log_group import resources
from tests.support.aws import unique_stack


def test_lines_are_kept_as_long_as_configured() -> None:
    group = resources(unique_stack(log_group="/g", log_retention_days=7))["LogGroup"]
    assert group["Properties"] == {"LogGroupName": "/g", "RetentionInDays": 7}
    assert group["UpdateReplacePolicy"] == "Retain"

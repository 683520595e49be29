"""Statistics of the embedded CloudWatch: of exactly the metric that is asked for."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3

from infra_scripts.embedded import EmbeddedAws


def test_other_dimensions_are_another_metric(aws: EmbeddedAws) -> None:
    cloudwatch, space = boto3.client("cloudwatch"), f"test-{uuid4().hex}"
    queue = {"Name": "Queue", "Value": "q"}
    reason = {"Name": "Reason", "Value": "corrupt"}
    now = datetime.now(UTC).replace(microsecond=0)
    for dimensions, value in (([queue], 5), ([queue, reason], 3), ([], 1)):
        data = {"MetricName": "Rejects", "Dimensions": dimensions, "Timestamp": now, "Value": value}
        cloudwatch.put_metric_data(Namespace=space, MetricData=[data])
        (point,) = cloudwatch.get_metric_statistics(
            Namespace=space,
            MetricName="Rejects",
            Dimensions=dimensions,
            StartTime=now - timedelta(minutes=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        assert point["Sum"] == value
    cloudwatch.close()

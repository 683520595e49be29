"""Readiness: a store that lacks something is named in one line that says what to do."""

import numpy as np
import pytest

from common.layout import StoreLayout
from notebooks.readiness import NotReadyError, check
from tests.support.aws import DeployedStack
from tests.support.feature_files import commit_features, features_table


def test_what_is_missing_is_named_and_what_to_do(stack: DeployedStack) -> None:
    bucket = stack.bucket
    layout = StoreLayout(f"s3://{bucket}/")
    with pytest.raises(NotReadyError, match=r"no bucket 'no-such-bucket-\w+'.*deploy"):
        check("no-such-bucket-notebook", layout)
    with pytest.raises(NotReadyError, match=r"features has no photo yet: .*run the service"):
        check(bucket, layout)
    rows = np.ones((4, 2), np.float32)
    commit_features(layout, features_table(rows[:1]))
    with pytest.raises(NotReadyError, match=r"features has 1 photos, this needs 3"):
        check(bucket, layout)
    commit_features(layout, features_table(rows, first=1))
    with pytest.raises(NotReadyError, match=r"reduced has no matrix yet: .*processor refit") as no:
        check(bucket, layout)
    assert no.value._render_traceback_() == [f"not ready: {no.value}"]
    assert "\n" not in str(no.value)

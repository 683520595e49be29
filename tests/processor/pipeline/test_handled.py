"""Handled: what a micro-batch came to, in figures."""

from processor.pipeline.handled import Handled
from processor.pipeline.outcomes import Extracted, Kind, Outcome


def outcome(key: str, kind: Kind, reason: str = "") -> Outcome:
    return Outcome(key, kind, "1", reason)


def test_reasons_are_counted_but_not_of_what_is_left() -> None:
    handled = Handled(6)
    rejected = [outcome(key, Kind.REJECTED, "corrupt") for key in "abc"]
    others = (outcome("d", Kind.PENDING, "forbidden"), outcome("e", Kind.STORED))
    results = [Extracted(None, (*rejected,)), Extracted(None, others)]
    handled.add_reasons(results, {"c"})
    handled.add_reasons([Extracted(None, (outcome("c", Kind.REJECTED, "empty"),))], ())
    fields = handled.fields()
    assert fields["rejects"] == {"corrupt": 2, "empty": 1}
    assert fields["waits"] == {"forbidden": 1}


def test_lags_and_rates() -> None:
    handled = Handled(10, stored=3, seconds=2.0, conflicts=2, conflict_seconds=0.12345)
    assert handled.fields()["lag_max_seconds"] is None
    handled.lags += [30.0, 0.0, 5.0, 1.0]
    fields = handled.fields()
    assert (fields["lag_p50_seconds"], fields["lag_max_seconds"]) == (5.0, 30.0)
    assert (fields["conflicts"], fields["conflict_seconds"]) == (2, 0.123)
    assert (fields["photos"], fields["stored"], fields["photos_per_s"]) == (10, 3, 5.0)
    assert Handled(0).fields()["photos_per_s"] == 0.0

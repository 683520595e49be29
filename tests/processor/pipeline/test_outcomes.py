"""Outcomes: what a task returns, grouped by the fate of the photos."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from processor.pipeline.outcomes import Extracted, Kind, Outcome, of_kind
from processor.store.datafiles import DataFile

FILE = DataFile("part-1.parquet", size=1, rows=2, first_key="a", last_key="b")
OUTCOMES = st.builds(Outcome, st.text("abc"), st.sampled_from(Kind), st.sampled_from("12"))
RESULTS = st.lists(st.builds(Extracted, st.none(), st.lists(OUTCOMES, max_size=5).map(tuple)))


@given(RESULTS)
def test_every_outcome_is_of_one_kind(results: list[Extracted]) -> None:
    everything = [each for result in results for each in result.outcomes]
    assert list(of_kind(results, *Kind)) == everything
    assert list(of_kind(results)) == []
    grouped = [each for kind in Kind for each in of_kind(results, kind)]
    assert Counter(grouped) == Counter(everything)
    for kind in Kind:
        assert {each.kind for each in of_kind(results, kind)} <= {kind}


def test_a_file_holds_the_stored() -> None:
    outcomes = (
        Outcome("a", Kind.STORED, "1"),
        Outcome("c", Kind.REJECTED, "7", "empty", "no bytes"),
        Outcome("b", Kind.STORED, "2"),
        Outcome("d", Kind.UNCHANGED, "3"),
        Outcome("e", Kind.GONE),
    )
    extracted = Extracted(FILE, outcomes)
    assert extracted.stored() == {"a": "1", "b": "2"}
    (keyed,) = extracted.keyed_files()
    assert (keyed.file, keyed.object_versions) == (FILE, {"a": "1", "b": "2"})


def test_without_a_file_there_is_nothing_in_it() -> None:
    extracted = Extracted(None, (Outcome("a", Kind.GONE),))
    assert extracted.stored() == {}
    assert list(extracted.keyed_files()) == []

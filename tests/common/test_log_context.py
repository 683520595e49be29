"""The log context: fields that are bound once, in threads and in what is pickled too."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyspark import cloudpickle

from common.log_context import bound, carried, fields


def test_fields_are_bound_for_a_block() -> None:
    assert fields() == {}
    with bound(batch=1):
        with bound(key="a", batch=2):
            assert fields() == {"batch": 2, "key": "a"}
        assert fields() == {"batch": 1}
        with pytest.raises(KeyError), bound(key="b"):
            raise KeyError
        assert fields() == {"batch": 1}
    assert fields() == {}


def seen(key: str) -> tuple[str, dict[str, object]]:
    with bound(key=key):
        return key, dict(fields())


def test_threads_get_what_is_carried_and_nothing_else() -> None:
    with ThreadPoolExecutor(4) as pool, bound(batch=1):
        assert pool.submit(fields).result() == {}
        carrying = carried(seen)
        found = list(pool.map(carrying, "abcdefgh"))
    assert found == [(key, {"batch": 1, "key": key}) for key in "abcdefgh"]
    assert carrying("z") == ("z", {"batch": 1, "key": "z"})
    assert fields() == {}


def test_what_is_carried_can_be_sent_to_a_task() -> None:
    with bound(batch=1):
        sent = cloudpickle.dumps(carried(lambda: dict(fields())))
    assert pickle.loads(sent)() == {"batch": 1}

"""What the tests of the network share: one setting of TensorFlow."""

import pytest

from tests.support.drawn_weights import single_threaded_keras


@pytest.fixture(scope="session", autouse=True)
def _threads_of_tensorflow() -> None:
    """Before anything runs it: a process can set them only once, and its other tests need one."""
    single_threaded_keras()

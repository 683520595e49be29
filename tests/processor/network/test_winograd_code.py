"""winograd.c, compiled for every instruction set of this machine, against its specification in NumPy."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.network import native, winograd, winograd_file
from processor.network.weights_file import layout
from processor.network.winograd_code import LEAST_WIDTH, WinogradCode
from tests.support.native_maps import aligned, arranged, drawn, drawn_pixels, run, run_first


@pytest.fixture(scope="module", params=native.instruction_sets(), ids=lambda each: each.name)
def code(request: pytest.FixtureRequest) -> WinogradCode:
    compiler = native.compiler()
    assert compiler
    library = native.compiled(winograd_file.SOURCE, request.param, compiler)
    return WinogradCode(library, request.param)


@settings(max_examples=50, deadline=None)
@given(
    photos=st.integers(1, 20),
    inputs=st.sampled_from([64, 128]),
    outputs=st.sampled_from([64, 128, 256]),
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    pool=st.booleans(),
)
def test_a_convolution_agrees_with_the_specification(
    code: WinogradCode, photos: int, inputs: int, outputs: int, height: int, width: int, pool: bool
) -> None:
    maps, bias = drawn(1, photos, inputs, height, width), drawn(3, outputs)
    kernel = drawn(2, 3, 3, inputs, outputs) / np.float32(24)
    wanted = winograd.convolve(maps, kernel, bias, pool=pool)
    np.testing.assert_allclose(run(code, maps, kernel, bias, pool=pool), wanted, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(photos=st.integers(1, 4), height=st.integers(1, 40), width=st.integers(LEAST_WIDTH, 40))
def test_the_first_convolution_agrees_with_the_specification(
    code: WinogradCode, photos: int, height: int, width: int
) -> None:
    pixels, mean = drawn_pixels(photos, height, width), drawn(1, 3) * np.float32(100)
    kernel, bias = drawn(2, 3, 3, 3, 64), drawn(3, 64)
    wanted = winograd.convolve_pixels(pixels, mean, kernel, bias)
    found = run_first(code, pixels, mean, kernel, bias)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-2)


def test_every_layer_of_the_network_agrees_with_the_specification(code: WinogradCode) -> None:
    """In their order, each from what the one before it has computed: nothing adds up."""
    pixels, mean = drawn_pixels(2, 45, 37), drawn(1, 3) * np.float32(100)
    maps = np.zeros(0, np.float32)
    for seed, (name, shape) in enumerate(layout(include_top=False).items()):
        if name.endswith("/bias"):
            continue
        kernel = drawn(seed, *shape) * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
        bias = drawn(seed + 1, shape[-1])
        if shape[2] == 3:
            wanted = winograd.convolve_pixels(pixels, mean, kernel, bias)
            maps = run_first(code, pixels, mean, kernel, bias)
        else:
            pool = name[:12] in {
                *("block1_conv2", "block2_conv2"),
                *("block3_conv3", "block4_conv3", "block5_conv3"),
            }
            wanted = winograd.convolve(maps, kernel, bias, pool=pool)
            maps = run(code, maps, kernel, bias, pool=pool)
        distance = np.linalg.norm(maps - wanted) / np.linalg.norm(wanted)
        assert distance < 2e-6, name
    assert maps.shape == (2, 512, 1, 1)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_an_overflow_is_not_hidden(code: WinogradCode, value: float, pool: bool) -> None:
    """Neither by ReLU nor by the maximum: features that are not finite are refused."""
    maps = np.zeros((1, 64, 8, 8), np.float32)
    maps[0, 3, 4, 4] = value
    found = run(code, maps, np.full((3, 3, 64, 64), 2, np.float32), drawn(0, 64), pool=pool)
    assert not np.isfinite(found).all()


def test_threads_may_call_it_at_once(code: WinogradCode) -> None:
    maps, kernel, bias = drawn(1, 2, 64, 33, 21), drawn(2, 3, 3, 64, 64), drawn(3, 64)
    wanted = run(code, maps, kernel, bias, pool=True)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(run(code, maps, kernel, bias, pool=True)))
        for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 8
    assert all(np.array_equal(each, wanted) for each in found)


# What is refused


@pytest.mark.parametrize("shape", [(0, 64, 8, 8), (1, 64, 0, 8), (1, 64, 1, 8)])
def test_what_is_empty_or_becomes_so_is_refused(
    code: WinogradCode, shape: tuple[int, int, int, int]
) -> None:
    with pytest.raises(ValueError, match=r"(is|are) empty"):
        run(code, drawn(1, *shape), drawn(2, 3, 3, 64, 64), drawn(3, 64), pool=True)


@pytest.fixture
def arguments(code: WinogradCode) -> dict[str, np.ndarray]:
    maps = arranged(drawn(1, 2, 64, 8, 8), code.lanes)
    return {
        "maps": maps,
        "matrices": aligned(drawn(2, 36, 64 // code.together, 64, code.together)),
        "bias": aligned(drawn(3, 64)),
        "result": aligned(np.zeros(code.shape(2, 64, 8, 8), np.float32)),
        "scratch": aligned(np.zeros(code.scratch(maps, 64), np.float32)),
    }


@pytest.mark.parametrize("name", ["maps", "matrices", "bias", "result", "scratch"])
@pytest.mark.parametrize("fault", ["short", "float64", "unaligned", "strided"])
def test_memory_that_does_not_fit_is_refused(
    code: WinogradCode, arguments: dict[str, np.ndarray], name: str, fault: str
) -> None:
    code.convolve(**arguments, pool=False)
    array = arguments[name]
    match fault:
        case "short":
            arguments[name] = array[:-1]
        case "float64":
            arguments[name] = array.astype(np.float64)
        case "unaligned":
            larger = aligned(np.zeros(array.size + 1, np.float32))
            arguments[name] = larger[1:].reshape(array.shape)
        case _:
            arguments[name] = np.repeat(array, 2, axis=-1)[..., ::2]
    with pytest.raises(ValueError, match=r"wanted float32|not contiguous and aligned|is empty"):
        code.convolve(**arguments, pool=False)


def test_results_over_something_that_is_read_or_protected_are_refused(
    code: WinogradCode, arguments: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="apart from"):
        code.convolve(**arguments | {"result": arguments["maps"]}, pool=False)
    arguments["result"].flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        code.convolve(**arguments, pool=False)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 8, LEAST_WIDTH - 1, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((1, 8, 16, 3), np.uint8)[:, :, ::2],
    ],
)
def test_pixels_that_do_not_fit_are_refused(code: WinogradCode, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels"):
        run_first(code, pixels, drawn(1, 3), drawn(2, 3, 3, 3, 64), drawn(3, 64))

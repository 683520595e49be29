"""The network in ncnn's format: a complete graph, and the weights in the order of its layers."""

from pathlib import Path

import numpy as np
import pytest

from processor.errors import WeightsError
from processor.network import ncnn_graph as graph
from processor.network.engine_ncnn import import_ncnn
from processor.network.weights import Weights
from processor.network.weights_file import layout, read
from tests.support.networks import DIGEST

TOPS = pytest.mark.parametrize("top", [False, True])


class Line:
    """A layer, as ncnn reads it."""

    def __init__(self, text: str) -> None:
        self.kind, self.name, inputs, outputs, *rest = text.split()
        ends, parameters = rest[: int(inputs) + int(outputs)], rest[int(inputs) + int(outputs) :]
        self.inputs, self.outputs = ends[: int(inputs)], ends[int(inputs) :]
        self.parameters = {
            int(name): int(value) for name, value in (each.split("=") for each in parameters)
        }


def lines(top: bool) -> list[Line]:
    return [Line(each) for each in graph.text(top=top).splitlines()[2:]]


@TOPS
def test_the_header_counts_layers_and_blobs(top: bool) -> None:
    magic, counts, *rest = graph.text(top=top).splitlines()
    blobs = {blob for line in lines(top) for blob in line.outputs}
    assert (magic, counts) == ("7767517", f"{len(rest)} {len(blobs)}")


@TOPS
def test_every_blob_is_produced_once_before_it_is_used_once(top: bool) -> None:
    made: list[str] = []
    used: list[str] = []
    for line in lines(top):
        assert set(line.inputs) <= set(made), line.name
        made += line.outputs
        used += line.inputs
    assert len(set(made)) == len(made)
    assert len(set(used)) == len(used)
    results = {graph.LOWER, graph.MAPS, *([graph.DENSE] if top else [])}
    assert set(made) - set(used) == results
    assert len({line.name for line in lines(top)}) == len(lines(top))


@TOPS
def test_inputs_are_those_that_the_engine_passes(top: bool) -> None:
    inputs = {line.name for line in lines(top) if line.kind == "Input"}
    wanted = {graph.PIXELS, graph.STACK, *graph.ROWS.values(), *([graph.FLAT] if top else [])}
    assert inputs == wanted


@TOPS
def test_layers_with_weights_have_those_of_the_weights_file_in_its_order(top: bool) -> None:
    weighted = [line for line in lines(top) if line.kind in ("Convolution", "InnerProduct")]
    at = {"Convolution": 6, "InnerProduct": 2}
    found = [(line.parameters[0], line.parameters[at[line.kind]]) for line in weighted]
    shapes = layout(include_top=top)
    kernels = [shape for name, shape in shapes.items() if name.endswith("/kernel")]
    assert found == [(shape[-1], int(np.prod(shape))) for shape in kernels]


@TOPS
def test_ncnn_reads_the_text(top: bool) -> None:
    net = import_ncnn().Net()
    assert net.load_param_mem(graph.text(top=top)) == 0


def test_weights_are_written_outputs_first(weights: Weights, tmp_path: Path) -> None:
    target = tmp_path / "net.ncnn"
    graph.write(target, weights.path, weights.digest, top=False)
    data = target.read_bytes()
    target.unlink()
    at = 0
    for name, array in read(weights.path, include_top=False):
        if name.endswith("/kernel"):
            assert data[at : at + 4] == bytes(4)  # not compressed
            at += 4
            array = np.moveaxis(array, (3, 2), (0, 1))
        end = at + 4 * array.size
        found = np.frombuffer(data[at:end], "<f4").reshape(array.shape)
        assert np.array_equal(found, array), name
        at = end
    assert at == len(data)


def test_weights_with_another_digest_are_refused(weights: Weights, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"not {DIGEST}"):
        graph.write(tmp_path / "net.ncnn", weights.path, DIGEST, top=False)
    with pytest.raises(WeightsError, match="no weights file"):
        graph.write(tmp_path / "net.ncnn", tmp_path / "none.npz", DIGEST, top=False)
    (tmp_path / "net.ncnn").unlink()

"""VGG-16 as a file that other runtimes read, for the peers in `engine`.

``python -m benchmarks.peers.onnx_file WEIGHTS SIZE BATCH FOLDER`` writes FOLDER/vgg16.onnx, and
FOLDER/vgg16.mnn where MNN is installed, and prints as JSON the versions of the packages that it found.
WEIGHTS is a file as ``processor.network.weights_file`` writes it; the peers' environment needs nothing
else of the service's.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.harness.packages import installed
from benchmarks.harness.protocol import claim_stdout
from processor.network.weights_file import read

PACKAGES = ("onnx", "onnxruntime", "openvino", "MNN")
OPSET, IR_VERSION = 17, 8  # old enough for every runtime here


def main(weights: str, size: str, batch: str, folder: str) -> None:
    answers = claim_stdout()
    found = installed(PACKAGES)
    if "onnx" in found and len(found) > 1:
        model = str(Path(folder, "vgg16.onnx"))
        _write(weights, int(size), int(batch), model)
        if "MNN" in found:
            _convert_to_mnn(model, str(Path(folder, "vgg16.mnn")))
    print(json.dumps(found), file=answers)


def _convert_to_mnn(model: str, target: str) -> None:
    # MNN's extension module. The scripts around it, the command mnnconvert and MNN.tools, report
    # each use to their makers. It aborts in a process that has loaded TensorFlow.
    import _tools

    options = ["-f", "ONNX", "--modelFile", model, "--MNNModel", target, "--bizCode", "x"]
    _tools.mnnconvert(["mnnconvert", *options])


def _write(weights: str, size: int, batch: int, target: str) -> None:
    import onnx  # not at the top: it need not be installed
    from onnx import helper, numpy_helper

    arrays = dict(read(weights, include_top=False))
    constants, nodes, last = [], [], "pixels"
    names = [name.removesuffix("/kernel") for name in arrays if name.endswith("/kernel")]
    for name, following in pairwise([*names, "end"]):
        kernel = np.ascontiguousarray(arrays[f"{name}/kernel"].transpose(3, 2, 0, 1))
        constants.append(numpy_helper.from_array(kernel, f"{name}/kernel"))
        constants.append(numpy_helper.from_array(arrays[f"{name}/bias"], f"{name}/bias"))
        inputs = [last, f"{name}/kernel", f"{name}/bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}/sum"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"{name}/sum"], [name]))
        last = name
        if name.split("_")[0] != following.split("_")[0]:  # a block ends
            last = f"{name}/pool"
            pool = helper.make_node("MaxPool", [name], [last], kernel_shape=[2, 2], strides=[2, 2])
            nodes.append(pool)
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["features"]))
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("pixels", [batch, 3, size, size]), ("features", [batch, 512]))
    ]
    graph = helper.make_graph(nodes, "vgg16", ends[:1], ends[1:], constants)
    opset = helper.make_opsetid("", OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION), target)


if __name__ == "__main__":
    main(*sys.argv[1:])

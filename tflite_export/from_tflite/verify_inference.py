"""Holds the forward pass that was taken out of a .tflite file against the file itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from tflite_export import flatbuffer
from tflite_export.builder import Builder, integers
from tflite_export.evaluate import evaluate
from tflite_export.evaluate.quantization import quantize
from tflite_export.from_tflite.inference_file import InferenceFile
from tflite_export.graph import Graph, Op, Program, Tensor
from tflite_export.passes.rewrite import rewrite
from tflite_export.verify import VerificationError

TOLERANCE = 1e-5  # of ||output||, of files that compute in float32
_FAR = 0.5  # of ||output||: more than rounding to integers moves it in a network that was calibrated
_SAMPLES = 4


def verify_inference(
    file: InferenceFile,
    forward: Callable[[int], Graph],
    images: Callable[[int], Mapping[str, np.ndarray]],
    written: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    rows: int,
    stored: Callable[[int], Graph] | None = None,
) -> float | None:
    """Compares `file` in LiteRT with its float forward pass in the numpy evaluator.

    Args:
        file: the file.
        forward: gives its float forward graph, with its own head, on so many rows.
        images: gives so many random samples ``x``, as the network takes them.
        written: by kernel set, ``infer`` of the written file on `rows` samples, where that should return the same;
            empty where it has a new head.
        rows: see `written`.
        stored: gives the float forward graph that the written file stands for, where that is not `file`'s.

    Returns:
        ||file's own output - float output|| / ||float output|| of a file that rounds activations to integers; None for
        one that computes in float, which has to agree.

    Warns:
        UserWarning: what is returned is so large that the float forward pass may be another network.

    Raises:
        VerificationError: samples of a batch change each other, a float file and its forward pass differ by more than
            `TOLERANCE`, or the written file's inference does from what it should be: the float file's own, or else the
            float forward pass.
    """
    quantization = _input_quantization(file)
    x = images(_SAMPLES)["x"]
    x = x if quantization is None else _representable(quantization, x)
    expected, own = evaluate(forward(len(x)), {"x": x})["output"], _run(file, x)
    _check_rows(forward(file.input.shape[0]), x, expected)
    difference = _difference(own, expected)
    if not file.is_quantized:
        _expect(difference, "the file's own inference in LiteRT, and its graph in the numpy evaluator,")
        expected = own
    if stored is not None:
        expected = evaluate(stored(len(x)), {"x": x})["output"]
    for kernels, infer in written.items():
        got = _in_batches(infer, x, rows)
        what = "dequantised weights" if file.is_quantized or stored is not None else "original file"
        _expect(_difference(got, expected), f"the written file's inference with {kernels}, and that of the {what},")
    if difference > _FAR and file.is_quantized:
        warnings.warn(
            f"the file's own inference and that of its weights in float32, which trains, differ by {difference:.1e} of "
            "the output's norm on random input: more than rounding to integers does. Compare OnDeviceModel.predict "
            "with the file's own output on real samples before you rely on it",
            stacklevel=3,
        )
    return difference if file.is_quantized else None


def _check_rows(forward: Graph, x: np.ndarray, expected: np.ndarray) -> None:
    """That a sample gives the same whatever batch it is in, which a file of one sample a batch need not say."""
    batch = forward.inputs["x"].shape[0]
    difference = _difference(_in_batches(lambda rows: evaluate(forward, {"x": rows})["output"], x, batch), expected)
    if not difference <= TOLERANCE:
        raise VerificationError(
            f"the file's graph on {len(x)} samples at a time, and on {batch} as in the file, differ by "
            f"{difference:.1e} of the output's norm: an operator mixes the samples of a batch. Convert the model with "
            "a dynamic batch, or pass batch_size and infer_batch_size as in the file, and verify=False"
        )


def _in_batches(infer: Callable[[np.ndarray], np.ndarray], x: np.ndarray, rows: int) -> np.ndarray:
    """The output on all of `x`, so many rows at a time; the last batch is filled up by repeating samples."""
    chunks = np.arange(rows * -(-len(x) // rows)).reshape(-1, rows) % len(x)
    return np.concatenate([infer(x[chunk]) for chunk in chunks])[: len(x)]


def _expect(difference: float, what: str) -> None:
    if not difference <= TOLERANCE:
        raise VerificationError(
            f"{what} differ by {difference:.1e} of the output's norm (at most {TOLERANCE:.0e} is accepted). Please "
            "report the file; verify=False writes it regardless."
        )


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-12))


def _input_quantization(file: InferenceFile) -> Tensor | None:
    """The quantised tensor that a sample first becomes, if it does."""
    x = file.input
    if x.quantization is not None:
        return x
    return next((op.outputs[0] for op in file.graph.ops if op.kind == "QUANTIZE" and op.inputs[0] is x), None)


def _representable(tensor: Tensor, x: np.ndarray) -> np.ndarray:
    """`x` moved into the range of a quantised input, three standard deviations to either side of its middle: what
    saturates says nothing of the weights."""
    (scale,), (zero_point,) = tensor.quantization.scale, tensor.quantization.zero_point
    limits = np.iinfo(tensor.dtype)
    low, high = scale * (limits.min - zero_point), scale * (limits.max - zero_point)
    x = (low + high) / 2 + (x - x.mean()) / x.std() * (high - low) / 6
    return np.clip(x, low, high).astype(np.float32)


def _run(file: InferenceFile, x: np.ndarray) -> np.ndarray:
    """The file's output in LiteRT, as real numbers; its batch is filled up by repeating samples."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=_runnable(file), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), (out, *others) = interpreter.get_input_details(), interpreter.get_output_details()
    if others:  # of a file that `merge` wrote
        out = next(detail for detail in (out, *others) if detail["name"] == file.output.name)

    def infer(rows: np.ndarray) -> np.ndarray:
        stored = rows if file.input.quantization is None else quantize(rows, file.input)
        interpreter.set_tensor(entry["index"], stored)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    result = _in_batches(infer, x, file.input.shape[0])
    if file.output.quantization is None:
        return result.astype(np.float64)
    (scale,), (zero_point,) = file.output.quantization.scale, file.output.quantization.zero_point
    return scale * (result.astype(np.float64) - zero_point)


def _runnable(file: InferenceFile) -> bytes:
    """The file, where axes that lie apart are reversed one after the other: LiteRT's REVERSE_V2 takes no such axes."""

    def lie_apart(op: Op) -> bool:
        return op.kind == "REVERSE_V2" and bool(np.any(np.diff(_axes(op)) != 1))

    def one_by_one(b: Builder, op: Op) -> Tensor | None:
        if not lie_apart(op):
            return None
        y, result = op.inputs[0], op.outputs[0]
        for axis in _axes(op):
            y = b.op(op.kind, (y, integers([axis])), result.shape, result.dtype, quantization=result.quantization)
        return y

    if not any(map(lie_apart, file.graph.ops)):
        return file.content
    return flatbuffer.write(Program((rewrite(file.graph, {"REVERSE_V2": one_by_one}),)))


def _axes(op: Op) -> np.ndarray:
    return np.sort(op.inputs[1].data.ravel() % len(op.inputs[0].shape))

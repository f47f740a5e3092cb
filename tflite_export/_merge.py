"""`merge`: what a device learned, as a plain inference file. `load_into`: the same, back into the Keras model."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import warnings
from collections.abc import Mapping

import numpy as np

from tflite_export import checksum, flatbuffer, micro_program
from tflite_export.atomic import write_atomically
from tflite_export.description import fingerprint
from tflite_export.evaluate import evaluate
from tflite_export.files import read_file
from tflite_export.graph import Graph, Op, Program, Tensor, Variable, substitute
from tflite_export.lowering import frozen_weights
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.common_subexpressions import merge_common_subexpressions
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.fold_scales import fold_scales
from tflite_export.passes.kernels_in_parts import join_products
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.recover_convolutions import recover_convolutions, trim_padding
from tflite_export.runtime.info import MERGED_METADATA_NAME, METADATA_NAME, parse_info
from tflite_export.runtime.state import State, check_belongs, merged_class_names, read_latest_state
from tflite_export.schedule import schedule
from tflite_export.validation import check_destination

_KEPT = ("class_names", "input_scale", "input_offset", "input_shape", "output_activation", "fingerprint")
_SLOTS = ("momentum", "m", "v")  # beside the variable that they belong to
_STEP = "step"  # Adam's count

StateSource = Mapping[str, np.ndarray] | str | os.PathLike


def merge(trainable_path: str | os.PathLike, state: StateSource, path: str | os.PathLike) -> None:
    """Writes a .tflite that only infers: an exported file with the weights of `state` for good.

    Its one signature is ``infer`` of the exported file, with the same inputs and outputs and nothing of training left:
    the weights are constants, folded into kernels and biases as TensorFlow's converter would. The metadata
    ``tinytl_inference`` keeps class names and input scale. Needs neither TensorFlow nor Keras.

    Args:
        trainable_path: a file that `tflite_export.export` wrote, for LiteRT or TFLite Micro.
        state: what `OnDeviceModel.save` wrote, or the trained variables by name; those of the optimizer are left out.
        path: where the file goes. It appears whole or not at all.

    Raises:
        FileNotFoundError: one of the files does not exist.
        ValueError: one of them is damaged or of another kind, or the state is another model's; the message names what
            differs. Or `path` is one of them. Nothing is written. (In place of a damaged state, a good one that `save`
            kept beside it is taken, with a warning.)
    """
    sources = (trainable_path, *(() if isinstance(state, Mapping) else (state,)))
    check_destination(path, sources, "what can go on learning")
    program, info = _trainable(pathlib.Path(trainable_path))
    state = _state(state, info["fingerprint"])
    expected = {entry["name"]: (tuple(entry["shape"]), entry["dtype"]) for entry in info["trainables"]}
    check_belongs(_without_slots(state), expected, info["fingerprint"])
    info["class_names"] = merged_class_names(info["class_names"], state.class_names, info["classes"])
    graph = _baked(_inference(program), _stored(program, state.tensors))
    metadata = {MERGED_METADATA_NAME: json.dumps({name: info[name] for name in _KEPT}, ensure_ascii=False).encode()}
    write_atomically(path, checksum.seal(flatbuffer.write(Program((graph,), {**metadata, **checksum.METADATA}))))


def load_into(keras_model, state: StateSource) -> None:
    """Gives the trainable weights of a Keras model what an exported file of it has learned.

    Args:
        keras_model: the model that was exported. Weights are found by their path.
        state: as for `merge`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: names or shapes differ, or the frozen weights do, as far as `state` tells; nothing has then changed.
    """
    weights = {v.path: v for v in keras_model.trainable_variables}
    variables = tuple(Variable(path, np.array(v.numpy())) for path, v in weights.items())
    own = fingerprint(frozen_weights(keras_model, variables), variables)
    state = _without_slots(_state(state, own))
    try:
        check_belongs(state, {v.name: (v.shape, v.dtype) for v in variables}, own)
    except ValueError as error:
        raise ValueError(
            f"{error}\nThe model must be as it was exported, with the same weights trainable: those before the layer "
            "of train_from are frozen. Layers without a name are numbered through the whole process: name them, or "
            "build the model again in a new one."
        ) from None
    for name, value in state.tensors.items():
        weights[name].assign(value)


def _state(source: StateSource, own_fingerprint: str) -> State:
    """A state; arrays by themselves do not tell which model they belong to."""
    if isinstance(source, Mapping):
        return State({name: np.asarray(value) for name, value in source.items()}, own_fingerprint)
    state, damage = read_latest_state(source)
    if damage is not None:
        warnings.warn(damage, stacklevel=3)
    return state


def _without_slots(state: State) -> State:
    """`state` without what belongs to the optimizer."""
    slots = {f"{name}/{slot}" for name in state.tensors for slot in _SLOTS} | {_STEP}
    kept = {name: value for name, value in state.tensors.items() if name not in slots}
    return dataclasses.replace(state, tensors=kept)


def _trainable(path: pathlib.Path) -> tuple[Program, dict]:
    """The program and the info of a file that `export` wrote."""
    content = read_file(path, "a .tflite file that trains", "tflite_export.export (`tinytl export`) writes one.")
    if checksum.is_intact(content) is False:
        raise ValueError(f"{path} is damaged: its checksum does not agree. Copy it again.")
    try:
        program = flatbuffer.checked(content)  # numpy will compute what follows from constants
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if METADATA_NAME not in program.metadata:
        raise ValueError(f"{path} lacks the metadata {METADATA_NAME!r}: merge takes files of tflite_export.export")
    if checksum.is_intact(content) is None:
        raise ValueError(f"{path} has lost its checksum. Copy it again.")
    return program, parse_info(program.metadata[METADATA_NAME])


def _inference(program: Program) -> Graph:
    """The inference pass: the signature ``infer``, or the branch that TFLite Micro's entry takes with mode 0."""
    graphs = {graph.name: graph for graph in program.signatures}
    if "infer" in graphs:
        return graphs["infer"]
    (entry,) = (op for graph in program.signatures for op in graph.ops if op.kind == "IF")
    branch: Graph = entry.attributes["else_graph"]
    names = graphs[micro_program.ENTRY]
    inputs = dict(zip((name for name in names.inputs if name != "mode"), branch.inputs.values(), strict=True))
    outputs = dict(zip(names.outputs, branch.outputs.values(), strict=True))
    return branch.replace(
        name="infer", inputs={"x": inputs["x"]}, outputs={name: outputs[name] for name in ("output", "logits")}
    )


def _stored(program: Program, values: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Every variable of the file by its name there, once ``restore`` has put `values` into them: some are
    packed or in parts."""
    restore = next((graph for graph in program.signatures if graph.name == "restore"), None)
    if restore is None:
        return values
    given = {name: values.get(name, np.zeros(x.shape, x.dtype)) for name, x in restore.inputs.items()}
    variables: dict[Variable, np.ndarray] = {}
    evaluate(restore, given, variables, precision="float32")
    return {variable.name: value for variable, value in variables.items()}


def _baked(graph: Graph, values: Mapping[str, np.ndarray]) -> Graph:
    """`graph` with the variables' values as constants, folded and in the form that LiteRT's kernels do best."""
    graph = _with_constants(graph, values)
    graph = recover_convolutions(join_products(fold_constants(canonicalise(graph))))
    graph = trim_padding(canonicalise(graph))
    graph = fold_scales(merge_common_subexpressions(graph))
    graph = remove_dead_code(legalise_builtin(graph))
    return schedule(graph)


def _with_constants(graph: Graph, values: Mapping[str, np.ndarray]) -> Graph:
    constants: dict[Tensor, Tensor] = {}
    kept: list[Op] = []
    for op in graph.ops:
        if op.kind == "READ_VARIABLE":
            value = np.asarray(values[op.attributes["variable"].name])
            constants[op.outputs[0]] = dataclasses.replace(op.outputs[0], data=value)
        else:
            kept.append(op)
    return graph.replace(ops=substitute(kept, constants))

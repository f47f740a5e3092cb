"""What a .tflite file must keep to before anybody builds on it: one function for each thing that can be wrong.

They look at the schema's unpacked model, whose structure `check_structure` has seen. Where LiteRT would crash, loop or
read foreign memory on a file that breaks a rule, the rule says so. Sources: LiteRT's core/tools/verifier.cc,
core/interpreter_builder.cc and core/subgraph.cc.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from tflite_export.flatbuffer import options
from tflite_export.flatbuffer.model import DTYPES, KINDS, builtin_code, called_subgraphs, has_values, kind, text, vector

_LARGEST_TENSOR = 2**31 - 1  # bytes; kernels count in int32
_MOST_AXES = 8
_DEEPEST_BRANCH = 16
_OPTIONS_LEFT_OUT = ("CAST", "RESHAPE")  # by TensorFlow's converter: the tensors say the same
_LARGEST_EXPANSION = 100  # initial values that FILL makes, against the bytes of the file


def check_model(model, file_bytes: int) -> None:
    """Refuses a model that does not keep to the format's rules.

    Args:
        model: a `schema.ModelT`.
        file_bytes: size of the file.

    Raises:
        ValueError: with the names of tensor, operator and subgraph, and what is wrong.
    """
    _check_version(model)
    _check_operator_codes(model)
    _check_buffers(model)
    for subgraph in _subgraphs(model):
        for tensor in subgraph.tensors or []:
            _check_tensor(model, tensor, subgraph)
        _check_ends(subgraph)
        for op in subgraph.operators or []:
            _check_operands(model, op, subgraph)
            _check_options(model, op, subgraph)
        _check_order(model, subgraph)
        _check_resources(model, subgraph)
    _check_signatures(model)
    _check_calls(model)
    _check_initialisation(model, file_bytes)
    _check_metadata(model)


# The file


def _check_version(model) -> None:
    if model.version != 3:
        raise ValueError(f"the file has version {model.version} of the schema, 3 is expected")


def _check_operator_codes(model) -> None:
    for code in model.operatorCodes or []:
        number = builtin_code(code)
        if number not in KINDS:
            raise ValueError(f"the file uses the operator number {number}, which the schema does not know")
        if code.version < 1:
            raise ValueError(f"{KINDS[number]} has version {code.version}, 1 or more is expected")


def _check_buffers(model) -> None:
    if not model.buffers:
        raise ValueError("the file has no buffers; the first, empty one is for tensors without values")
    if model.buffers[0].data is not None and len(model.buffers[0].data):
        raise ValueError("buffer 0, which is for tensors without values, has values")
    for i, buffer in enumerate(model.buffers):
        if buffer.offset > 1:  # 0 and 1 stand for none
            raise ValueError(f"buffer {i} lies behind the flatbuffer, as in files above 2 GB: not supported")


def _check_metadata(model) -> None:
    entries = model.metadata or []
    _check_distinct("metadata", (text(entry.name) for entry in entries))
    for entry in entries:
        if entry.buffer >= len(model.buffers):
            raise ValueError(f"the metadata {text(entry.name)!r} is in buffer {entry.buffer} of {len(model.buffers)}")
        if text(entry.name) == options.OFFSETS:
            _check_offsets(model, model.buffers[entry.buffer].data)


def _check_offsets(model, data) -> None:
    """TFLite Micro's own plan: version, subgraph, how many tensors, an offset for each (-1 for none)."""
    tensors = sum(len(subgraph.tensors or []) for subgraph in model.subgraphs)
    table = np.frombuffer(b"" if data is None else bytes(data), np.uint8)
    table = table.view("<i4") if table.size % 4 == 0 else table[:0]
    if table.size != 3 + tensors or table[2] != tensors or (table[3:] < -1).any():
        raise ValueError(f"the metadata {options.OFFSETS} does not hold an offset for each of {tensors} tensors")


# Tensors


def _check_tensor(model, tensor, subgraph) -> None:
    name = f"tensor {text(tensor.name)!r} of {_name(subgraph)}"
    shape = [int(n) for n in vector(tensor.shape)]
    if tensor.type not in DTYPES:
        raise ValueError(f"{name} has the dtype number {tensor.type}, which the schema does not know")
    if len(shape) > _MOST_AXES or any(n < 0 for n in shape):
        raise ValueError(f"{name} has shape {shape}; at most {_MOST_AXES} axes, none negative, are expected")
    signature = [int(n) for n in vector(tensor.shapeSignature)]
    # An axis of open size stands as 1: a batch of millions in one number would have every operator work on it.
    agrees = len(signature) == len(shape) and all(n == (1 if s == -1 else s) for s, n in zip(signature, shape))
    if signature and not agrees:
        raise ValueError(f"{name} has shape {shape} and the shape signature {signature}, which contradict each other")
    if tensor.isVariable:
        raise ValueError(f"{name} is a tensor that keeps its values between runs: not supported")
    if tensor.buffer >= len(model.buffers):
        raise ValueError(f"{name} has its values in buffer {tensor.buffer} of {len(model.buffers)}")
    _check_values(name, DTYPES[tensor.type], shape, model.buffers[tensor.buffer].data)
    if tensor.quantization is not None:
        _check_quantization(name, DTYPES[tensor.type], shape, tensor.quantization)


def _check_values(name: str, dtype: str, shape: list[int], data) -> None:
    """As many bytes as shape and dtype say; for tensors without values, a size that kernels can count."""
    found = 0 if data is None else len(data)
    item = _itemsize(dtype)
    if item is None:
        if found:
            raise ValueError(
                f"{name} is a constant of dtype {dtype}: not supported. Convert the model with weights in float32, "
                "float16 or int8"
            )
        return
    size = math.prod(shape) * item
    # Kernels multiply some of the sizes: an axis of size 0 hides no overflow.
    if math.prod(max(n, 1) for n in shape) * item > _LARGEST_TENSOR:
        raise ValueError(f"{name} of {dtype}{shape} has more than {_LARGEST_TENSOR} bytes")
    if found and found != size:
        raise ValueError(f"{name}: {found} bytes do not hold {dtype}{shape}, which takes {size}")


def _itemsize(dtype: str) -> int | None:
    """Bytes of a number; None for dtypes that numpy itself has no form of: TensorFlow registers some, as int4."""
    try:
        known = np.dtype(dtype)
    except TypeError:
        return None
    return known.itemsize if known.isbuiltin == 1 else None


def _check_quantization(name: str, dtype: str, shape: list[int], entry) -> None:
    scale, zero_point = (np.asarray(vector(values)) for values in (entry.scale, entry.zeroPoint))
    if not scale.size:
        if zero_point.size:
            raise ValueError(f"{name} has {zero_point.size} zero points and no scale")
        return
    if not np.isfinite(scale).all() or (scale <= 0).any():
        raise ValueError(f"{name} has a scale that is zero, negative or not finite")
    if zero_point.size not in (0, scale.size):
        raise ValueError(f"{name} has {scale.size} scales and {zero_point.size} zero points")
    axis = entry.quantizedDimension
    if not 0 <= axis < max(len(shape), 1):
        raise ValueError(f"{name} is quantized along axis {axis}, and has {len(shape)} axes")
    if scale.size > 1 and (not shape or scale.size != shape[axis]):
        raise ValueError(f"{name} has {scale.size} scales for axis {axis} of {shape}")
    limits = np.iinfo(dtype) if dtype in ("int8", "uint8", "int16") else np.iinfo(np.int32)
    if zero_point.size and (zero_point.min() < limits.min or zero_point.max() > limits.max):
        raise ValueError(f"{name} has a zero point outside {dtype}, {limits.min} to {limits.max}")


# Operators


def _check_ends(subgraph) -> None:
    """The subgraph's inputs and outputs are tensors of it."""
    for role, indices in (("inputs", vector(subgraph.inputs)), ("outputs", vector(subgraph.outputs))):
        for index in indices:
            if not 0 <= index < len(subgraph.tensors or []):
                raise ValueError(f"{_name(subgraph)} has tensor {index} among its {role}, and no such tensor")
    if len({*vector(subgraph.inputs)}) < len(vector(subgraph.inputs)):
        raise ValueError(f"{_name(subgraph)} takes one tensor as two inputs")


def _check_operands(model, op, subgraph) -> None:
    if op.opcodeIndex >= len(model.operatorCodes or []):
        raise ValueError(f"an operator of {_name(subgraph)} has code {op.opcodeIndex}, and the file has no such code")
    count = len(subgraph.tensors or [])
    for role, indices, lowest in (("reads", vector(op.inputs), -1), ("writes", vector(op.outputs), 0)):
        for index in indices:
            if not lowest <= index < count:
                raise ValueError(f"{_op_name(model, op, subgraph)} {role} tensor {index} of {count}")
    if len(vector(op.intermediates)):
        raise ValueError(f"{_op_name(model, op, subgraph)} has intermediate tensors: not supported")


def _check_options(model, op, subgraph) -> None:
    """The options are of the operator's own type, and there where kernels would read them unset."""
    this = kind(model, op)
    expected = options.table_name(this)
    unneeded = expected is None or this in _OPTIONS_LEFT_OUT or not options.defaults(expected)
    if op.builtinOptions is None and unneeded:
        return
    found = type(op.builtinOptions).__name__.removesuffix("T") if op.builtinOptions is not None else "no options"
    if found != expected:
        raise ValueError(f"{_op_name(model, op, subgraph)} has {found}, {expected or 'none'} are expected")


def _check_order(model, subgraph) -> None:
    """Every operator reads what is there by then, and writes what nobody else does; so there is no cycle."""
    constants = {i for i, t in enumerate(subgraph.tensors or []) if has_values(model, t)}
    inputs = {int(i) for i in vector(subgraph.inputs)}
    if inputs & constants:
        raise ValueError(f"{_name(subgraph)} takes the constant {_tensor_name(subgraph, min(inputs & constants))}")
    there = constants | inputs
    for op in subgraph.operators or []:
        for index in vector(op.inputs):
            if index >= 0 and index not in there:
                name = _tensor_name(subgraph, index)
                raise ValueError(f"{_op_name(model, op, subgraph)} reads {name} before any operator writes it")
        for index in vector(op.outputs):
            if index in there:
                what = "a constant" if index in constants else "an input" if index in inputs else "written already"
                name = _tensor_name(subgraph, index)
                raise ValueError(f"{_op_name(model, op, subgraph)} writes {name}, which is {what}")
            there.add(int(index))
    for index in vector(subgraph.outputs):
        if index not in there:
            raise ValueError(f"{_name(subgraph)} gives {_tensor_name(subgraph, index)}, which no operator writes")


def _check_resources(model, subgraph) -> None:
    """Handles of variables go from VAR_HANDLE to READ_VARIABLE and ASSIGN_VARIABLE, nowhere else."""
    tensors = subgraph.tensors or []
    handles = {i for i, tensor in enumerate(tensors) if DTYPES[tensor.type] in ("resource", "variant")}
    for op in subgraph.operators or []:
        this, reads, writes = kind(model, op), list(vector(op.inputs)), list(vector(op.outputs))
        counts = {"VAR_HANDLE": (0, 1), "READ_VARIABLE": (1, 1), "ASSIGN_VARIABLE": (2, 0), "CALL_ONCE": (0, 0)}
        if this in counts and (len(reads), len(writes)) != counts[this]:
            raise ValueError(f"{_op_name(model, op, subgraph)} has {len(reads)} inputs and {len(writes)} outputs")
        if this in (*counts, "FILL", "IF") and -1 in reads:
            raise ValueError(f"{_op_name(model, op, subgraph)} has an absent operand")
        used = {*writes} if this == "VAR_HANDLE" else {*reads[:1]} if this.endswith("_VARIABLE") else set()
        others = {*reads, *writes} - used
        if not used <= handles or others & handles:
            raise ValueError(f"{_op_name(model, op, subgraph)} and handles of variables do not go together")
    ends = {*vector(subgraph.inputs), *vector(subgraph.outputs)}
    if ends & handles:
        raise ValueError(f"{_name(subgraph)} takes or gives the handle {_tensor_name(subgraph, min(ends & handles))}")


# Subgraphs and signatures


def _subgraphs(model) -> list:
    if not model.subgraphs:
        raise ValueError("the file has no subgraph")
    return model.subgraphs


def _check_signatures(model) -> None:
    signatures = model.signatureDefs or []
    _check_distinct("signatures", (text(s.signatureKey) for s in signatures))
    _check_distinct("signatures with the subgraph", (s.subgraphIndex for s in signatures))
    with_signature = {signature.subgraphIndex for signature in signatures}
    for signature in signatures:
        name = f"the signature {text(signature.signatureKey)!r}"
        if signature.subgraphIndex >= len(model.subgraphs):
            raise ValueError(f"{name} is subgraph {signature.subgraphIndex} of {len(model.subgraphs)}")
        subgraph = model.subgraphs[signature.subgraphIndex]
        for role, maps, ends in (
            ("inputs", signature.inputs or [], vector(subgraph.inputs)),
            ("outputs", signature.outputs or [], vector(subgraph.outputs)),
        ):
            _check_distinct(f"{role} of {name} called", (text(entry.name) for entry in maps))
            if {entry.tensorIndex for entry in maps} != {int(i) for i in ends}:
                raise ValueError(f"the {role} of {name} are not those of its subgraph")
    for index, subgraph in enumerate(model.subgraphs):
        if index not in with_signature:  # its tensors' names stand for a signature's
            for role, ends in (("inputs", subgraph.inputs), ("outputs", subgraph.outputs)):
                _check_distinct(
                    f"{role} of {_name(subgraph)} called", (_tensor_name(subgraph, i) for i in vector(ends))
                )


def _check_calls(model) -> None:
    """Subgraphs that operators run: they exist, none runs itself, a branch belongs to one IF and is no signature."""
    called: dict[int, list[int]] = {}
    branches = Counter()
    init = set()
    for caller, subgraph in enumerate(model.subgraphs):
        for op in subgraph.operators or []:
            for index in called_subgraphs(model, op):
                if not 0 <= index < len(model.subgraphs):
                    raise ValueError(f"{_op_name(model, op, subgraph)} runs subgraph {index} of {len(model.subgraphs)}")
                called.setdefault(caller, []).append(index)
                if kind(model, op) == "CALL_ONCE":
                    init.add(index)
                else:
                    branches[index] += 1
    _check_no_recursion(model, called)
    for index in branches:
        if branches[index] > 1 or index in init:
            raise ValueError(f"{_name(model.subgraphs[index])} is run by several operators: not supported")
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex in branches or signature.subgraphIndex in init:
            raise ValueError(f"the signature {text(signature.signatureKey)!r} is run by an operator too: not supported")


def _check_no_recursion(model, called: dict[int, list[int]]) -> None:
    """Takes away, again and again, the subgraphs that run none of those that are left."""
    left, depth = {i: {*called.get(i, ())} for i in range(len(model.subgraphs))}, 0
    while left:
        leaves = {i for i, runs in left.items() if not runs & left.keys()}
        depth += 1
        if not leaves:
            raise ValueError(f"{_name(model.subgraphs[min(left)])} runs itself")
        if depth > _DEEPEST_BRANCH:
            raise ValueError(f"subgraphs run each other more than {_DEEPEST_BRANCH} deep")
        left = {i: runs for i, runs in left.items() if i not in leaves}


def _check_initialisation(model, file_bytes: int) -> None:
    """What CALL_ONCE runs makes constants variables, and nothing else; and every variable is initialised once."""
    init = {i for s in model.subgraphs for op in s.operators or [] if _is(model, op, "CALL_ONCE")
            for i in called_subgraphs(model, op)}  # fmt: skip
    initialised, filled = Counter(), 0
    for index in init:
        subgraph = model.subgraphs[index]
        if len(vector(subgraph.inputs)) or len(vector(subgraph.outputs)):
            raise ValueError(f"{_name(subgraph)}, which CALL_ONCE runs, has inputs or outputs")
        for op in subgraph.operators or []:
            this = kind(model, op)
            if this not in ("VAR_HANDLE", "ASSIGN_VARIABLE", "FILL"):
                raise ValueError(f"{_op_name(model, op, subgraph)} initialises variables: not supported")
            filled += _check_fill(model, op, subgraph) if this == "FILL" else 0
        initialised.update(_variables(model, subgraph, "ASSIGN_VARIABLE"))
    if filled > _LARGEST_EXPANSION * file_bytes:
        raise ValueError(f"initial values of {filled} bytes, in a file of {file_bytes}")
    for index, subgraph in enumerate(model.subgraphs):
        for name in _variables(model, subgraph, "READ_VARIABLE", "ASSIGN_VARIABLE") if index not in init else ():
            if not initialised[name]:
                raise ValueError(f"{_name(subgraph)} uses the variable {name!r}, which has no initial value")
    twice = sorted(name for name, count in initialised.items() if count > 1)
    if twice:
        raise ValueError(f"the variable {twice[0]!r} is initialised twice")


def _check_fill(model, op, subgraph) -> int:
    """The bytes that a FILL of an initial value makes: its shape is a constant, and its output's."""
    name = _op_name(model, op, subgraph)
    tensors = [subgraph.tensors[i] for i in (*vector(op.inputs), *vector(op.outputs))]
    if len(tensors) != 3 or not all(has_values(model, tensor) for tensor in tensors[:2]):
        raise ValueError(f"{name} needs a constant shape and number")
    shape, number, output = tensors
    if DTYPES[shape.type] not in ("int32", "int64") or number.type != output.type or len(vector(number.shape)):
        raise ValueError(f"{name} needs an integer shape, and a number of its output's dtype")
    data = model.buffers[shape.buffer].data  # None of a scalar, whose shape has no sizes
    wanted = np.asarray([] if data is None else data, np.uint8).view(DTYPES[shape.type])
    if wanted.tolist() != [int(n) for n in vector(output.shape)]:
        raise ValueError(f"{name} makes shape {wanted.tolist()}, and its output has another")
    return math.prod(wanted.tolist()) * _itemsize(DTYPES[output.type])


def _variables(model, subgraph, *kinds: str) -> Iterator[str]:
    """The names of the variables that operators of `kinds` use, once for each."""
    names = {}
    for op in subgraph.operators or []:
        if _is(model, op, "VAR_HANDLE"):
            names[int(op.outputs[0])] = text(op.builtinOptions.sharedName)
        elif kind(model, op) in kinds:
            yield names[int(op.inputs[0])]


# What the checks speak of


def _check_distinct(what: str, names: Iterable) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"there are two {what} {twice[0]!r}")


def _is(model, op, name: str) -> bool:
    return kind(model, op) == name


def _name(subgraph) -> str:
    return f"subgraph {text(subgraph.name)!r}"


def _tensor_name(subgraph, index: int) -> str:
    return repr(text(subgraph.tensors[index].name))


def _op_name(model, op, subgraph) -> str:
    outputs = [i for i in vector(op.outputs) if 0 <= i < len(subgraph.tensors or [])]
    writes = f" of {_tensor_name(subgraph, outputs[0])}" if outputs else ""
    return f"{kind(model, op)}{writes} in {_name(subgraph)}"

"""What ``<model>_save`` writes and ``<model>_restore`` takes: bytes in C, a safetensors file in Python.

Little endian: ``TTLS``, the format's version uint32, 16 bytes of the fingerprint, steps int32, the payload's bytes
uint32, 12 zeros, the CRC-32 of all of it with zeros in its place; then float32: the trained variables, then what the
optimiser keeps of each, in the order and the layout of the manifest.
"""

from __future__ import annotations

import json
import os
import pathlib
import struct
import zlib

import numpy as np

from tflite_export.atomic import write_atomically
from tflite_export.runtime.state import State, read_state, write_state

MAGIC = b"TTLS"
FORMAT_VERSION = 1
HEADER = struct.Struct("<4sI16siI12sI")


def fingerprint_bytes(fingerprint: str) -> bytes:
    """The 16 bytes of an export's fingerprint."""
    return bytes.fromhex(fingerprint)


def pack(manifest: dict, state: State) -> bytes:
    """`state` as ``<model>_restore`` takes it.

    Raises:
        ValueError: it is another model's; the message names what differs.
    """
    expected = {entry["name"]: tuple(entry["shape"]) for entry in manifest["state"]}
    found = {name: tensor.shape for name, tensor in state.tensors.items() if name != "step"}
    if state.fingerprint != manifest["fingerprint"] or found != expected:
        odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ValueError(
            f"the state belongs to another model than {manifest['name']!r}: fingerprint {state.fingerprint}, expected "
            f"{manifest['fingerprint']}; variables that differ: {', '.join(odd) or 'none'}"
        )
    payload = b"".join(
        np.ascontiguousarray(np.transpose(state.tensors[entry["name"]], entry["permutation"]), "<f4").tobytes()
        for entry in manifest["state"]
    )
    fields = [MAGIC, FORMAT_VERSION, fingerprint_bytes(manifest["fingerprint"]), state.step, len(payload), bytes(12)]
    crc = zlib.crc32(payload, zlib.crc32(HEADER.pack(*fields, 0)))
    return HEADER.pack(*fields, crc) + payload


def unpack(manifest: dict, content: bytes) -> State:
    """What ``<model>_save`` wrote, in Keras's values and layouts.

    Raises:
        ValueError: it is damaged, or another model's.
    """
    size = HEADER.size + 4 * sum(int(np.prod(entry["shape"])) for entry in manifest["state"])
    if len(content) != size:
        raise ValueError(f"a state of {manifest['name']!r} has {size} bytes, got {len(content)}")
    *fields, crc = HEADER.unpack(content[: HEADER.size])
    payload = content[HEADER.size :]
    magic, version, fingerprint, steps, length, _ = fields
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(f"this is no state of format {FORMAT_VERSION}: it begins with {magic!r}, version {version}")
    if zlib.crc32(payload, zlib.crc32(HEADER.pack(*fields, 0))) != crc or length != len(payload):
        raise ValueError("the state is damaged: its CRC-32 does not agree. Read it from the device again")
    if fingerprint != fingerprint_bytes(manifest["fingerprint"]):
        raise ValueError(f"the state belongs to another model than {manifest['name']!r}: its fingerprint differs")
    values, tensors, at = np.frombuffer(payload, "<f4"), {}, 0
    for entry in manifest["state"]:
        permutation = entry["permutation"]
        stored = [entry["shape"][axis] for axis in permutation]
        count = int(np.prod(stored))
        value = values[at : at + count].reshape(stored)
        tensors[entry["name"]] = np.ascontiguousarray(np.transpose(value, np.argsort(permutation)), np.float32)
        at += count
    if manifest["counts_steps"]:
        tensors["step"] = np.array([steps], np.float32)
    return State(tensors, manifest["fingerprint"], steps, manifest["class_names"])


def to_safetensors(manifest_path, saved: bytes, path: str | os.PathLike) -> None:
    """Writes what ``<model>_save`` wrote as a state file for `OnDeviceModel.restore` and `tflite_export.load_into`.

    Args:
        manifest_path: the ``<model>.json`` that `generate` wrote.
        saved: the bytes from the device.
        path: of the safetensors file.

    Raises:
        ValueError: they are damaged, or of another model.
    """
    write_state(path, unpack(read_manifest(manifest_path), saved))


def from_safetensors(manifest_path, path: str | os.PathLike) -> bytes:
    """The bytes that ``<model>_restore`` takes, of a state file.

    Raises:
        ValueError: the state is damaged, or of another model.
    """
    return pack(read_manifest(manifest_path), read_state(path))


def read_manifest(path: str | os.PathLike) -> dict:
    """The ``<model>.json`` beside a generated program."""
    return json.loads(pathlib.Path(path).read_text())


def write_manifest(program, path: pathlib.Path) -> None:
    """Names, shapes and layouts of what the program saves."""
    state, train = [], program.train
    for slot in ("", *program.slots):
        for variable in program.variables:
            layout = program.layouts[variable.name]
            name = f"{variable.name}/{slot}" if slot else variable.name
            state.append({"name": name, "shape": layout.shape, "permutation": layout.permutation})
    manifest = {
        "name": program.name,
        "fingerprint": program.description.fingerprint,
        "class_names": program.description.class_names,
        "input": {"shape": train.inputs["x"].shape, "dtype": train.inputs["x"].dtype},
        "labels": train.inputs["y"].dtype,
        "outputs": next(iter(program.infer.outputs.values())).size,
        "saved_bytes": program.saved_bytes,
        "counts_steps": program.optimizer.counts_steps,
        "description": json.loads(program.description.to_json()),
        "state": state,
    }
    write_atomically(path, json.dumps(manifest, indent=1, ensure_ascii=False).encode())

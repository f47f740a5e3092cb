"""A numpy stand-in for LiteRT's interpreter, and a .tflite file that holds no more than the runtime looks at.

The stand-in is softmax regression on x [4] with three outputs: ``logits = x @ KERNEL + bias``. It keeps the contract of
an exported file (mean over valid rows, no valid row or a non-finite output changes nothing), so that the tests beside
it check the host's side alone.
"""

import json

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_export import checksum

CLASSES, BATCH, INFER_BATCH = 3, 4, 2
KERNEL = np.linspace(-1, 1, 4 * CLASSES, dtype=np.float32).reshape(4, CLASSES)
INFO = {
    "format_version": 1,
    "class_names": None,
    "classes": CLASSES,
    "outputs": CLASSES,
    "input_scale": 0.5,
    "input_offset": -1.0,
    "input_shape": [4],
    "batch_size": BATCH,
    "infer_batch_size": INFER_BATCH,
    "loss": "sparse_categorical_crossentropy",
    "label_smoothing": 0.0,
    "output_activation": "softmax",
    "optimizer": {"name": "sgd"},
    "trainables": [{"name": "head/bias", "shape": [CLASSES], "dtype": "float32"}],
    "fingerprint": "c0ffee",
    "micro_batch": None,
    "clip_norm": None,
    "activation_gradients": "exact",
}


def write_file(path, signatures=("infer", "train", "save", "restore", "info"), **changes):
    """Writes a file with one empty subgraph, these signature names, and `INFO` with `changes`; returns `path`."""
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.inputs, subgraph.outputs, subgraph.operators = [], [], [], []
    contents = {"tinytl": json.dumps({**INFO, **changes}).encode(), checksum.METADATA_NAME: checksum.PLACEHOLDER}
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, []
    model.subgraphs, model.metadata, model.buffers = [subgraph], [], [schema.BufferT()]
    for name, content in contents.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer, buffer.data = name, len(model.buffers), np.frombuffer(content, np.uint8)
        model.metadata.append(entry)
        model.buffers.append(buffer)
    model.signatureDefs = []
    for name in signatures:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = name, 0
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(checksum.seal(bytes(builder.Output())))
    return path


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Interpreter:
    """Takes the place of ai_edge_litert's. Every run but that of ``info`` is noted in `calls`: the signature's name and
    its inputs."""

    calls: list  # set by the fixture, shared by all interpreters of a test

    def __init__(self, model_path, num_threads=None, experimental_op_resolver_type=None):
        self.bias = np.zeros(CLASSES, np.float32)

    def get_signature_runner(self, name):
        runner = _Runner()
        runner.run, runner.calls, runner.name = getattr(self, name), self.calls, name
        return runner

    def infer(self, x):
        assert x.shape == (INFER_BATCH, 4) and x.dtype == np.float32
        logits = x @ KERNEL + self.bias
        return {"output": softmax(logits), "logits": logits}

    def train(self, x, y, learning_rate):
        assert x.shape == (BATCH, 4) and x.dtype == np.float32 and y.shape == (BATCH,) and y.dtype == np.int32
        logits = x @ KERNEL + self.bias
        valid = (y >= 0) & (y < CLASSES)
        count = max(valid.sum(), 1)
        probabilities, target = softmax(logits), np.eye(CLASSES, dtype=np.float32)[np.where(valid, y, 0)]
        loss = -(np.log((probabilities * target).sum(axis=1)) * valid).sum() / count
        gradient = ((probabilities - target) * valid[:, None]).sum(axis=0) / count
        if np.isfinite(logits).all():
            self.bias = (self.bias - learning_rate * gradient).astype(np.float32)
        correct = ((logits.argmax(axis=1) == y) & valid).sum()
        return {"loss": np.array([loss], np.float32), "correct": np.array([correct], np.int32)}

    def info(self, request):
        return {"json": np.zeros(1, np.uint8)}

    def save(self, request):
        return {"head/bias": self.bias.copy()}

    def restore(self, **variables):
        self.bias = variables["head/bias"].copy()
        return {"ok": np.ones(1, np.float32)}


class _Runner:
    def __call__(self, **inputs):
        if self.name != "info":  # which only sets the variables
            self.calls.append((self.name, inputs))
        return self.run(**inputs)

    def get_input_details(self):
        return {"head/bias": {"shape": np.array([CLASSES], np.int32), "dtype": np.float32}}

    def get_output_details(self):
        return {"output": {"shape": np.array([INFER_BATCH, CLASSES], np.int32), "dtype": np.float32}}

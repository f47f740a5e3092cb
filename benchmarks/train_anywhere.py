"""Trains an exported file in whatever TFLite runtime this Python has; needs numpy and the runtime, nothing of ours.

    python train_anywhere.py model.tflite builtin|xnnpack batches.npz results.npz

`batches.npz` holds x [steps, batch, …], y [steps, batch] and learning_rate. Two thirds of the steps are taken by one
interpreter, which then saves; another restores that and takes the rest. `results.npz` gets the losses, the outputs of
infer for the first row of x, and every variable before ("before/<name>") and after ("after/<name>"). Prints the
runtime's name and version.
"""

import importlib.metadata
import sys

import numpy as np

RUNTIMES = ("ai_edge_litert", "tflite_runtime", "tensorflow.lite.python")


def main(model, kernels, batches, results):
    runtime, module = find_runtime()
    resolver = module.OpResolverType.AUTO
    if kernels == "builtin":
        resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    request = np.zeros(1, np.float32)

    def fresh():
        interpreter = module.Interpreter(model, experimental_op_resolver_type=resolver, num_threads=1)
        return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}

    data = np.load(batches)
    stop = 2 * len(data["x"]) // 3
    first, second = fresh(), fresh()
    before = first["save"](request=request)
    losses = train(first, data, slice(None, stop))
    second["restore"](**first["save"](request=request))
    losses += train(second, data, slice(stop, None))
    after = second["save"](request=request)
    output = second["infer"](x=data["x"][0, :1])["output"]
    np.savez(
        results,
        losses=losses,
        output=output,
        **{"before/" + name: value for name, value in before.items()},
        **{"after/" + name: value for name, value in after.items()},
    )
    print(runtime)


def find_runtime():
    """Name with version, and module, of the first runtime that is installed."""
    for name in RUNTIMES:
        try:
            module = importlib.import_module(name + ".interpreter")
        except ImportError:
            continue
        package = name.split(".")[0].replace("_", "-")
        return f"{package} {importlib.metadata.version(package)}", module
    raise SystemExit("none of these is installed: " + ", ".join(RUNTIMES))


def train(signatures, data, part):
    rate = np.asarray(data["learning_rate"], np.float32).reshape(1)
    return [
        float(signatures["train"](x=x, y=y, learning_rate=rate)["loss"][0])
        for x, y in zip(data["x"][part], data["y"][part])
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])

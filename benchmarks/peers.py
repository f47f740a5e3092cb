"""Memory of the same training step in other frameworks, each measured in a fresh process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import peer_network
from fresh_process import growth_of
from settings import Setting

# What has to be imported, and what pip installs for that.
PEERS = {
    "tensorflow": ("tensorflow", "tensorflow"),
    "torch": ("torch", "torch"),
    "onnxruntime-training": ("onnxruntime.training.api", "onnxruntime-training==1.19.2 onnx==1.17.0 cerberus"),
}
_HERE = Path(__file__).resolve().parent


class Unavailable(Exception):
    """The peer cannot take this step here; the message says why, and what to do."""


def growth(peer: str, setting: Setting, folder: Path, python: str | None) -> int:
    """Bytes by which VmHWM grows in a few training steps of `peer`.

    Args:
        python: the Python that it is installed in; None: this one.

    Raises:
        Unavailable: it is not installed there, or has no such method.
    """
    python = sys.executable if peer == "tensorflow" else python or sys.executable
    check_installed(peer, python)
    if peer == "tensorflow":
        path = folder / "peer.keras"
        setting.model().save(path)
        shape = map(str, setting.model().input_shape[1:])
        return growth_of([python, str(_HERE / "peer_tensorflow.py"), str(path), str(setting.batch_size), *shape])
    if setting.method not in ("bias", "full"):
        raise Unavailable("bias and full only")
    network = folder / "peer.npz"
    peer_network.save(setting.stock_file(folder, setting.batch_size), network)
    if peer == "torch":
        return growth_of([python, str(_HERE / "peer_torch.py"), str(network), setting.method])
    script, prepared = str(_HERE / "peer_onnxruntime_training.py"), folder / "peer"
    prepared.mkdir(exist_ok=True)
    command = [python, script, "prepare", str(network), setting.method, str(prepared)]
    subprocess.run(command, check=True, capture_output=True)
    return growth_of([python, script, "run", str(network), str(prepared)])


def check_installed(peer: str, python: str) -> None:
    """Raises Unavailable if it is not."""
    module, packages = PEERS[peer]
    result = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True)
    if result.returncode != 0:
        raise Unavailable(f"not in {python}: pip install {packages}")

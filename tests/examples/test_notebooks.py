"""The notebooks run from top to bottom, in a kernel of their own and an empty folder."""

import os
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason='notebooks need `pip install "tinytl-keras[test]"`: no nbformat')
nbclient = pytest.importorskip("nbclient", reason='notebooks need `pip install "tinytl-keras[test]"`: no nbclient')
pytest.importorskip("ipykernel", reason='notebooks need `pip install "tinytl-keras[test]"`: no ipykernel')

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"
LARGEST = 100_000  # bytes


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


@pytest.fixture
def kernel_environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # plots become outputs of their cells


def test_quickstart_runs(kernel_environment, tmp_path):
    notebook = read("quickstart.ipynb")
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    text = "".join(printed(cell) for cell in notebook.cells if cell.cell_type == "code")
    before, after = map(float, re.search(r"([\d.]+)% right before, ([\d.]+)% after", text).groups())
    assert before < 50 and after > 80
    assert "lite_residual" in text and "arena, training step" in text
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in str(output)]
    assert len(pictures) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"digits.tflite", "digits.safetensors"}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path):
    assert path.stat().st_size < LARGEST
    code = [cell for cell in read(path.name).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)

"""The device has no TensorFlow: importing the runtime must not import it even where it is installed."""

import subprocess
import sys


def test_the_runtime_imports_neither_tensorflow_nor_keras():
    code = """
import sys
import tflite_export.runtime
heavy = {"tensorflow", "keras", "tf_keras", "matplotlib", "PIL", "sklearn"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

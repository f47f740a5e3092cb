"""The Android example on the JVM: its tests train real files in LiteRT, and its app compiles against Android's classes.

Maven runs offline; where packages are missing it may fetch them (about 200 MB) from Maven Central, if that answers.
"""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.examples import maven_central
from tests.examples.goldens.check import check_trained
from tests.examples.goldens.write_goldens import NETS

ANDROID = Path(__file__).parents[2] / "examples/android"
MISSING = re.compile(r"offline mode|has not been downloaded|Could not (resolve|transfer|find)|Failed to (read|collect)")


@pytest.fixture(scope="module")
def states(fresh_goldens, tmp_path_factory):
    """The folder in which the Kotlin tests, run on fresh files, have left their states."""
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("needs mvn and a JDK")
    out = tmp_path_factory.mktemp("states")
    command = ["mvn", "-q", "-B", f"-Dtinytl.goldens={fresh_goldens}", f"-Dtinytl.out={out}", "test"]
    result = _run([*command, "--offline"])
    if result.returncode and MISSING.search(result.stdout):
        if not maven_central.reachable():
            pytest.skip(f"Maven's packages are not on this machine, and {maven_central.HOST} does not answer")
        result = _run(command)
        if result.returncode and MISSING.search(result.stdout):
            pytest.skip(f"Maven could not fetch its packages: {MISSING.search(result.stdout)[0]}")
    assert result.returncode == 0, result.stdout
    return out


def _run(command):
    return subprocess.run(
        command, cwd=ANDROID, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800
    )


@pytest.mark.parametrize("net", NETS)
def test_the_app_compiles_and_python_goes_on_with_what_kotlin_trained(states, fresh_goldens, net):
    check_trained(states / net / "kotlin.safetensors", fresh_goldens / net)


def test_the_trainer_imports_nothing_of_android():
    for source in (ANDROID / "trainer/src/main").rglob("*.kt"):
        assert not re.search(r"^import android", source.read_text(), re.MULTILINE), source


def test_maven_knows_the_strings_that_gradle_makes():
    strings = ElementTree.parse(ANDROID / "app/src/main/res/values/strings.xml").getroot()
    names = {string.get("name") for string in strings} - {"app_name"}  # the manifest's
    assert set(re.findall(r"const val (\w+)", (ANDROID / "app/src/maven/kotlin/R.kt").read_text())) == names

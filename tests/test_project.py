"""What packaging promises: the device's installation has no TensorFlow, and every extra is part of [all]."""

import importlib
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w-]+", requirement).group().lower() for requirement in requirements}


def test_neither_the_core_nor_the_device_extra_needs_tensorflow():
    heavy = {"tensorflow", "keras", "tf-keras", "matplotlib"}
    assert not heavy & names(PROJECT["dependencies"])
    assert not heavy & names(PROJECT["optional-dependencies"]["device"])


def test_all_holds_every_extra_but_test():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "test"}
    (everything,) = PROJECT["optional-dependencies"]["all"]
    assert set(re.search(r"\[(.*)\]", everything).group(1).split(",")) == extras


def test_constraints_pin_every_requirement_of_the_tests():
    extras = PROJECT["optional-dependencies"]
    needed = names(PROJECT["dependencies"]).union(*(names(extras[e]) for e in ("test", "demo", "device", "train")))
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert needed - {"tinytl-keras"} <= pinned


def test_the_command_tinytl_is_a_function_of_ours():
    module, function = PROJECT["scripts"]["tinytl"].split(":")
    assert callable(getattr(importlib.import_module(module), function))

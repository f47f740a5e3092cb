"""`tinytl <verb> …`: finds the verb, parses its flags, and says what went wrong in one line."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from absl import flags, logging

from tflite_export.cli.failure import Failure, in_one_line

VERBS = {
    "convert": "a .keras model: freezes it, and adds what trains",
    "export": "a converted .keras model to a .tflite that trains",
    "make-trainable": "a .tflite that only infers to one that trains",
    "memory": "where the memory of a training step of a .keras model goes",
    "train": "a .tflite, on a folder of images with one subfolder per class",
    "infer": "the likeliest classes of images",
    "evaluate": "accuracy and confusions on a folder of images",
    "merge": "what was learned into a .tflite that only infers",
    "inspect": "what stands in any .tflite",
}
_HELP = ("help", "--help", "-h", "-help")
INTERRUPTED, WRONG_USE, FAILED = 130, 2, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, without the program's name, and returns its exit status: 0 where all went well."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with contextlib.suppress(AttributeError):  # where something else stands in for the terminal
        sys.stdout.reconfigure(errors="replace")  # a class or file name that the terminal cannot show
    if not arguments or arguments in ([word] for word in _HELP):
        print(overview())
        return 0
    verb, *rest = arguments
    if verb in _HELP:
        verb, rest = rest[0], ["--help"]
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, 1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        return _say(f"tinytl: there is no {verb!r}.{meant} `tinytl help` lists what there is.", WRONG_USE)
    try:
        status = _run(importlib.import_module(f"tflite_export.cli.{verb.replace('-', '_')}"), verb, rest)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        return _say(f"\ntinytl {verb}: {str(interrupt) or 'interrupted; nothing was changed.'}", INTERRUPTED)
    except BrokenPipeError:  # such as | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed
        return FAILED
    except ModuleNotFoundError as error:
        return _say(f'tinytl {verb}: {in_one_line(error)}: pip install "tinytl-keras[device]"', FAILED)
    except (Failure, OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError) as error:
        return _say(f"tinytl {verb}: {in_one_line(error)}", FAILED)


def _run(module, verb: str, arguments: list[str]) -> int:
    if set(arguments) & set(_HELP[1:]):
        print(help_of(module))
        return 0
    logging.get_absl_handler().setFormatter(None)
    module.FLAGS.set_gnu_getopt()  # flags may stand behind the files
    try:
        operands = module.FLAGS(["tinytl", *arguments])[1:]
        _check_count(operands, module.OPERANDS)
    except (flags.Error, Failure) as error:
        return _say(f"tinytl {verb}: {in_one_line(error)} See `tinytl {verb} --help`.", WRONG_USE)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say(f"tinytl {verb}: {in_one_line(message)}")
        return module.run(*operands) or 0


def _check_count(operands: list[str], names: Sequence[str]) -> None:
    if len(operands) < len(names):
        raise Failure(f"{names[len(operands)].removesuffix(' …')} is missing.")
    if len(operands) > len(names) and not names[-1].endswith("…"):
        raise Failure(f"too much: {' '.join(operands[len(names) :])}.")


def overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {what}" for verb, what in VERBS.items()]
    return "\n".join(
        [
            "tinytl: models that learn on the device.",
            "",
            *lines,
            "",
            "`tinytl <verb> --help` says more. All but convert, export and memory run without TensorFlow.",
        ]
    )


def help_of(module) -> str:
    """What the module says of itself, the usage among it, and each of its flags in a line."""
    named = [(f"--{name}", module.FLAGS[name]) for name in module.FLAGS]
    width = max((len(name) for name, _ in named), default=0)
    lines = [
        f"  {name:<{width}}  {flag.help}" + ("" if flag.default is None else f" Default: {flag.default}.")
        for name, flag in named
    ]
    return "\n".join([module.__doc__.strip(), "", *lines]).rstrip()


def _say(line: str, status: int = 0) -> int:
    print(line, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())

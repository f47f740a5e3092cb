"""The header of a program."""

from __future__ import annotations

from tflite_export.micro.program import MicroProgram
from tflite_export.micro.source import signature


def header(program: MicroProgram) -> str:
    """The text of ``<name>.h``."""
    name, prefix = program.name, program.name.upper()
    x = program.train.inputs["x"]
    shape = "[" + ", ".join(map(str, x.shape[1:])) + "]"
    (logits,) = program.infer.outputs.values()
    description = program.description
    pixels = (
        f"pixels; the program makes them pixel * {description.input_scale:g} + {description.input_offset:g}"
        if x.dtype == "uint8"
        else f"float32; of pixels: pixel * {description.input_scale:g} + {description.input_offset:g}"
    )
    y = (
        f"y: the class, 0 to {logits.size - 1}; a step on any other changes nothing."
        if program.train.inputs["y"].dtype == "int32"
        else f"y: float32 [{logits.size}]; a step on targets with a NaN changes nothing."
    )
    names = "".join(
        f"#define {prefix}_CLASS_{i} {_string(str(text))}\n" for i, text in enumerate(description.class_names or ())
    )
    return f"""/* {name}: a network that learns. Written by tflite_export.micro.generate.
 *
 * x: {shape}, {pixels}.
 * {y}
 * Every function but {name}_reset returns 0, or what tinytl/types.h and tinytl/program.h say. None may be called while
 * another one runs: they share one arena.
 */
#ifndef {prefix}_H
#define {prefix}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {prefix}_INPUT_SIZE {x.size}
#define {prefix}_OUTPUTS {logits.size}
#define {prefix}_TRAINABLES {program.trainable_count}
#define {prefix}_ARENA_BYTES {program.arena_bytes}
#define {prefix}_RAM_STATE_BYTES {program.state_bytes} /* what is trained, in RAM */
#define {prefix}_STATE_BYTES {program.saved_bytes} /* what _save writes */
{names}
/* Where x may lie: in the arena, which a step and an inference overwrite, so fill it before each. An x elsewhere, in
 * flash or a buffer of your own, is left as it is. */
{"float" if x.dtype == "float32" else "uint8_t"} *{name}_input(void);

/* The values that the program was generated with. Call this, or _restore, before anything else. */
void {name}_reset(void);

/* One step of training: *loss is that before the step, NaN where x or the output is not finite; then, and for a y that
 * does not count, nothing changes. *correct: whether the output was right. */
int {signature(program, "train_step")};

/* logits[{prefix}_OUTPUTS]. */
int {signature(program, "infer")};

/* The state, for flash or another device: fingerprint of the network and CRC-32 included. */
int {name}_save(uint8_t buffer[{prefix}_STATE_BYTES]);

/* Checks fingerprint and CRC-32 before anything changes. */
int {name}_restore(const uint8_t buffer[{prefix}_STATE_BYTES]);

#ifdef __cplusplus
}}
#endif
#endif
"""


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

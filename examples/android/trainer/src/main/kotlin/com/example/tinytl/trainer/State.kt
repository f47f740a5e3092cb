package com.example.tinytl.trainer

/** What was learned: every variable by name, and which file it belongs to. */
class State(
    val tensors: Map<String, Values>,
    val fingerprint: String,
    /** Training steps since the factory weights. */
    val step: Long,
    /** Class names, those added on the device included; null where the file names none. */
    val classNames: List<String>?,
) {
    /** A tensor: [data] holds its values in row-major order, little endian. [dtype] is safetensors': "F32", "I32". */
    class Values(val dtype: String, val shape: List<Int>, val data: ByteArray) {
        fun sameKind(other: Values) = dtype == other.dtype && shape == other.shape

        override fun toString() = "$dtype$shape"
    }
}

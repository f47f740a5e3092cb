package com.example.tinytl.trainer

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** What an exported file says about itself: the part of its `info` JSON that training on images needs. */
class ModelInfo(
    /** Outputs of the head. */
    val classes: Int,
    /** Fewer than [classes] where the head has spare outputs; null where the file names none. */
    val classNames: List<String>?,
    /** Height, width and channels of one image. */
    val inputShape: List<Int>,
    /** A pixel in 0..255 becomes `pixel * inputScale + inputOffset`. */
    val inputScale: Float,
    val inputOffset: Float,
    /** Rows of a step. */
    val batchSize: Int,
    /** Rows that `accumulate` takes at once; null where the file has `train`. */
    val microBatch: Int?,
    val inferBatchSize: Int,
    /** Of the frozen weights: a state belongs to one file. */
    val fingerprint: String,
) {
    /** Values of one image. */
    val inputSize = inputShape.fold(1, Int::times)

    companion object {
        private const val FORMAT_VERSION = 1
        private const val LOSS = "sparse_categorical_crossentropy"

        /** Throws IllegalArgumentException if this app cannot train a file of this description. */
        fun parse(json: String): ModelInfo {
            try {
                val info = JSONObject(json)
                val version = info.getInt("format_version")
                require(version == FORMAT_VERSION) {
                    "The model has format version $version, and this app reads version $FORMAT_VERSION. Export it again."
                }
                val loss = info.getString("loss")
                require(loss == LOSS) { "This app trains classifiers, with the loss $LOSS. The model has: $loss." }
                return ModelInfo(
                    classes = info.getInt("classes"),
                    classNames = if (info.isNull("class_names")) null else info.getJSONArray("class_names").strings(),
                    inputShape = info.getJSONArray("input_shape").let { shape -> List(shape.length(), shape::getInt) },
                    inputScale = info.getDouble("input_scale").toFloat(),
                    inputOffset = info.getDouble("input_offset").toFloat(),
                    batchSize = info.getInt("batch_size"),
                    microBatch = if (info.isNull("micro_batch")) null else info.getInt("micro_batch"),
                    inferBatchSize = info.getInt("infer_batch_size"),
                    fingerprint = info.getString("fingerprint"),
                )
            } catch (error: JSONException) {
                throw IllegalArgumentException("The model's info cannot be used: ${error.message}", error)
            }
        }
    }
}

internal fun JSONArray.strings(): List<String> = List(length(), ::getString)

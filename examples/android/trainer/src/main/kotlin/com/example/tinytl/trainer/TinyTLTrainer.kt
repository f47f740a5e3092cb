package com.example.tinytl.trainer

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.exp
import kotlin.random.Random
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor

/** [image]: [ModelInfo.inputSize] bytes, rows of RGB pixels. [label]: an index into [TinyTLTrainer.classNames]. */
class Sample(val image: ByteArray, val label: Int)

/**
 * Of one step: mean loss and number correct over its [count] rows, both from before the update. [skipped]: the network's
 * outputs or gradients were not finite, and the file has changed nothing.
 */
data class StepResult(val loss: Float, val correct: Int, val count: Int, val skipped: Boolean)

/** Means over the steps of an epoch that were not skipped; NaN where all were. */
data class EpochResult(val loss: Float, val accuracy: Float, val skippedSteps: Int)

/**
 * An exported file that infers, trains, and keeps what it learned, on images and class indices.
 *
 * Nothing here knows of Android. Not thread-safe, as [Interpreter] is not: call it from one thread.
 *
 * @param interpreter of a file that `tflite_export.export` wrote; closed by [close].
 */
class TinyTLTrainer(private val interpreter: Interpreter) : Closeable {
    val info: ModelInfo
    private val fileClassNames: List<String>

    /** Of the file, and behind them those added since. */
    var classNames: List<String>
        private set

    /** Training steps since the factory weights that changed something. */
    var steps = 0L
        private set

    init {
        val missing = setOf("infer", "save", "restore", "info") - interpreter.signatureKeys.toSet()
        require(missing.isEmpty()) { "The model lacks the signatures $missing: it is no file that tflite_export wrote." }
        val json = output("info", "json")
        interpreter.runSignature(mapOf("request" to floats(0f)), mapOf("json" to json), "info")
        info = ModelInfo.parse(String(json.bytes(), Charsets.UTF_8))
        fileClassNames = info.classNames ?: List(info.classes) { "class $it" }
        classNames = fileClassNames
    }

    /** Names the next spare output, so that it can be trained and predicted; returns its index. */
    fun addClass(name: String): Int {
        require(name.isNotBlank()) { "The name of a class must not be empty." }
        require(name !in classNames) { "There is a class $name already." }
        require(classNames.size < info.classes) {
            "All ${info.classes} outputs have a name. Convert with a larger num_classes to keep some spare."
        }
        classNames = classNames + name
        return classNames.lastIndex
    }

    /** One epoch in random order. [onStep] hears of every step, as "done of all"; what it throws ends the epoch. */
    fun trainEpoch(
        samples: List<Sample>,
        learningRate: Float,
        random: Random = Random.Default,
        onStep: (done: Int, all: Int) -> Unit = { _, _ -> },
    ): EpochResult {
        val batches = samples.shuffled(random).chunked(info.batchSize)
        val results = batches.mapIndexed { index, batch ->
            trainStep(batch, learningRate).also { onStep(index + 1, batches.size) }
        }
        val taken = results.filterNot { it.skipped }
        val count = taken.sumOf { it.count }
        val loss = taken.sumOf { it.loss.toDouble() * it.count } / count
        return EpochResult(loss.toFloat(), taken.sumOf { it.correct } / count.toFloat(), results.size - taken.size)
    }

    /** One step of the optimizer on 1 to [ModelInfo.batchSize] samples; fewer are padded exactly. */
    fun trainStep(samples: List<Sample>, learningRate: Float): StepResult {
        require(samples.size in 1..info.batchSize) {
            "This file trains on batches of 1 to ${info.batchSize} samples. Received: ${samples.size}."
        }
        require(learningRate >= 0 && learningRate.isFinite()) { "A learning rate must be finite and >= 0: $learningRate" }
        samples.forEach {
            require(it.label in classNames.indices) { "A label must be in ${classNames.indices}. Received: ${it.label}." }
        }
        val result = if (info.microBatch == null) train(samples, learningRate) else accumulate(samples, learningRate)
        if (!result.skipped) steps++
        return result
    }

    private fun train(samples: List<Sample>, learningRate: Float): StepResult {
        val inputs = batch(samples, info.batchSize) + mapOf("learning_rate" to floats(learningRate))
        val (loss, correct) = lossAndCorrect("train", inputs)
        return StepResult(loss, correct, samples.size, skipped = loss.isNaN())
    }

    private fun accumulate(samples: List<Sample>, learningRate: Float): StepResult {
        val rows = checkNotNull(info.microBatch)
        var (loss, correct) = 0.0 to 0
        val applied = output("apply", "applied")
        try {
            for (part in samples.chunked(rows)) {
                val (mean, right) = lossAndCorrect("accumulate", batch(part, rows))
                loss += mean.toDouble() * part.size
                correct += right
            }
            interpreter.runSignature(
                mapOf("learning_rate" to floats(learningRate)), mapOf("applied" to applied), "apply",
            )
        } catch (error: Throwable) {
            restore(variables()) // drops what was accumulated, which the next step would add to
            throw error
        }
        return StepResult((loss / samples.size).toFloat(), correct, samples.size, skipped = applied.getInt(0) == 0)
    }

    private fun lossAndCorrect(signature: String, inputs: Map<String, Any>): Pair<Float, Int> {
        val outputs = mapOf("loss" to output(signature, "loss"), "correct" to output(signature, "correct"))
        interpreter.runSignature(inputs, outputs, signature)
        return outputs.getValue("loss").getFloat(0) to outputs.getValue("correct").getInt(0)
    }

    /** The probability of each of [classNames], per image. */
    fun predict(images: List<ByteArray>): List<FloatArray> = images.chunked(info.inferBatchSize).flatMap { part ->
        val logits = output("infer", "logits")
        interpreter.runSignature(
            mapOf("x" to pixels(part, info.inferBatchSize)), mapOf("logits" to logits), "infer",
        )
        part.indices.map { row -> softmax(FloatArray(classNames.size) { logits.getFloat(4 * (row * info.classes + it)) }) }
    }

    /** Writes every variable to [file], whole or not at all. */
    @Throws(IOException::class)
    fun save(file: File) {
        StateFile.write(file, State(variables(), info.fingerprint, steps, classNames.takeIf { info.classNames != null }))
    }

    /**
     * Puts back what [save] wrote, here or on another device.
     *
     * Throws IOException if the file is damaged, IllegalArgumentException if it belongs to another model; nothing has then
     * changed. An IllegalArgumentException while it restores is LiteRT's.
     */
    @Throws(IOException::class)
    fun restore(file: File) {
        val state = StateFile.read(file)
        checkBelongs(state)
        restore(state.tensors)
        classNames = fileClassNames + state.classNames.orEmpty().drop(fileClassNames.size)
        steps = state.step
    }

    private fun checkBelongs(state: State) {
        val expected = interpreter.getSignatureInputs("restore").associateWith { name ->
            interpreter.getInputTensorFromSignature(name, "restore").run { State.Values(dtype(), shape().toList(), NONE) }
        }
        val different = (expected.keys + state.tensors.keys).filterNot { name ->
            expected[name]?.sameKind(state.tensors[name] ?: return@filterNot false) ?: false
        }
        require(different.isEmpty()) {
            "The state belongs to another model or optimizer; nothing was restored. " +
                different.sorted().take(5).joinToString { "$it: expected ${expected[it]}, found ${state.tensors[it]}" }
        }
        require(state.fingerprint == info.fingerprint) {
            "The state belongs to another export of the model; nothing was restored. It is of ${state.fingerprint}, the " +
                "model is ${info.fingerprint}."
        }
        val names = state.classNames.orEmpty()
        require(info.classNames == null || names.size <= info.classes &&
            fileClassNames.zip(names).all { (ours, theirs) -> ours == theirs }) {
            "The state names other classes; nothing was restored. The model: $fileClassNames. The state: $names."
        }
    }

    private fun variables(): Map<String, State.Values> {
        val tensors = interpreter.getSignatureOutputs("save").associateWith {
            interpreter.getOutputTensorFromSignature(it, "save")
        }
        val buffers = tensors.mapValues { (_, tensor) -> direct(tensor.numBytes()) }
        interpreter.runSignature(mapOf("request" to floats(0f)), buffers, "save")
        return tensors.mapValues { (name, tensor) ->
            State.Values(tensor.dtype(), tensor.shape().toList(), buffers.getValue(name).bytes())
        }
    }

    private fun restore(tensors: Map<String, State.Values>) {
        val buffers = tensors.mapValues { (_, values) -> direct(values.data.size).put(values.data).apply { rewind() } }
        interpreter.runSignature(buffers, mapOf("ok" to output("restore", "ok")), "restore")
    }

    private fun batch(samples: List<Sample>, rows: Int): Map<String, Any> {
        val labels = direct(4 * rows)
        repeat(rows) { labels.putInt(samples.getOrNull(it)?.label ?: IGNORED) }
        labels.rewind()
        return mapOf("x" to pixels(samples.map { it.image }, rows), "y" to labels)
    }

    private fun pixels(images: List<ByteArray>, rows: Int): ByteBuffer {
        val x = direct(4 * rows * info.inputSize)
        for (image in images) {
            require(image.size == info.inputSize) {
                "An image must have ${info.inputSize} bytes, ${info.inputShape}. Received: ${image.size}."
            }
            image.forEach { x.putFloat((it.toInt() and 0xff) * info.inputScale + info.inputOffset) }
        }
        x.rewind()
        return x
    }

    private fun output(signature: String, name: String): ByteBuffer =
        direct(interpreter.getOutputTensorFromSignature(name, signature).numBytes())

    override fun close() = interpreter.close()

    private companion object {
        const val IGNORED = -1 // the label of a row that does not count
        val NONE = ByteArray(0)

        fun direct(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())

        fun floats(value: Float): ByteBuffer = direct(4).putFloat(value).apply { rewind() }

        fun ByteBuffer.bytes() = ByteArray(capacity()).also {
            rewind()
            get(it)
        }

        fun Tensor.dtype() = when (val type = dataType()) {
            DataType.FLOAT32 -> "F32"
            DataType.INT32 -> "I32"
            else -> throw IllegalArgumentException("The variable ${name()} is of type $type; expected: FLOAT32, INT32.")
        }

        fun softmax(logits: FloatArray): FloatArray {
            val largest = logits.max()
            val powers = FloatArray(logits.size) { exp(logits[it] - largest) }
            return FloatArray(powers.size) { powers[it] / powers.sum() }
        }
    }
}

package org.tensorflow.lite

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.bytedeco.javacpp.BytePointer
import org.bytedeco.tensorflowlite.TfLiteInterpreter
import org.bytedeco.tensorflowlite.TfLiteModel
import org.bytedeco.tensorflowlite.TfLiteSignatureRunner
import org.bytedeco.tensorflowlite.TfLiteTensor
import org.bytedeco.tensorflowlite.global.tensorflowlite.*

/**
 * Stands in for Android's Interpreter on a computer, where the AAR has no native code: the methods that the trainer calls,
 * on LiteRT's C API from JavaCPP's presets. It refuses what the original refuses.
 */
class Interpreter(file: File) : AutoCloseable {
    private val model: TfLiteModel = requireNotNull(TfLiteModelCreateFromFile(file.path)) { "$file is no model" }
    private val interpreter: TfLiteInterpreter
    private val runners: Map<String, TfLiteSignatureRunner>

    init {
        val options = TfLiteInterpreterOptionsCreate()
        TfLiteInterpreterOptionsSetNumThreads(options, 1)
        interpreter = TfLiteInterpreterCreate(model, options)
        TfLiteInterpreterOptionsDelete(options)
        runners = List(TfLiteInterpreterGetSignatureCount(interpreter)) {
            TfLiteInterpreterGetSignatureKey(interpreter, it).string
        }.associateWith { TfLiteInterpreterGetSignatureRunner(interpreter, it) }
    }

    fun getSignatureKeys(): Array<String> = runners.keys.toTypedArray()

    fun getSignatureInputs(key: String): Array<String> = runner(key).let { runner ->
        Array(TfLiteSignatureRunnerGetInputCount(runner).toInt()) { TfLiteSignatureRunnerGetInputName(runner, it).string }
    }

    fun getSignatureOutputs(key: String): Array<String> = runner(key).let { runner ->
        Array(TfLiteSignatureRunnerGetOutputCount(runner).toInt()) { TfLiteSignatureRunnerGetOutputName(runner, it).string }
    }

    fun getInputTensorFromSignature(name: String, key: String): Tensor =
        NativeTensor(requireNotNull(TfLiteSignatureRunnerGetInputTensor(runner(key), name)) { "$key has no input $name" })

    fun getOutputTensorFromSignature(name: String, key: String): Tensor =
        NativeTensor(requireNotNull(TfLiteSignatureRunnerGetOutputTensor(runner(key), name)) { "$key has no output $name" })

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, key: String) {
        require(inputs.keys == getSignatureInputs(key).toSet()) { "$key takes ${getSignatureInputs(key).toList()}" }
        val runner = runner(key)
        check(TfLiteSignatureRunnerAllocateTensors(runner) == kTfLiteOk)
        for ((name, value) in inputs) {
            val tensor = NativeTensor(TfLiteSignatureRunnerGetInputTensor(runner, name))
            tensor.buffer().put(tensor.checked(value))
        }
        check(TfLiteSignatureRunnerInvoke(runner) == kTfLiteOk) { "$key failed" }
        for ((name, value) in outputs) {
            val tensor = NativeTensor(TfLiteSignatureRunnerGetOutputTensor(runner, name))
            tensor.checked(value).put(tensor.buffer())
        }
    }

    override fun close() {
        runners.values.forEach(::TfLiteSignatureRunnerDelete)
        TfLiteInterpreterDelete(interpreter)
        TfLiteModelDelete(model)
    }

    private fun runner(key: String) = requireNotNull(runners[key]) { "Signature $key not found among ${runners.keys}" }

    private class NativeTensor(private val tensor: TfLiteTensor) : Tensor {
        override fun dataType() = when (val type = TfLiteTensorType(tensor)) {
            kTfLiteFloat32 -> DataType.FLOAT32
            kTfLiteInt32 -> DataType.INT32
            kTfLiteUInt8 -> DataType.UINT8
            else -> error("type $type")
        }

        override fun shape() = IntArray(TfLiteTensorNumDims(tensor)) { TfLiteTensorDim(tensor, it) }

        override fun numBytes() = TfLiteTensorByteSize(tensor).toInt()

        override fun name(): String = TfLiteTensorName(tensor).string

        override fun numDimensions() = shape().size

        override fun numElements() = shape().fold(1, Int::times)

        override fun shapeSignature() = shape()

        override fun index() = throw UnsupportedOperationException()

        override fun quantizationParams() = throw UnsupportedOperationException()

        override fun asReadOnlyBuffer(): ByteBuffer = buffer().asReadOnlyBuffer()

        fun buffer(): ByteBuffer = BytePointer(TfLiteTensorData(tensor)).capacity(numBytes().toLong()).asByteBuffer()

        /** A buffer that the original could copy without a conversion, and whose end it would not overrun. */
        fun checked(value: Any): ByteBuffer {
            val buffer = value as ByteBuffer
            require(buffer.isDirect && buffer.order() == ByteOrder.nativeOrder()) { "${name()}: a direct buffer, please" }
            require(buffer.remaining() == numBytes()) { "${name()}: ${buffer.remaining()} bytes, expected ${numBytes()}" }
            return buffer
        }
    }
}

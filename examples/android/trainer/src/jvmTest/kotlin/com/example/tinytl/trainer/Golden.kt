package com.example.tinytl.trainer

import java.io.File
import org.json.JSONArray
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

/** What tests/examples/goldens/write_goldens.py wrote of one net. */
class Golden(net: String) {
    private val folder = File(System.getProperty("tinytl.goldens"), net)
    private val expected = JSONObject(File(folder, "expected.json").readText())

    /** Where a test leaves the state that Python's tests read. */
    val out = File(System.getProperty("tinytl.out"), net).apply { mkdirs() }
    val start = File(folder, "start.safetensors")
    val trained = File(folder, "trained.safetensors")
    val rate = expected.getDouble("rate").toFloat()
    val losses = expected.getJSONArray("losses").numbers()
    val correct = expected.getJSONArray("correct").numbers().map { it.toInt() }
    val before = expected.getJSONArray("before").rows()
    val after = expected.getJSONArray("after").rows()
    val classNames = expected.getJSONArray("class_names").strings()
    val steps = expected.getLong("steps")

    val samples = expected.getJSONArray("labels").numbers().let { labels ->
        val images = File(folder, "images.bin").readBytes()
        val size = images.size / labels.size
        labels.mapIndexed { index, label ->
            Sample(images.copyOfRange(index * size, (index + 1) * size), label.toInt())
        }
    }
    val images = samples.map { it.image }
    val batches = expected.getJSONArray("rows").rows().map { (begin, end) -> samples.subList(begin.toInt(), end.toInt()) }

    fun trainer() = TinyTLTrainer(Interpreter(File(folder, "model.tflite")))

    private fun JSONArray.numbers() = List(length(), ::getDouble)

    private fun JSONArray.rows() = List(length()) { getJSONArray(it).numbers() }
}

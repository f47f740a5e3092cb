package com.example.tinytl.trainer

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.sqrt
import kotlin.random.Random
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.ValueSource

/** Real steps on real files, in LiteRT's native code, against what Python did with them. */
class TinyTLTrainerTest {
    @TempDir
    lateinit var folder: File

    @ParameterizedTest
    @ValueSource(strings = ["train", "accumulate"])
    fun `takes the steps that Python takes, from Python's state`(net: String) {
        val golden = Golden(net)
        golden.trainer().use { trainer ->
            trainer.restore(golden.start)
            assertRows(golden.before, trainer.predict(golden.images))

            val found = golden.batches.map { trainer.trainStep(it, golden.rate) }
            trainer.save(File(golden.out, "kotlin.safetensors"))

            golden.losses.zip(found).forEach { (loss, step) -> assertEquals(loss, step.loss.toDouble(), 1e-5 * loss) }
            assertEquals(golden.correct, found.map { it.correct })
            assertEquals(golden.batches.map { it.size }, found.map { it.count })
            assertRows(golden.after, trainer.predict(golden.images))
            assertEquals(golden.steps, trainer.steps)
            assertEquals(golden.classNames, trainer.classNames)
        }
        val start = StateFile.read(golden.start)
        val expected = StateFile.read(golden.trained)
        val found = StateFile.read(File(golden.out, "kotlin.safetensors"))
        assertEquals(expected.tensors.keys, found.tensors.keys)
        for (name in expected.tensors.keys) {
            val update = difference(expected, start, name)
            assertTrue(norm(update) > 0, "$name did not change in Python")
            val relative = norm(difference(found, expected, name)) / norm(update)
            assertTrue(relative < 1e-4, "$name: the update differs by $relative")
        }
    }

    @ParameterizedTest
    @ValueSource(strings = ["train", "accumulate"])
    fun `a new process goes on where the old one stopped`(net: String) {
        val golden = Golden(net)
        val file = File(folder, "state.safetensors")
        val (before, step) = golden.trainer().use { trainer ->
            trainer.restore(golden.start)
            trainer.trainStep(golden.batches[0], golden.rate)
            trainer.save(file)
            trainer.predict(golden.images) to trainer.trainStep(golden.batches[1], golden.rate)
        }
        golden.trainer().use { trainer ->
            trainer.restore(file)
            trainer.predict(golden.images).zip(before).forEach { (found, expected) -> assertArrayEquals(expected, found) }
            assertEquals(step, trainer.trainStep(golden.batches[1], golden.rate))
        }
    }

    @Test
    fun `an epoch takes every sample once and reports every step`() {
        val golden = Golden("accumulate") // its optimizer has no momentum, so that a rate of 0 changes nothing
        golden.trainer().use { trainer ->
            trainer.restore(golden.start)
            val heard = mutableListOf<Pair<Int, Int>>()
            val result = trainer.trainEpoch(golden.samples.take(7), 0f, Random(1)) { done, all -> heard += done to all }
            assertEquals(listOf(1 to 2, 2 to 2), heard)
            // So what the steps found is the mean of what predict says, whatever the order.
            val probabilities = trainer.predict(golden.images).take(7).zip(golden.samples) { p, s -> p[s.label] to (p.max()) }
            assertEquals(-probabilities.map { (p, _) -> kotlin.math.ln(p) }.average(), result.loss.toDouble(), 1e-5)
            assertEquals(probabilities.count { (p, largest) -> p == largest } / 7f, result.accuracy)
        }
    }

    @Test
    fun `what a failed step accumulated is not part of the next`() {
        val golden = Golden("accumulate")
        golden.trainer().use { trainer ->
            trainer.restore(golden.start)
            val bad = golden.batches[0].take(3) + Sample(ByteArray(7), 0) // in the second micro-batch
            assertThrows<IllegalArgumentException> { trainer.trainStep(bad, golden.rate) }
            golden.batches.forEach { trainer.trainStep(it, golden.rate) }
            assertRows(golden.after, trainer.predict(golden.images))
        }
    }

    @Test
    fun `a step whose outputs are not finite is skipped and changes nothing`() {
        val golden = Golden("train")
        golden.trainer().use { trainer ->
            trainer.restore(golden.start)
            val ruined = StateFile.read(golden.start).let { state ->
                val bias = state.tensors.getValue("head/bias")
                val data = ByteBuffer.wrap(bias.data.copyOf()).order(ByteOrder.LITTLE_ENDIAN).putFloat(0, Float.NaN)
                val tensors = state.tensors + ("head/bias" to State.Values(bias.dtype, bias.shape, data.array()))
                State(tensors, state.fingerprint, state.step, state.classNames)
            }
            val file = File(folder, "ruined.safetensors")
            StateFile.write(file, ruined)
            trainer.restore(file)
            assertTrue(trainer.trainStep(golden.batches[0], golden.rate).skipped)
            assertEquals(ruined.step, trainer.steps)
            trainer.save(file)
            for ((name, values) in StateFile.read(file).tensors) {
                assertArrayEquals(ruined.tensors.getValue(name).data, values.data, name)
            }
        }
    }

    @Test
    fun `a state of another model is refused by name, and nothing changes`() {
        val golden = Golden("train")
        golden.trainer().use { trainer ->
            val before = trainer.predict(golden.images)
            val error = assertThrows<IllegalArgumentException> { trainer.restore(Golden("accumulate").start) }
            assertTrue("head/bias/momentum: expected F32[4], found null" in error.message!!, error.message)
            val state = StateFile.read(golden.start)
            val file = File(folder, "other.safetensors")
            StateFile.write(file, State(state.tensors, "other", state.step, state.classNames))
            assertTrue("another export" in assertThrows<IllegalArgumentException> { trainer.restore(file) }.message!!)
            StateFile.write(file, State(state.tensors, state.fingerprint, state.step, listOf("plant", "cup")))
            assertTrue("other classes" in assertThrows<IllegalArgumentException> { trainer.restore(file) }.message!!)
            trainer.predict(golden.images).zip(before).forEach { (found, expected) -> assertArrayEquals(expected, found) }
        }
    }

    @Test
    fun `spare outputs get a name before they get samples`() {
        val golden = Golden("train")
        golden.trainer().use { trainer ->
            val spare = golden.samples.first { it.label == 3 }
            assertThrows<IllegalArgumentException> { trainer.trainStep(listOf(spare), golden.rate) }
            assertEquals(3, trainer.predict(golden.images)[0].size)
            assertThrows<IllegalArgumentException> { trainer.addClass("cup") }
            assertEquals(3, trainer.addClass("mug"))
            assertThrows<IllegalArgumentException> { trainer.addClass("a fifth") }
            assertEquals(1, trainer.trainStep(listOf(spare), golden.rate).count)
            assertEquals(4, trainer.predict(golden.images)[0].size)
        }
    }

    @Test
    fun `refuses what cannot be a batch`() {
        val golden = Golden("train")
        golden.trainer().use { trainer ->
            assertThrows<IllegalArgumentException> { trainer.trainStep(emptyList(), golden.rate) }
            assertThrows<IllegalArgumentException> { trainer.trainStep(golden.samples.take(5), golden.rate) }
            assertThrows<IllegalArgumentException> { trainer.trainStep(golden.samples.take(1), Float.NaN) }
            assertEquals(0, trainer.steps)
        }
    }

    private fun assertRows(expected: List<List<Double>>, found: List<FloatArray>) {
        assertEquals(expected.size, found.size)
        expected.zip(found).forEach { (row, values) ->
            assertArrayEquals(row.toDoubleArray(), DoubleArray(values.size) { values[it].toDouble() }, 1e-5)
        }
    }

    private fun difference(a: State, b: State, name: String) =
        floats(a.tensors.getValue(name)).zip(floats(b.tensors.getValue(name))) { x, y -> x.toDouble() - y }

    private fun floats(values: State.Values): List<Float> =
        ByteBuffer.wrap(values.data).order(ByteOrder.LITTLE_ENDIAN).run { List(values.data.size / 4) { getFloat(4 * it) } }

    private fun norm(values: List<Double>) = sqrt(values.sumOf { it * it })
}

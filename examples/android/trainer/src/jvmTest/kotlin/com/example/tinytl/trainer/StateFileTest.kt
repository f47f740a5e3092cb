package com.example.tinytl.trainer

import java.io.File
import java.io.IOException
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir

class StateFileTest {
    @TempDir
    lateinit var folder: File
    private val golden = Golden("train")

    @Test
    fun `reads what Python saved`() {
        val state = StateFile.read(golden.start)
        assertEquals(golden.classNames, state.classNames)
        assertEquals(2, state.step)
        assertEquals(listOf(64, 4), state.tensors.getValue("head/kernel").shape)
    }

    @Test
    fun `writes what it reads`() {
        val state = StateFile.read(golden.start)
        val file = File(folder, "copy.safetensors")
        StateFile.write(file, state)
        val copy = StateFile.read(file)
        assertEquals(
            listOf(state.fingerprint, state.step, state.classNames), listOf(copy.fingerprint, copy.step, copy.classNames),
        )
        assertEquals(state.tensors.keys, copy.tensors.keys)
        for ((name, values) in state.tensors) {
            assertTrue(values.sameKind(copy.tensors.getValue(name)))
            assertArrayEquals(values.data, copy.tensors.getValue(name).data)
        }
        assertEquals(listOf(file), folder.listFiles()!!.toList())
    }

    @Test
    fun `leaves out what belongs to an unfinished fit in Python`() {
        val state = StateFile.read(golden.start)
        val best = state.tensors.mapKeys { (name, _) -> "@best/$name" }
        val file = File(folder, "unfinished.safetensors")
        StateFile.write(file, State(state.tensors + best, state.fingerprint, state.step, state.classNames))
        assertEquals(state.tensors.keys, StateFile.read(file).tensors.keys)
    }

    @Test
    fun `removes what a killed process left, once it is old`() {
        val file = File(folder, "state.safetensors")
        val names = listOf(".state.safetensors.12.tmp", ".state.safetensors.34.tmp", ".other.56.tmp")
        names.forEach { File(folder, it).writeText("half") }
        File(folder, names[0]).setLastModified(1)
        File(folder, names[2]).setLastModified(1)
        StateFile.write(file, StateFile.read(golden.start))
        assertEquals(setOf(file.name, names[1], names[2]), folder.list()!!.toSet())
    }

    @Test
    fun `refuses every damaged byte`() {
        val content = golden.start.readBytes()
        val file = File(folder, "damaged.safetensors")
        for (at in content.indices step 7) {
            file.writeBytes(content.copyOf().also { it[at] = (it[at].toInt() xor 4).toByte() })
            assertThrows<IOException>("byte $at") { StateFile.read(file) }
        }
    }

    @Test
    fun `refuses every truncated file`() {
        val content = golden.start.readBytes()
        val file = File(folder, "short.safetensors")
        for (size in content.indices step 7) {
            file.writeBytes(content.copyOf(size))
            assertThrows<IOException>("$size bytes") { StateFile.read(file) }
        }
    }

    @Test
    fun `leaves nothing behind where it cannot write`() {
        val state = StateFile.read(golden.start)
        val target = File(folder, "state.safetensors").apply { File(this, "a folder that is not empty").mkdirs() }
        assertThrows<IOException> { StateFile.write(target, state) }
        assertEquals(listOf(target), folder.listFiles()!!.toList())
    }
}

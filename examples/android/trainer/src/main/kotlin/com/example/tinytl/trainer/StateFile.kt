package com.example.tinytl.trainer

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/**
 * A [State] as the safetensors file that Python's `OnDeviceModel` saves and restores too.
 *
 * Its layout: the header's length (8 bytes, little endian), the header (JSON), the tensors. The header's metadata holds
 * a CRC-32 of the whole file, taken with the checksum's own eight digits as zeros.
 */
object StateFile {
    private const val FORMAT = "tinytl-state-1"
    private const val MARK = "tinytl_crc32="
    private const val DIGITS = 8
    private const val METADATA = "__metadata__"
    private const val BEST = "@best/" // tensors of an unfinished fit in Python
    private const val ABANDONED = 60_000 // milliseconds without a write

    /** Writes [state]: either the whole new file stands at [file] afterwards, or what stood there before. */
    @Throws(IOException::class)
    fun write(file: File, state: State) {
        val temporary = File.createTempFile(".${file.name}.", null, file.absoluteFile.parentFile)
        try {
            FileOutputStream(temporary).use {
                it.write(encode(state))
                it.fd.sync()
            }
            if (!temporary.renameTo(file)) throw IOException("$temporary could not be renamed to $file.")
        } finally {
            temporary.delete() // there only if something above failed
        }
        removeAbandoned(file)
    }

    /** What a process that was killed while it wrote left behind. */
    private fun removeAbandoned(file: File) {
        val folder = file.absoluteFile.parentFile ?: return
        folder.listFiles().orEmpty()
            .filter { it.name.startsWith(".${file.name}.") && it.name.endsWith(".tmp") }
            .filter { file.lastModified() - it.lastModified() > ABANDONED }
            .forEach { it.delete() }
    }

    /**
     * Throws IOException if the file is missing, truncated, damaged, or not a state.
     *
     * Where an unfinished fit of Python stands, and its best epoch so far, is left out: once a step was taken here, that
     * fit could not go on as if it had not stopped.
     */
    @Throws(IOException::class)
    fun read(file: File): State {
        val content = file.readBytes()
        val digits = checksumAt(content) ?: throw IOException("$file is truncated, or not a state that was saved here.")
        if (String(content, digits, DIGITS, Charsets.US_ASCII) != checksum(content, digits)) {
            throw IOException("$file is truncated or damaged: its CRC-32 does not agree.")
        }
        try {
            return decode(content)
        } catch (error: JSONException) {
            throw IOException("$file is no state that this app can read: ${error.message}", error)
        } catch (error: IllegalArgumentException) {
            throw IOException("$file is no state that this app can read: ${error.message}", error)
        }
    }

    private fun encode(state: State): ByteArray {
        val metadata = JSONObject()
            .put("format", FORMAT)
            .put("fingerprint", state.fingerprint)
            .put("step", state.step.toString())
            .put("crc32", MARK + "0".repeat(DIGITS))
            .put("class_names", state.classNames?.let { JSONArray(it).toString() } ?: "null")
            .put("progress", "null") // of Python's fit
        val header = JSONObject().put(METADATA, metadata)
        var offset = 0
        for ((name, values) in state.tensors) {
            val offsets = JSONArray().put(offset).put(offset + values.data.size)
            header.put(
                name,
                JSONObject().put("dtype", values.dtype).put("shape", JSONArray(values.shape))
                    .put("data_offsets", offsets),
            )
            offset += values.data.size
        }
        val unaligned = header.toString().toByteArray()
        val json = unaligned + ByteArray(-unaligned.size and 7) { ' '.code.toByte() } // tensors begin at a multiple of 8
        val content = ByteBuffer.allocate(8 + json.size + offset).order(ByteOrder.LITTLE_ENDIAN)
        content.putLong(json.size.toLong()).put(json)
        state.tensors.values.forEach { content.put(it.data) }
        val digits = checkNotNull(checksumAt(content.array()))
        checksum(content.array(), digits).toByteArray().copyInto(content.array(), digits)
        return content.array()
    }

    private fun decode(content: ByteArray): State {
        val length = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN).long
        require(length in 0..content.size - 8L) { "a header of $length bytes" }
        val header = JSONObject(String(content, 8, length.toInt(), Charsets.UTF_8))
        val metadata = header.getJSONObject(METADATA)
        val format = metadata.getString("format")
        require(format == FORMAT) { "format $format, expected $FORMAT" }
        val names = metadata.getString("class_names")
        return State(
            tensors = header.keys().asSequence().filter { it != METADATA && !it.startsWith(BEST) }
                .associateWith { values(it, header.getJSONObject(it), content, 8 + length.toInt()) },
            fingerprint = metadata.getString("fingerprint"),
            step = metadata.getString("step").toLong(),
            classNames = if (names == "null") null else JSONArray(names).strings(),
        )
    }

    private fun values(name: String, entry: JSONObject, content: ByteArray, start: Int): State.Values {
        val shape = entry.getJSONArray("shape").let { List(it.length(), it::getInt) }
        val offsets = entry.getJSONArray("data_offsets")
        val (begin, end) = offsets.getInt(0) to offsets.getInt(1)
        require(begin in 0..end && end <= content.size - start) { "$name at $begin..$end" }
        return State.Values(entry.getString("dtype"), shape, content.copyOfRange(start + begin, start + end))
    }

    /** Where the digits of the checksum stand; null where there is none. */
    private fun checksumAt(content: ByteArray): Int? {
        val mark = MARK.toByteArray()
        val start = (0..content.size - mark.size - DIGITS).firstOrNull { at ->
            mark.indices.all { content[at + it] == mark[it] }
        }
        return start?.plus(mark.size)
    }

    private fun checksum(content: ByteArray, digits: Int): String {
        val crc = CRC32()
        crc.update(content, 0, digits)
        crc.update(ByteArray(DIGITS) { '0'.code.toByte() })
        crc.update(content, digits + DIGITS, content.size - digits - DIGITS)
        return String.format("%08x", crc.value)
    }
}

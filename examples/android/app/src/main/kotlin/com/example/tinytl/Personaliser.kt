package com.example.tinytl

import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import com.example.tinytl.trainer.Sample
import com.example.tinytl.trainer.TinyTLTrainer
import java.io.Closeable
import java.io.File
import java.io.FileInputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import java.util.UUID
import kotlin.math.PI
import kotlin.math.cos
import org.tensorflow.lite.Interpreter

/**
 * The model, its state and the photos it learns from. Everything that must survive the process lies in [folder]:
 *
 * - `state.safetensors`: what was learned, written after every epoch;
 * - `photos/<class>/<name>.png`: the photos, as the model sees them;
 * - `epochs_done`: there while training is unfinished.
 *
 * Not thread-safe: one thread calls it.
 */
class Personaliser(context: Context) : Closeable {
    private val folder = context.filesDir
    private val state = File(folder, "state.safetensors")
    private val epochsDone = File(folder, "epochs_done")
    private val trainer = TinyTLTrainer(Interpreter(model(context), Interpreter.Options().setNumThreads(2)))
    private val photos = Photos(context.contentResolver, trainer.info.inputShape[0])

    val classNames get() = trainer.classNames
    val spareClasses get() = trainer.info.classes - classNames.size

    /** True after the process died while it trained: [train] goes on with the epoch that was interrupted. */
    val unfinished get() = epochsDone.exists()

    init {
        val (height, width, channels) = trainer.info.inputShape
        require(height == width && channels == 3) { "This app takes square RGB images: ${trainer.info.inputShape}." }
        if (state.exists()) trainer.restore(state)
    }

    fun addClass(name: String) {
        trainer.addClass(name)
        trainer.save(state)
    }

    fun count(label: Int) = files(label).size

    fun addPhoto(uri: Uri, label: Int) {
        val bitmap = photos.pick(uri)
        val partial = File(folder, "partial.png")
        photos.save(bitmap, partial)
        val file = File(classFolder(label).apply { mkdirs() }, "${UUID.randomUUID()}.png")
        if (!partial.renameTo(file)) throw IOException("$file could not be written.")
    }

    /** A photo as the model sees it, and the probability of each class. */
    fun predict(uri: Uri): Pair<Bitmap, Map<String, Float>> {
        val bitmap = photos.pick(uri)
        val probabilities = trainer.predict(listOf(photos.pixels(bitmap))).single()
        return bitmap to classNames.zip(probabilities.toList()).toMap()
    }

    /** Trains on all photos, saving after every epoch. [report] gets a line and how much is done, from 0 to 1. */
    fun train(report: (String, Float) -> Unit) {
        val samples = classNames.indices.flatMap { label -> files(label).map { Sample(photos.load(it), label) } }
        require(samples.isNotEmpty()) { "Add photos first." }
        val first = if (unfinished) epochsDone.readText().toIntOrNull() ?: 0 else 0
        for (epoch in first until EPOCHS) {
            epochsDone.writeText("$epoch")
            val rate = RATE * 0.5f * (1 + cos(PI * epoch / EPOCHS).toFloat())
            val result = trainer.trainEpoch(samples, rate) { done, all ->
                report("Epoch ${epoch + 1} of $EPOCHS", (epoch + done / all.toFloat()) / EPOCHS)
            }
            trainer.save(state)
            val means = "loss %.3f, accuracy %.0f %%".format(result.loss, 100 * result.accuracy)
            val skipped = if (result.skippedSteps > 0) ", ${result.skippedSteps} steps skipped: not finite" else ""
            report("Epoch ${epoch + 1} of $EPOCHS: $means$skipped", (epoch + 1f) / EPOCHS)
        }
        epochsDone.delete()
    }

    override fun close() = trainer.close()

    private fun classFolder(label: Int) = File(folder, "photos/$label")

    private fun files(label: Int) = classFolder(label).listFiles().orEmpty().sortedBy { it.name }

    companion object {
        private const val MODEL = "model.tflite"
        private const val EPOCHS = 10
        private const val RATE = 0.05f // of the first epoch; it falls along half a cosine

        /** Back to the factory weights, without photos. Call it while no [Personaliser] is open. */
        fun forget(context: Context) {
            File(context.filesDir, "state.safetensors").delete()
            File(context.filesDir, "epochs_done").delete()
            File(context.filesDir, "photos").deleteRecursively()
        }

        private fun model(context: Context): MappedByteBuffer {
            val asset = try {
                context.assets.openFd(MODEL)
            } catch (error: FileNotFoundException) {
                throw IOException("The app has no model: copy yours to app/src/main/assets/$MODEL.", error)
            }
            return asset.use { // not createInputStream(), whose channel adds the offset itself on newer releases
                val channel = FileInputStream(asset.fileDescriptor).channel
                channel.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        }
    }
}

package com.example.tinytl

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Matrix
import android.media.ExifInterface
import android.net.Uri
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream

/** Photos as the model sees them: square, upright, [size] pixels high and wide, three bytes a pixel. */
class Photos(private val resolver: ContentResolver, private val size: Int) {

    /** The central square of a picked photo. Throws IOException if it cannot be read as an image. */
    fun pick(uri: Uri): Bitmap {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        open(uri) { BitmapFactory.decodeStream(it, null, bounds) }
        val side = minOf(bounds.outWidth, bounds.outHeight)
        if (side <= 0) throw IOException("$uri is not an image.")
        val options = BitmapFactory.Options().apply {
            inSampleSize = Integer.highestOneBit(maxOf(1, side / size)) // a large photo is never whole in memory
        }
        val photo = open(uri) { BitmapFactory.decodeStream(it, null, options) } ?: throw IOException("$uri is damaged.")
        val square = minOf(photo.width, photo.height)
        val transform = Matrix().apply {
            postScale(size / square.toFloat(), size / square.toFloat())
            turnUpright(this, open(uri) { ExifInterface(it) })
        }
        val (left, top) = (photo.width - square) / 2 to (photo.height - square) / 2
        val result = Bitmap.createBitmap(photo, left, top, square, square, transform, true)
        return if (result.width == size) result else Bitmap.createScaledBitmap(result, size, size, true)
    }

    /** Rows of RGB pixels. The trainer applies the model's input scale and offset. */
    fun pixels(bitmap: Bitmap): ByteArray {
        require(bitmap.width == size && bitmap.height == size) { "${bitmap.width} x ${bitmap.height}, expected $size" }
        val colors = IntArray(size * size)
        bitmap.getPixels(colors, 0, size, 0, 0, size, size)
        val result = ByteArray(3 * colors.size)
        colors.forEachIndexed { index, color ->
            result[3 * index] = (color shr 16).toByte()
            result[3 * index + 1] = (color shr 8).toByte()
            result[3 * index + 2] = color.toByte()
        }
        return result
    }

    /** Lossless: training after a restart sees the same pixels. */
    fun save(bitmap: Bitmap, file: File) = FileOutputStream(file).use {
        if (!bitmap.compress(Bitmap.CompressFormat.PNG, 100, it)) throw IOException("$file could not be written.")
        it.fd.sync() // else a power cut may leave an empty file under the final name
    }

    fun load(file: File): ByteArray =
        pixels(BitmapFactory.decodeFile(file.path) ?: throw IOException("$file is damaged."))

    private fun <T> open(uri: Uri, read: (InputStream) -> T): T =
        (resolver.openInputStream(uri) ?: throw IOException("$uri is gone.")).use(read)

    /** As the camera was held; a front camera may have mirrored it besides. */
    private fun turnUpright(matrix: Matrix, exif: ExifInterface) {
        val orientation = exif.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
        when (orientation) {
            ExifInterface.ORIENTATION_ROTATE_90, ExifInterface.ORIENTATION_TRANSPOSE -> matrix.postRotate(90f)
            ExifInterface.ORIENTATION_ROTATE_180, ExifInterface.ORIENTATION_FLIP_VERTICAL -> matrix.postRotate(180f)
            ExifInterface.ORIENTATION_ROTATE_270, ExifInterface.ORIENTATION_TRANSVERSE -> matrix.postRotate(270f)
        }
        if (orientation in MIRRORED) matrix.postScale(-1f, 1f)
    }

    private companion object {
        val MIRRORED = setOf(
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL, ExifInterface.ORIENTATION_FLIP_VERTICAL,
            ExifInterface.ORIENTATION_TRANSPOSE, ExifInterface.ORIENTATION_TRANSVERSE,
        )
    }
}

package com.example.tinytl

import android.content.Context
import android.graphics.Bitmap
import android.os.Handler
import android.os.Looper
import android.util.Log
import java.util.concurrent.Executors

/** What the screen shows. */
data class Screen(
    val classes: List<Pair<String, Int>> = emptyList(), // names, and how many photos each has
    val spareClasses: Int = 0,
    val busy: Boolean = true,
    val status: String = "",
    val progress: Float = 0f,
    val image: Bitmap? = null,
)

/**
 * The one thread of the process that touches the model. It outlives the activity, so training goes on through a rotation
 * or a look at another app; what happens when the system ends the process, `Personaliser` takes care of.
 */
object Session {
    private const val TAG = "tinytl"
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    private var model: Personaliser? = null // the worker's
    private var screen = Screen() // the main thread's, as are the next
    private var show: ((Screen) -> Unit)? = null

    /** Sends [listener] the screen now and whenever it changes; resumes interrupted training. */
    fun attach(context: Context, listener: (Screen) -> Unit) {
        show = listener
        listener(screen)
        run(context) { if (it.unfinished) it.train(::report) }
    }

    fun detach() {
        show = null
    }

    /** Runs [action] on the model, behind what was asked for before. An error is shown. */
    fun run(context: Context, action: (Personaliser) -> Unit) {
        update { it.copy(busy = true) }
        val application = context.applicationContext
        worker.execute {
            try {
                action(model ?: Personaliser(application).also { model = it })
            } catch (error: Exception) { // such as a missing model or an unreadable photo
                Log.e(TAG, "failed", error)
                update { it.copy(status = error.message ?: error.toString()) }
            }
            val classes = model?.run { classNames.mapIndexed { label, name -> name to count(label) } }
            val spare = model?.spareClasses ?: 0
            update { it.copy(classes = classes.orEmpty(), spareClasses = spare, busy = false) }
        }
    }

    /** Back to the model as it came with the app. */
    fun forget(context: Context) {
        val application = context.applicationContext
        worker.execute {
            model?.close()
            model = null
            Personaliser.forget(application)
        }
        run(context) { update { Screen() } }
    }

    fun report(status: String, progress: Float) = update { it.copy(status = status, progress = progress) }

    fun report(status: String, image: Bitmap) = update { it.copy(status = status, image = image) }

    private fun update(change: (Screen) -> Screen) {
        main.post {
            screen = change(screen)
            show?.invoke(screen)
        }
    }
}

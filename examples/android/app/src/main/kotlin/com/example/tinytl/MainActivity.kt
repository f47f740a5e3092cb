package com.example.tinytl

import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.ScrollView
import android.widget.TextView

/** One screen: a button for every class adds photos to it; then train, and ask what a photo shows. */
class MainActivity : Activity() {
    private lateinit var classes: LinearLayout
    private lateinit var train: Button
    private lateinit var status: TextView
    private lateinit var progress: ProgressBar
    private lateinit var image: ImageView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        classes = column()
        train = button(R.string.train) { Session.run(this) { it.train(Session::report) } }
        status = TextView(this)
        progress = ProgressBar(this, null, android.R.attr.progressBarStyleHorizontal).apply { max = 1000 }
        image = ImageView(this).apply { adjustViewBounds = true }
        val predict = button(R.string.predict) { pick(PREDICT, several = false) }
        val forget = button(R.string.forget) { Session.forget(this) }
        val all = column().apply {
            listOf(classes, train, predict, forget, progress, status, image).forEach(::addView)
        }
        setContentView(ScrollView(this).apply {
            fitsSystemWindows = true
            addView(all)
        })
    }

    override fun onStart() {
        super.onStart()
        Session.attach(this, ::show)
    }

    override fun onStop() {
        Session.detach()
        super.onStop()
    }

    private fun show(screen: Screen) {
        classes.removeAllViews()
        screen.classes.forEachIndexed { label, (name, count) ->
            classes.addView(button(getString(R.string.add_photos, name, count)) { pick(label, several = true) })
        }
        if (screen.spareClasses > 0) classes.addView(button(R.string.new_class) { askForName() })
        train.isEnabled = !screen.busy
        status.text = screen.status
        progress.progress = (1000 * screen.progress).toInt()
        image.setImageBitmap(screen.image)
    }

    private fun askForName() {
        val name = EditText(this)
        AlertDialog.Builder(this).setTitle(R.string.new_class).setView(name)
            .setPositiveButton(android.R.string.ok) { _, _ ->
                Session.run(this) { it.addClass(name.text.toString().trim()) }
            }.setNegativeButton(android.R.string.cancel, null).show()
    }

    /** [request], a label or [PREDICT], comes back to [onActivityResult] even if the process dies meanwhile. */
    private fun pick(request: Int, several: Boolean) {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        startActivityForResult(intent.putExtra(Intent.EXTRA_ALLOW_MULTIPLE, several), request)
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        if (resultCode != RESULT_OK || data == null) return
        val photos: List<Uri> = data.clipData?.let { clip -> List(clip.itemCount) { clip.getItemAt(it).uri } }
            ?: listOfNotNull(data.data)
        Session.run(this) { model ->
            if (requestCode == PREDICT) {
                val (bitmap, probabilities) = model.predict(photos.single())
                val sorted = probabilities.entries.sortedByDescending { it.value }
                Session.report(sorted.joinToString("\n") { (name, p) -> "%3.0f %%  %s".format(100 * p, name) }, bitmap)
            } else {
                photos.forEach { model.addPhoto(it, requestCode) }
            }
        }
    }

    private fun column() = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }

    private fun button(text: Int, onClick: () -> Unit) = button(getString(text), onClick)

    private fun button(text: String, onClick: () -> Unit) = Button(this).apply {
        setAllCaps(false)
        this.text = text
        setOnClickListener { onClick() }
    }

    private companion object {
        const val PREDICT = 10_000 // more than there are labels
    }
}

package com.example.tinytl

/** Stands in for the class that Gradle makes of res/, so that Maven can compile the app; Gradle never sees it. */
@Suppress("ClassName")
object R {
    object string {
        const val add_photos = 1
        const val forget = 2
        const val new_class = 3
        const val predict = 4
        const val train = 5
    }
}

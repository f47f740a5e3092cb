plugins {
    id("com.android.application") version "9.1.0" apply false // compiles Kotlin by itself
}

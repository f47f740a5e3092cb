plugins {
    id("com.android.library")
}

// The code here imports nothing of Android. Its tests run in Maven, on LiteRT's native code for computers: see pom.xml.
android {
    namespace = "com.example.tinytl.trainer"
    compileSdk = 36
    defaultConfig {
        minSdk = 24
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

dependencies {
    api("com.google.ai.edge.litert:litert:2.3.0") // holds org.tensorflow.lite.Interpreter
}

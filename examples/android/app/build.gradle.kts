plugins {
    id("com.android.application")
}

android {
    namespace = "com.example.tinytl"
    compileSdk = 36
    defaultConfig {
        applicationId = "com.example.tinytl"
        minSdk = 24
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    // The trainer imports nothing of Android. Its tests run in Maven, on LiteRT's native code for computers: see its pom.xml.
    sourceSets["main"].kotlin.srcDir("../trainer/src/main/kotlin")
    androidResources {
        noCompress += "tflite" // so that the model can be mapped
    }
}

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.3.0") // holds org.tensorflow.lite.Interpreter
}

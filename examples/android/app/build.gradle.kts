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
    androidResources {
        noCompress += "tflite" // so that the model can be mapped
    }
}

dependencies {
    implementation(project(":trainer"))
}

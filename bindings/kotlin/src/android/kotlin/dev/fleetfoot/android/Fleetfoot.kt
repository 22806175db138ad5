package dev.fleetfoot.android

import android.content.Context
import android.content.res.AssetFileDescriptor
import dev.fleetfoot.Fleetfoot
import dev.fleetfoot.Keys
import dev.fleetfoot.Model
import dev.fleetfoot.ModelConfig
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/**
 * Opens the store in a folder of the application that no backup takes: a state that came from another device, or from the past, would be taken for a forgery.
 * The folder is closed to other processes; where an application has several, one of them opens it.
 */
public suspend fun Fleetfoot.Companion.open(context: Context, vararg models: ModelConfig): Fleetfoot = open(store(context), *models)

/** As [open], in this thread. */
public fun Fleetfoot.Companion.openBlocking(context: Context, vararg models: ModelConfig): Fleetfoot = openBlocking(store(context), *models)

private fun store(context: Context) = File(context.noBackupFilesDir, "fleetfoot")

/**
 * Verifies a bundle among the assets of the application, where it lies in the APK: `context.assets.openFd("kws.ff")`, which wants
 * `androidResources { noCompress += "ff" }` in the build file. The descriptor stays the caller's.
 */
public suspend fun Model.Companion.open(asset: AssetFileDescriptor, keys: Keys): Model = withContext(Dispatchers.IO) {
    openBlocking(asset.parcelFileDescriptor.fd, asset.startOffset, asset.length, keys)
}

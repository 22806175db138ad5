// Classifies a photo, keeps the model up to date meanwhile, and survives a bad version: Watch STORE REPOSITORY ROOT.json MODEL PHOTO
//
// REPOSITORY is a folder or http://...; ROOT.json is the first root metadata, which an application brings along; PHOTO is what javax.imageio can read.
package dev.fleetfoot.sample

import dev.fleetfoot.Fleetfoot
import dev.fleetfoot.FleetfootException
import dev.fleetfoot.FolderTransport
import dev.fleetfoot.HttpTransport
import dev.fleetfoot.Image
import dev.fleetfoot.ModelConfig
import dev.fleetfoot.PixelFormat
import dev.fleetfoot.UpdateResult
import java.io.File
import java.nio.ByteBuffer
import javax.imageio.ImageIO
import kotlin.system.exitProcess
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/** Good answers that a new version has to give before it is active. */
private const val TRIAL = 10

fun main(args: Array<String>) {
    if (args.size != 5) {
        System.err.println("usage: Watch STORE REPOSITORY ROOT.json MODEL PHOTO")
        exitProcess(2)
    }
    val (store, repository, root, name, photo) = args
    val transport = if (repository.startsWith("http")) HttpTransport(repository) else FolderTransport(File(repository))
    val config = ModelConfig(name, File(root).readBytes(), transport, minInferences = TRIAL, healthWindowSeconds = 0)
    val image = read(File(photo))
    runBlocking {
        Fleetfoot.open(File(store), config).use { fleetfoot ->
            val events = launch { fleetfoot.events.collect { println("event: ${it.text}") } }
            poll(fleetfoot, name)
            repeat(TRIAL) { number ->
                val version = classify(fleetfoot, name, image)
                if (number == 0) println("answer: $version")
            }
            println("status: ${fleetfoot.statusJson()}")
            events.cancelAndJoin()
        }
    }
}

/** Whatever comes of it, the version that served before still serves, or a better one does. */
private suspend fun poll(fleetfoot: Fleetfoot, name: String) {
    try {
        val result = fleetfoot.updates.poll(name)
        println("poll: ${result.text}")
        if (result is UpdateResult.Rejected) println("survived: ${result.version} is out (${result.code})")
    } catch (fault: FleetfootException) {
        println("poll: ${fault.code}: ${fault.message}")
    }
}

private suspend fun classify(fleetfoot: Fleetfoot, name: String, image: Image): String = fleetfoot.activeModel(name).use { model ->
    model.newSession().use { session ->
        session.setImage(image)
        val good = runCatching { session.run() }
        // One bad answer of a version on trial, and the version before serves again.
        fleetfoot.outcome(model, good.isSuccess)
        good.getOrThrow()
        val scores = session.output().toFloatArray()
        "class ${scores.indices.maxBy { scores[it] }} from version ${model.info.version}"
    }
}

private fun read(photo: File): Image {
    val picture = ImageIO.read(photo) ?: error("$photo is no picture that can be read here")
    val pixels = ByteBuffer.allocateDirect(4 * picture.width * picture.height)
    for (argb in picture.getRGB(0, 0, picture.width, picture.height, null, 0, picture.width)) {
        pixels.put((argb shr 16).toByte()).put((argb shr 8).toByte()).put(argb.toByte()).put(-1)
    }
    return Image(PixelFormat.RGBA_8888, picture.width, picture.height, listOf(pixels), listOf(4 * picture.width))
}

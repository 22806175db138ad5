package dev.fleetfoot

import java.io.File

/** What `tests/src/scenario.rs` has made. */
internal val world = File(System.getProperty("fleetfoot.world"))
internal val keys = Keys(listOf(File(world, "key.bin").readBytes()))

internal fun file(name: String): ByteArray = File(world, name).readBytes()

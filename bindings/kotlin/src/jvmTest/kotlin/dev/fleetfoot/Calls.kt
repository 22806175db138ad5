package dev.fleetfoot

import java.io.File

private const val ROUNDS = 4000
private const val CALLS = 500

/** What a call costs: Calls BUNDLE KEY. Prints the least and the middle time in ns of a run, and of a call that does nothing. See `cargo xtask bench jni`. */
fun main(args: Array<String>) {
    Model.openBlocking(File(args[0]), Keys(listOf(File(args[1]).readBytes()))).use { model ->
        model.newSession().use { session ->
            val run = times { session.runBlocking() }
            val nothing = times { Native.abiVersion() }
            println("%.1f %.1f %.1f %.1f".format(run.first(), run[ROUNDS / 2], nothing.first(), nothing[ROUNDS / 2]))
        }
    }
}

/** Times of a call in ns, in order. The first half of the rounds is for the compiler. */
private inline fun times(call: () -> Unit): List<Double> {
    val times = DoubleArray(2 * ROUNDS)
    for (round in times.indices) {
        val start = System.nanoTime()
        repeat(CALLS) { call() }
        times[round] = (System.nanoTime() - start).toDouble() / CALLS
    }
    return times.drop(ROUNDS).sorted()
}

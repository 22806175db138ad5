package dev.fleetfoot

import java.io.File
import java.util.concurrent.CyclicBarrier
import java.util.concurrent.atomic.AtomicLong
import kotlin.concurrent.thread
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Plays `tests/scenario.txt`. */
class ScenarioTest {
    @TempDir
    lateinit var scratch: File

    private var store = "store"
    private var minInferences = 10
    private lateinit var fleetfoot: Fleetfoot
    private val seen = Channel<FleetfootEvent>(Channel.UNLIMITED)
    private var collector: Job? = null

    @Test
    fun plays() = runBlocking {
        var played = 0
        for ((index, line) in File(System.getProperty("fleetfoot.scenario")).readLines().withIndex()) {
            var words = line.split(' ').filter { it.isNotEmpty() }
            if (words.isEmpty() || words[0].startsWith("#")) continue
            if (words[0] == "handles") words = words.drop(1)
            var fails = 0
            if (words[0] == "fails") {
                fails = words[1].toInt()
                words = words.drop(2)
            }
            val code = try {
                step(words)
                0
            } catch (e: FleetfootException) {
                e.code
            } catch (e: AssertionError) {
                throw AssertionError("line ${index + 1}: $line: ${e.message}", e)
            }
            assertEquals(fails, code, "line ${index + 1}: $line")
            played++
        }
        assertTrue(played > 60)
    }

    private suspend fun step(words: List<String>) {
        when (words[0]) {
            "limits" -> minInferences = words[1].toInt()
            "store" -> store = words[1]
            "open" -> open(words[1])
            "close" -> {
                fleetfoot.close()
                collector?.join()
            }
            "active" -> active(words[1])
            "run" -> serving { model, session ->
                session.input().set(file("input.bin"))
                session.run()
                assertArrayEquals(file("output-${words[1]}.bin"), session.output().toByteArray())
                assertEquals("digits", model.info.name)
            }
            "bad-input" -> serving { _, session ->
                val input = file("input.bin")
                assertEquals(609, assertThrows(FleetfootException.TensorMismatch::class.java) { session.input().set(input.copyOf(3)) }.code)
                val none = assertThrows(FleetfootException.TensorMismatch::class.java) { session.input(1) }
                assertEquals(listOf(307, 1), listOf(none.code, none.tensor))
            }
            "cancel" -> cancel()
            "close-while-running" -> closeWhileRunning(words[1].toInt(), words[2].toInt())
            "poll-other" -> fleetfoot.outcomeOfOther()
            "poll" -> told(words, fleetfoot.updates.poll("digits"))
            "stage" -> told(words, fleetfoot.updates.stage("digits"))
            "activate" -> told(words, fleetfoot.updates.activate("digits"))
            "outcomes" -> fleetfoot.activeModel("digits").use { model -> repeat(words[1].toInt()) { fleetfoot.outcome(model, true) } }
            "outcome-bad" -> fleetfoot.activeModel("digits").use { fleetfoot.outcome(it, false) }
            "confirm" -> fleetfoot.updates.confirmHealthy("digits")
            "rollback" -> fleetfoot.updates.rollback("digits", words[1])
            "events" -> for (kind in words.drop(1)) {
                val event = withTimeoutOrNull(10_000) { seen.receive() } ?: throw AssertionError("no event, $kind is missing")
                assertEquals(kind, name(event), event.text)
                assertEquals("digits", event.model)
            }
            else -> throw AssertionError("no step ${words[0]}")
        }
    }

    /** A model that the runtime does not have. */
    private suspend fun Fleetfoot.outcomeOfOther() = updates.rollback("other", "1.0.0")

    private fun open(repository: String) {
        val config = ModelConfig(
            "digits", file("root.json"), FolderTransport(File(world, repository)), minInferences = minInferences, healthWindowSeconds = 0,
        )
        fleetfoot = Fleetfoot.openBlocking(File(scratch, store), config)
        val events = fleetfoot.events
        collector = CoroutineScope(Dispatchers.IO).launch { events.collect { seen.send(it) } }
        // Until it has subscribed; events before that would be kept for it, too.
        Thread.sleep(20)
    }

    private suspend fun active(version: String) {
        if (version == "-") {
            assertThrows(FleetfootException.NotInstalled::class.java) { fleetfoot.activeModelBlocking("digits") }
        } else {
            fleetfoot.activeModel("digits").use { assertEquals(version, it.info.version) }
        }
    }

    private inline fun serving(body: (Model, Session) -> Unit) {
        fleetfoot.activeModelBlocking("digits").use { model -> model.newSession().use { body(model, it) } }
    }

    private fun cancel() = runBlocking {
        serving { _, session ->
            session.input().set(file("input.bin"))
            // Cancelled before it begins, and in the middle, or after its end: it always comes back, and the session is good afterwards.
            repeat(50) { round ->
                val job = launch(Dispatchers.Default) {
                    try {
                        while (true) session.run()
                    } catch (e: CancellationException) {
                        throw e
                    }
                }
                if (round % 2 == 0) Thread.sleep(1)
                job.cancel()
                job.join()
                session.input().set(file("input.bin"))
                session.run()
                assertArrayEquals(file("output-1.bin"), session.output().toByteArray())
            }
        }
    }

    private fun closeWhileRunning(nThreads: Int, nHandles: Int) {
        val rounds = System.getenv("FLEETFOOT_FEW")?.toInt() ?: nHandles
        val (right, closed) = AtomicLong() to AtomicLong()
        fleetfoot.activeModelBlocking("digits").use { model ->
            var session = model.newSession()
            val (start, end) = CyclicBarrier(nThreads + 1) to CyclicBarrier(nThreads + 1)
            val threads = List(nThreads) { number ->
                thread {
                    repeat(rounds) { round ->
                        start.await()
                        var runs = 0
                        while (true) {
                            try {
                                session.runBlocking()
                                right.incrementAndGet()
                            } catch (_: FleetfootException.Busy) {
                                Thread.yield()
                            } catch (_: FleetfootException.Closed) {
                                closed.incrementAndGet()
                                break
                            }
                            if (number == 0 && runs++ >= round % 4) session.close()
                        }
                        end.await()
                    }
                }
            }
            repeat(rounds) {
                session.input().set(file("input.bin"))
                start.await()
                end.await()
                // Memory that was bound is still there.
                session.output().toByteArray()
                session.close()
                session = model.newSession()
            }
            threads.forEach { it.join() }
            session.close()
        }
        assertEquals(nThreads.toLong() * rounds, closed.get())
        assertTrue(right.get() > 0)
    }

    private fun told(words: List<String>, result: UpdateResult) {
        val told = when (result) {
            is UpdateResult.UpToDate -> "up-to-date - 0"
            is UpdateResult.Staged -> "staged ${result.version} 0"
            is UpdateResult.Trial -> "trial ${result.version} 0"
            is UpdateResult.Active -> "active ${result.version} 0"
            is UpdateResult.Rejected -> "rejected ${result.version} ${result.code}"
            is UpdateResult.Deferred -> "deferred ${result.version} ${result.code}"
            is UpdateResult.Other -> "other - 0"
        }
        assertEquals(words.drop(1).joinToString(" "), told, result.text)
    }

    private fun name(event: FleetfootEvent): String = when (event) {
        is FleetfootEvent.Happened -> event.kind.name.lowercase()
        is FleetfootEvent.Fetching -> "fetching"
        is FleetfootEvent.Rejected -> "rejected"
        is FleetfootEvent.Deferred -> "deferred"
        is FleetfootEvent.Dropped -> "dropped"
    }
}

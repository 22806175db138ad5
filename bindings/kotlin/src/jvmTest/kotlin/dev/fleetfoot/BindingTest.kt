package dev.fleetfoot

import com.sun.management.ThreadMXBean
import com.sun.net.httpserver.HttpServer
import java.io.File
import java.lang.management.ManagementFactory
import java.net.InetSocketAddress
import java.nio.ByteBuffer
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicReference
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** Models, tensors, images, errors, and the transport over HTTP against a server on this machine. */
class BindingTest {
    @TempDir
    lateinit var scratch: File

    @Test
    fun models() = runBlocking {
        val bundle = file("1.ff")
        for (model in listOf(Model.open(File(world, "1.ff"), keys), Model.openBlocking(bundle, keys))) {
            model.use {
                assertEquals("1.0.0", it.info.version)
                assertEquals(1, it.info.inputs.size)
                assertEquals(DType.INT8, it.info.inputs[0].dtype)
                assertEquals(it.info.inputs[0].byteLength, it.info.inputs[0].shape.reduce(Int::times))
                assertEquals(64, it.info.sha256.length)
                answers(it, SessionOptions())
                answers(it, SessionOptions(threads = 3, timed = true))
            }
        }
        val stranger = Keys(listOf(ByteArray(32) { 7 }))
        assertEquals(205, assertThrows(FleetfootException.VerificationFailed::class.java) { Model.openBlocking(bundle, stranger) }.code)
        bundle[bundle.size - 100] = (bundle[bundle.size - 100] + 1).toByte()
        assertEquals(206, assertThrows(FleetfootException.VerificationFailed::class.java) { Model.openBlocking(bundle, keys) }.code)
        val missing = assertThrows(FleetfootException.UpdateFailed::class.java) { Model.openBlocking(File("there/is/none"), keys) }
        assertTrue(missing.message!!.contains("there/is/none"))
    }

    private suspend fun answers(model: Model, options: SessionOptions) {
        model.newSession(options).use { session ->
            assertTrue(session.input() === session.input())
            assertTrue(session.input().buffer.isDirect)
            repeat(3) {
                session.input().set(file("input.bin"))
                session.run()
                assertArrayEquals(file("output-1.bin"), session.output().toByteArray())
            }
            // In this thread.
            session.input().set(file("input.bin"))
            session.run(Dispatchers.Unconfined)
            assertArrayEquals(file("output-1.bin"), session.output().toByteArray())
            val metrics = session.metrics()
            assertEquals(4, metrics.runs)
            assertEquals(if (options.timed) 4 else 0, metrics.timedRuns)
            val before = session.output().toFloatArray()
            session.close()
            session.close()
            assertArrayEquals(before, session.output().toFloatArray())
            assertThrows(FleetfootException.Closed::class.java) { session.runBlocking() }
            assertThrows(FleetfootException.Closed::class.java) { session.metrics() }
        }
    }

    @Test
    fun batches() = runBlocking {
        val (input, expected) = file("input.bin") to file("output-1.bin")
        Model.openBlocking(File(world, "1.ff"), keys).use { model ->
            for (threads in listOf(1, 3)) {
                model.newSession(SessionOptions(threads)).use { session ->
                    val (from, to) = direct(5 * input.size) to direct(5 * expected.size + 1)
                    repeat(5) { from.put(input) }
                    session.runBatch(5, listOf(from), listOf(to))
                    to.rewind()
                    repeat(5) { assertArrayEquals(expected, ByteArray(expected.size).also { item -> to.get(item) }) }
                    assertEquals(0, to.get())
                    assertEquals(5, session.metrics().runs)
                    session.runBatchBlocking(0, listOf(direct(0)), listOf(direct(0)))
                    fun refused(code: Int, items: Int, inputs: List<ByteBuffer>, outputs: List<ByteBuffer>) {
                        val fault = assertThrows(FleetfootException::class.java) { session.runBatchBlocking(items, inputs, outputs) }
                        assertEquals(code, fault.code, fault.message)
                    }
                    refused(606, -1, listOf(from), listOf(to))
                    refused(609, 6, listOf(from), listOf(to))
                    refused(609, 5, listOf(from), listOf(direct(5 * expected.size - 1)))
                    refused(609, 1, listOf(ByteBuffer.allocate(input.size)), listOf(to))
                    refused(609, 1, listOf(from), listOf(to.asReadOnlyBuffer()))
                    refused(609, 1, emptyList(), listOf(to))
                    refused(609, 1, listOf(from), listOf(to, to))
                    refused(609, Int.MAX_VALUE, listOf(from), listOf(to))
                    session.close()
                    refused(601, 1, listOf(from), listOf(to))
                }
            }
        }
    }

    /** Inputs and outputs are where the model runs, and a run makes no garbage. */
    @Test
    fun nothingIsCopied() {
        Model.openBlocking(File(world, "1.ff"), keys).use { model ->
            model.newSession().use { session ->
                val place = direct(8)
                call { Native.sessionInput(session.handle, 0, Native.address(place), Native.address(direct(8)), it) }
                assertEquals(getPointer(place), Native.address(session.input().buffer))
                call { Native.sessionOutput(session.handle, 0, Native.address(place), Native.address(direct(8)), it) }
                assertEquals(getPointer(place), Native.address(session.output().buffer))
                val threads = ManagementFactory.getThreadMXBean() as ThreadMXBean
                val mine = Thread.currentThread().id
                session.warmUp(10_000)
                val before = threads.getThreadAllocatedBytes(mine)
                repeat(100_000) { session.runBlocking() }
                val perRun = (threads.getThreadAllocatedBytes(mine) - before) / 100_000.0
                assertTrue(perRun < 1, "$perRun bytes a run")
            }
        }
    }

    @Test
    fun realNumbers() {
        Model.openBlocking(File(world, "1.ff"), keys).use { model ->
            model.newSession().use { session ->
                val input = session.input()
                input.set(file("input.bin"))
                val real = input.toFloatArray()
                input.set(ByteArray(input.info.byteLength))
                input.set(real)
                assertArrayEquals(file("input.bin"), input.toByteArray())
                input.set(FloatArray(input.info.byteLength) { Float.POSITIVE_INFINITY })
                assertTrue(input.toByteArray().all { it == 127.toByte() })
            }
        }
    }

    @Test
    fun images() {
        Model.openBlocking(File(world, "1.ff"), keys).use { model ->
            model.newSession().use { session ->
                val (_, height, width) = model.info.inputs[0].shape
                val input = file("input.bin")
                val pixels = direct(4 * input.size)
                for (value in input) repeat(4) { pixels.put((value.toInt() xor 0x80).toByte()) }
                session.setImage(Image(PixelFormat.RGBA_8888, width, height, listOf(pixels), listOf(4 * width)))
                assertArrayEquals(input, session.input().toByteArray())
                val small = Image(PixelFormat.RGBA_8888, width, height + 1, listOf(pixels), listOf(4 * width))
                assertEquals(613, assertThrows(FleetfootException.InvalidArgument::class.java) { session.setImage(small) }.code)
                val half = Image(PixelFormat.NV21, width, height, listOf(pixels), listOf(width))
                assertEquals(613, assertThrows(FleetfootException.InvalidArgument::class.java) { session.setImage(half) }.code)
            }
        }
    }

    /** A transport that never ends holds neither the coroutine that is cancelled nor the model. */
    @Test
    fun cancelledPolls() = runBlocking<Unit> {
        val (reached, never) = CountDownLatch(1) to CountDownLatch(1)
        val folder = FolderTransport(File(world, "1"))
        val late = AtomicReference<Throwable>()
        val transport = Transport { request, sink ->
            if (reached.count > 0) {
                reached.countDown()
                never.await()
                late.set(runCatching { sink(ByteArray(1), 1) }.exceptionOrNull() ?: AssertionError("taken"))
            }
            folder.fetch(request, sink)
        }
        Fleetfoot.open(File(scratch, "cancelled"), ModelConfig("digits", file("root.json"), transport)).use { fleetfoot ->
            val poll = async(Dispatchers.Default) { fleetfoot.updates.poll("digits") }
            reached.await()
            poll.cancelAndJoin()
            assertTrue(poll.isCancelled)
            assertInstanceOf(UpdateResult.Trial::class.java, fleetfoot.updates.poll("digits"))
            // Whoever comes late is told.
            never.countDown()
            while (late.get() == null) Thread.sleep(1)
            assertInstanceOf(CancellationException::class.java, late.get())
        }
    }

    /** What the library does not take is no fault of the transport: the poll says what came of it. */
    @Test
    fun refusedBytes() = runBlocking {
        val transport = Transport { request, sink ->
            sink(ByteArray(request.maxLength.toInt() + 1), request.maxLength.toInt() + 1)
            Answer.Whole()
        }
        Fleetfoot.open(File(scratch, "refused"), ModelConfig("digits", file("root.json"), transport)).use { fleetfoot ->
            val fault = runCatching { fleetfoot.updates.poll("digits") }.exceptionOrNull()
            assertTrue(assertInstanceOf(FleetfootException::class.java, fault).message!!.contains("longer than"), "$fault")
            assertTrue((fault as FleetfootException).code < 600, "$fault")
        }
    }

    @Test
    fun overHttp() = runBlocking {
        var (brokenOff, resumed, notModified) = Triple(false, false, false)
        val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
        server.createContext("/models/") { exchange ->
            val file = File(world, "1/" + exchange.requestURI.path.removePrefix("/models/"))
            val range = exchange.requestHeaders.getFirst("Range")?.removePrefix("bytes=")?.removeSuffix("-")?.toInt()
            when {
                !file.isFile -> exchange.sendResponseHeaders(404, -1)
                exchange.requestHeaders.getFirst("If-None-Match") == "\"1\"" -> {
                    notModified = true
                    exchange.sendResponseHeaders(304, -1)
                }
                file.name.endsWith(".ff") && !brokenOff -> {
                    brokenOff = true
                    exchange.sendResponseHeaders(200, file.length())
                    exchange.responseBody.write(file.readBytes(), 0, 5000)
                    exchange.responseBody.flush()
                }
                range != null -> {
                    resumed = true
                    exchange.responseHeaders.set("Content-Range", "bytes $range-${file.length() - 1}/${file.length()}")
                    exchange.sendResponseHeaders(206, file.length() - range)
                    exchange.responseBody.write(file.readBytes(), range, file.length().toInt() - range)
                }
                else -> {
                    if (file.name == "timestamp.json") exchange.responseHeaders.set("ETag", "\"1\"")
                    exchange.sendResponseHeaders(200, file.length())
                    exchange.responseBody.write(file.readBytes())
                }
            }
            exchange.close()
        }
        server.start()
        try {
            val transport = HttpTransport("http://127.0.0.1:${server.address.port}/models/")
            val config = ModelConfig("digits", file("root.json"), transport, minInferences = 1, healthWindowSeconds = 0)
            Fleetfoot.open(File(scratch, "http"), config).use { fleetfoot ->
                val broken = runCatching { fleetfoot.updates.poll("digits") }.exceptionOrNull()
                assertEquals(432, assertInstanceOf(FleetfootException.UpdateFailed::class.java, broken).code)
                assertInstanceOf(UpdateResult.Trial::class.java, fleetfoot.updates.poll("digits"))
                fleetfoot.activeModel("digits").use { model ->
                    answers(model, SessionOptions())
                    fleetfoot.outcome(model, true)
                }
                assertInstanceOf(UpdateResult.UpToDate::class.java, fleetfoot.updates.poll("digits"))
                assertTrue(fleetfoot.statusJson().contains("\"version\":\"1.0.0\""))
                val second = runCatching { Fleetfoot.open(File(scratch, "http"), config) }.exceptionOrNull()
                assertEquals(423, assertInstanceOf(FleetfootException.Busy::class.java, second).code)
            }
            assertEquals(listOf(true, true, true), listOf(brokenOff, resumed, notModified))
        } finally {
            server.stop(0)
        }
        val gone = HttpTransport("http://127.0.0.1:1", connectTimeoutMs = 1000)
        assertEquals(Answer.Failed(), gone.fetch(FileRequest("x", 0, 1, null)) { _, _ -> })
    }
}

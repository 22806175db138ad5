package dev.fleetfoot

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import java.io.ByteArrayOutputStream
import java.io.File
import java.net.InetSocketAddress
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The transport over HTTP against a server on this machine that answers as servers and caches do, and as they should not. */
class TransportTest {
    @TempDir
    lateinit var scratch: File

    private val content = ByteArray(200_000) { (it * 31 + it / 251).toByte() }
    private val asked = ArrayList<Map<String, String>>()
    private var answers: (HttpExchange) -> Unit = {}
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0).apply {
        createContext("/") { exchange ->
            val names = listOf("Range", "If-Range", "If-None-Match", "Accept-Encoding")
            asked += names.mapNotNull { name -> exchange.requestHeaders.getFirst(name)?.let { name to it } }.toMap() + ("path" to exchange.requestURI.toString())
            answers(exchange)
            exchange.close()
        }
        start()
    }
    private val transport = HttpTransport("http://127.0.0.1:${server.address.port}/models/", readTimeoutMs = 2_000)

    @AfterEach
    fun stop() = server.stop(0)

    private fun HttpExchange.answer(status: Int, headers: Map<String, String> = emptyMap(), body: ByteArray = ByteArray(0), promised: Int = body.size) {
        headers.forEach { (name, value) -> responseHeaders.set(name, value) }
        sendResponseHeaders(status, if (promised == 0) -1 else promised.toLong())
        responseBody.write(body)
        responseBody.flush()
    }

    private fun rest(from: Int) = content.copyOfRange(from, content.size)

    private fun fetch(request: FileRequest): Pair<Answer, ByteArray> {
        val got = ByteArrayOutputStream()
        return transport.fetch(request) { bytes, len -> got.write(bytes, 0, len) } to got.toByteArray()
    }

    private fun request(offset: Int = 0, maxLength: Int = content.size, etag: String? = null, path: String = "a/b.ff") =
        FileRequest(path, offset.toLong(), maxLength.toLong(), etag)

    private fun check(expected: Answer, bytes: ByteArray, request: FileRequest) {
        val (answer, got) = fetch(request)
        assertEquals(expected, answer)
        assertArrayEquals(bytes, got)
    }

    @Test
    fun wholeAndRest() {
        answers = { it.answer(200, mapOf("ETag" to "\"7\""), content) }
        check(Answer.Whole("\"7\""), content, request())
        assertEquals(mapOf("Accept-Encoding" to "identity", "path" to "/models/a/b.ff"), asked.last())
        // Half is there: the rest is asked for, if the file is still the same.
        answers = { it.answer(206, mapOf("Content-Range" to "bytes 1000-199999/200000", "ETag" to "\"7\""), rest(1000)) }
        check(Answer.Whole("\"7\""), rest(1000), request(1000))
        assertEquals(listOf("bytes=1000-", "\"7\""), listOf(asked.last()["Range"], asked.last()["If-Range"]))
        // A server without ranges, or a file that changed: what is there already is dropped.
        answers = { it.answer(200, mapOf("ETag" to "W/\"8\""), content) }
        check(Answer.Whole("W/\"8\""), rest(150_001), request(150_001))
        check(Answer.Whole("W/\"8\""), rest(content.size), request(content.size))
        // A weak tag vouches for no byte.
        assertEquals("\"7\"", asked.last()["If-Range"])
        answers = { it.answer(200, mapOf("ETag" to "W/\"8\""), content) }
        check(Answer.Whole("W/\"8\""), content, request(path = "weak"))
        answers = { it.answer(206, mapOf("Content-Range" to "bytes 1000-199999/200000"), rest(1000)) }
        check(Answer.Whole(null), rest(1000), request(1000, path = "weak"))
        assertNull(asked.last()["If-Range"])
        // Another part than was asked for.
        for (range in listOf("bytes 1001-199999/200000", "bytes */200000", "1000-", "")) {
            answers = { it.answer(206, mapOf("Content-Range" to range), rest(1000)) }
            check(Answer.Failed(206), ByteArray(0), request(1000))
        }
    }

    @Test
    fun copiesThatHold() {
        answers = { it.answer(304) }
        check(Answer.NotModified, ByteArray(0), request(etag = "\"1\""))
        assertEquals("\"1\"", asked.last()["If-None-Match"])
        assertNull(asked.last()["Range"])
        // Nobody asked.
        check(Answer.Failed(304), ByteArray(0), request())
        check(Answer.Failed(304), ByteArray(0), request(1, etag = "\"1\""))
    }

    @Test
    fun limits() {
        // Announced, found out, or never ending: not one byte too many is handed on.
        answers = { it.answer(200, body = content) }
        check(Answer.Failed(200), ByteArray(0), request(maxLength = content.size - 1))
        check(Answer.Whole(null), content, request(maxLength = content.size))
        answers = {
            it.sendResponseHeaders(200, 0)
            it.responseBody.write(content)
        }
        val (answer, got) = fetch(request(maxLength = 150_000))
        assertEquals(Answer.Failed(), answer)
        assertArrayEquals(content.copyOf(got.size), got)
        assertEquals(true, got.size <= 150_000)
        // It ends early, or before what is there already.
        answers = { it.answer(200, body = content.copyOf(5000), promised = content.size) }
        check(Answer.Failed(), content.copyOf(5000), request())
        answers = { it.answer(200, body = content.copyOf(10)) }
        check(Answer.Failed(), ByteArray(0), request(11))
        // Packed: its length says nothing.
        answers = { it.answer(200, mapOf("Content-Encoding" to "gzip"), content) }
        check(Answer.Failed(200), ByteArray(0), request())
    }

    @Test
    fun otherAnswers() {
        for (status in listOf(301, 302, 303, 307, 308)) {
            answers = { it.answer(status, mapOf("Location" to "/models/elsewhere")) }
            val before = asked.size
            check(Answer.Failed(status), ByteArray(0), request())
            assertEquals(before + 1, asked.size, "$status was followed")
        }
        for (status in listOf(403, 404, 410)) {
            answers = { it.answer(status, body = "no".toByteArray()) }
            check(Answer.Missing, ByteArray(0), request())
        }
        for (status in listOf(400, 401, 416, 429, 500, 503)) {
            answers = { it.answer(status, body = "no".toByteArray()) }
            check(Answer.Failed(status), ByteArray(0), request())
        }
        // Nothing comes.
        answers = { Thread.sleep(2_500) }
        check(Answer.Failed(), ByteArray(0), request())
        // A body that drips.
        answers = {
            it.sendResponseHeaders(200, 0)
            runCatching {
                while (true) {
                    it.responseBody.write(1)
                    it.responseBody.flush()
                    Thread.sleep(5)
                }
            }
        }
        val patience = HttpTransport("http://127.0.0.1:${server.address.port}", fileTimeoutMs = 200)
        assertEquals(Answer.Failed(), patience.fetch(request()) { _, _ -> })
        assertEquals(Answer.Failed(), HttpTransport("http://127.0.0.1:1").fetch(request()) { _, _ -> })
        assertEquals(Answer.Failed(), HttpTransport("file:///etc").fetch(request(path = "passwd")) { _, _ -> })
        assertEquals(Answer.Failed(), HttpTransport("no address").fetch(request()) { _, _ -> })
    }

    @Test
    fun paths() {
        val before = asked.size
        File(scratch, "secret").writeText("x")
        val folder = FolderTransport(File(scratch, "models").apply { mkdir() })
        for (path in listOf("", "/", "a//b", "../secret", "a/../../secret", "a/./b", "a?b", "a#b", "a\\b", "http://x/y", "a b", "ä", "a/", "a\nb")) {
            check(Answer.Failed(), ByteArray(0), request(path = path))
            assertEquals(Answer.Failed(), folder.fetch(request(path = path)) { _, _ -> }, path)
        }
        assertEquals(before, asked.size)
        assertEquals(Answer.Missing, folder.fetch(request(path = "none")) { _, _ -> })
        assertEquals(Answer.Failed(), FolderTransport(File(scratch, "pulled out")).fetch(request(path = "none")) { _, _ -> })
        // What the receiver throws is its own.
        answers = { it.answer(200, body = content) }
        assertThrows(IllegalStateException::class.java) { transport.fetch(request()) { _, _ -> error("no room") } }
    }
}

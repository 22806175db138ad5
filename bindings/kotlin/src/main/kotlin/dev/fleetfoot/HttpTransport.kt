package dev.fleetfoot

import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL

/**
 * HTTP and HTTPS by [HttpURLConnection]: proxies, certificates and the rules about clear text are those of the platform.
 *
 * | answer of the server | meaning |
 * |---|---|
 * | 200 | the whole file; bytes that are there already are dropped (the server does not know ranges, or the file changed) |
 * | 206 | the rest of the file; it must begin where it was asked to |
 * | 304 | the copy is still good |
 * | 403, 404, 410 | missing (stores of objects answer 403 where a name does not exist) |
 * | other | failed; redirects are not followed |
 *
 * A broken download is continued with `Range`, and with `If-Range` where the tag is known from this process. Nothing is read beyond the length that a file may have.
 */
public class HttpTransport(
    base: String,
    private val connectTimeoutMs: Int = 10_000,
    private val readTimeoutMs: Int = 30_000,
    /** For a whole file, so that a server that drips bytes does not hold a poll; the next poll goes on with it. */
    private val fileTimeoutMs: Long = 30 * 60_000L,
) : Transport {
    private val base = base.trimEnd('/')

    /** Strong tags of files whose download began in this process. */
    private val tags = HashMap<String, String>()

    /** Gets the file at the path of [request] below the base. */
    override fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer {
        if (!isPlain(request.path)) return Answer.Failed()
        return try {
            val connection = URL("$base/${request.path}").openConnection() as? HttpURLConnection ?: return Answer.Failed()
            request.stop = connection::disconnect
            try {
                get(connection, request, sink)
            } finally {
                connection.disconnect()
            }
        } catch (_: IOException) {
            Answer.Failed()
        }
    }

    private fun get(connection: HttpURLConnection, request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer {
        connection.connectTimeout = connectTimeoutMs
        connection.readTimeout = readTimeoutMs
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        // A packed body would be unpacked before its length can be looked at.
        connection.setRequestProperty("Accept-Encoding", "identity")
        if (request.offset > 0) {
            connection.setRequestProperty("Range", "bytes=${request.offset}-")
            tag(request.path)?.let { connection.setRequestProperty("If-Range", it) }
        } else {
            request.etag?.let { connection.setRequestProperty("If-None-Match", it) }
        }
        return when (val status = connection.responseCode) {
            200 -> body(connection, request, 0, sink)
            206 -> if (rangeStart(connection) == request.offset) body(connection, request, request.offset, sink) else Answer.Failed(status)
            304 -> if (request.etag != null && request.offset == 0L) Answer.NotModified else Answer.Failed(status)
            403, 404, 410 -> Answer.Missing
            else -> Answer.Failed(status)
        }
    }

    private fun body(connection: HttpURLConnection, request: FileRequest, at: Long, sink: (ByteArray, Int) -> Unit): Answer {
        val packed = connection.contentEncoding?.let { it != "identity" } ?: false
        if (packed || connection.contentLengthLong > request.maxLength - at) return Answer.Failed(connection.responseCode)
        val etag = connection.getHeaderField("ETag")
        if (etag != null && !etag.startsWith("W/")) remember(request.path, etag)
        val len = connection.inputStream.use { pass(Timed(it, System.nanoTime() + fileTimeoutMs * 1_000_000), request, at, sink) }
        // Some platforms take a connection that breaks off for the end of a body.
        if (connection.contentLengthLong >= 0 && len != connection.contentLengthLong) return Answer.Failed()
        return Answer.Whole(etag)
    }

    /** `a` of `Content-Range: bytes a-b/c`. */
    private fun rangeStart(connection: HttpURLConnection): Long? {
        val range = connection.getHeaderField("Content-Range") ?: return null
        return if (range.startsWith("bytes ")) range.removePrefix("bytes ").substringBefore('-').toLongOrNull() else null
    }

    private fun tag(path: String): String? = synchronized(tags) { tags[path] }

    private fun remember(path: String, tag: String) = synchronized(tags) {
        if (tags.size >= MAX_TAGS) tags.clear()
        tags[path] = tag
    }

    /** A body that has to be over at a time of [System.nanoTime]. */
    private class Timed(private val body: InputStream, private val until: Long) : InputStream() {
        override fun read(): Int = throw UnsupportedOperationException()

        override fun read(to: ByteArray, from: Int, len: Int): Int {
            if (System.nanoTime() - until > 0) throw IOException("the file took too long")
            return body.read(to, from, len)
        }
    }

    private companion object {
        const val MAX_TAGS = 64
    }
}

package dev.fleetfoot

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URI

/** A file of a repository: [path] in it, from byte [offset] on; the whole file may have [maxLength] bytes. */
public data class FileRequest(val path: String, val offset: Long, val maxLength: Long, val etag: String?)

/** What came of a [FileRequest]. */
public sealed interface Answer {
    /** Everything from the offset on was handed on. */
    public data class Whole(val etag: String? = null) : Answer

    /** The copy with the tag that was given still holds. */
    public data object NotModified : Answer

    /** There is no such file. */
    public data object Missing : Answer

    /** It did not come. */
    public data class Failed(val httpStatus: Int = 0) : Answer
}

/** How files of a repository arrive. It is not trusted: whatever it delivers is checked. Called on a thread for blocking work. */
public fun interface Transport {
    /** Fetches a file and hands its bytes on in order, with the number of those that count. */
    public fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer
}

/** Files below a folder: a test, a stick. */
public class FolderTransport(private val root: File) : Transport {
    override fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer {
        val file = File(root, request.path)
        if (!file.isFile) return if (root.isDirectory) Answer.Missing else Answer.Failed()
        return try {
            file.inputStream().use { pass(it, request, request.offset, 0, sink) }
            Answer.Whole()
        } catch (_: IOException) {
            Answer.Failed()
        }
    }
}

/** HTTP and HTTPS by [HttpURLConnection]: proxies and certificates are those of the platform. */
public class HttpTransport(base: String, private val connectTimeoutMs: Int = 10_000, private val readTimeoutMs: Int = 30_000) : Transport {
    private val base = base.trimEnd('/')

    override fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer = try {
        val connection = URI("$base/${request.path}").toURL().openConnection() as HttpURLConnection
        try {
            get(connection, request, sink)
        } finally {
            connection.disconnect()
        }
    } catch (_: IOException) {
        Answer.Failed()
    }

    private fun get(connection: HttpURLConnection, request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer {
        connection.connectTimeout = connectTimeoutMs
        connection.readTimeout = readTimeoutMs
        connection.setRequestProperty("Accept-Encoding", "identity")
        if (request.offset > 0) connection.setRequestProperty("Range", "bytes=${request.offset}-")
        else request.etag?.let { connection.setRequestProperty("If-None-Match", it) }
        return when (val status = connection.responseCode) {
            // The whole file: the server does not know ranges, or the file changed.
            200 -> whole(connection, request, 0, sink)
            206 -> {
                val from = connection.getHeaderField("Content-Range")?.removePrefix("bytes ")?.substringBefore('-')?.toLongOrNull()
                if (from == request.offset) whole(connection, request, from, sink) else Answer.Failed(status)
            }
            304 -> if (request.etag != null && request.offset == 0L) Answer.NotModified else Answer.Failed(status)
            403, 404, 410 -> Answer.Missing
            else -> Answer.Failed(status)
        }
    }

    private fun whole(connection: HttpURLConnection, request: FileRequest, at: Long, sink: (ByteArray, Int) -> Unit): Answer {
        connection.inputStream.use { pass(it, request, 0, at, sink) }
        return Answer.Whole(connection.getHeaderField("ETag"))
    }
}

/** Hands on what follows after the offset; [skip] bytes of the stream come first, and its first byte is byte [at] of the file. */
private fun pass(stream: InputStream, request: FileRequest, skip: Long, at: Long, sink: (ByteArray, Int) -> Unit) {
    stream.skipNBytes(if (skip > 0) skip else request.offset - at)
    val room = ByteArray(64 * 1024)
    var left = request.maxLength - request.offset
    while (true) {
        val n = stream.read(room)
        if (n < 0) return
        left -= n
        if (left < 0) throw IOException("longer than the ${request.maxLength} bytes that it may have")
        sink(room, n)
    }
}

package dev.fleetfoot

import java.io.File
import java.io.IOException
import java.io.InputStream

/** A file of a repository that is to be fetched, or the rest of it. */
public data class FileRequest(
    /** Its path in the repository: plain segments, no leading slash. */
    val path: String,
    /** Bytes at the front that are there already: what follows is wanted. */
    val offset: Long,
    /** Bytes that the whole file may have. */
    val maxLength: Long,
    /** The tag of a copy that is there already, for `If-None-Match`. */
    val etag: String?,
) {
    /** Ends the fetch from another thread, where the transport knows how. */
    @Volatile
    internal var stop: () -> Unit = {}
}

/** What came of a [FileRequest]. */
public sealed interface Answer {
    /** Everything from the offset on was handed on. */
    public data class Whole(
        /** The tag of the file, where the server has one. */
        val etag: String? = null,
    ) : Answer

    /** The copy with the tag that was given still holds. */
    public data object NotModified : Answer

    /** There is no such file. */
    public data object Missing : Answer

    /** It did not come. */
    public data class Failed(
        /** What a server answered; 0 where none did. */
        val httpStatus: Int = 0,
    ) : Answer
}

/** How files of a repository arrive. It is not trusted: whatever it delivers is checked. Called on a thread for blocking work; of a poll that is cancelled meanwhile the next call of the sink throws. */
public fun interface Transport {
    /** Fetches a file and hands its bytes on in order, with the number of those that count. What [sink] throws must be let through. */
    public fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer
}

/** Files below a folder: a test, a stick. */
public class FolderTransport(private val root: File) : Transport {
    /** Reads the file at the path of [request] below the folder. */
    override fun fetch(request: FileRequest, sink: (ByteArray, Int) -> Unit): Answer {
        if (!isPlain(request.path)) return Answer.Failed()
        val file = File(root, request.path)
        if (!file.isFile) return if (root.isDirectory) Answer.Missing else Answer.Failed()
        return try {
            file.inputStream().use { pass(it, request, 0, sink) }
            Answer.Whole()
        } catch (_: IOException) {
            Answer.Failed()
        }
    }
}

/** Whether [path] can neither leave the repository nor carry a query. */
internal fun isPlain(path: String): Boolean =
    path.all { it in '!'..'~' && it !in "?#\\:" } && path.split('/').all { it.isNotEmpty() && it != "." && it != ".." }

/**
 * Hands on what follows after the offset of [request], and not a byte after its limit; the first byte of [stream] is byte [at] of the file. How many bytes the
 * stream had.
 */
internal fun pass(stream: InputStream, request: FileRequest, at: Long, sink: (ByteArray, Int) -> Unit): Long {
    val room = ByteArray(64 * 1024)
    var skip = request.offset - at
    var left = request.maxLength - at
    while (true) {
        val n = stream.read(room)
        if (n < 0) break
        left -= n
        if (left < 0) throw IOException("longer than the ${request.maxLength} bytes that it may have")
        val dropped = minOf(skip, n.toLong()).toInt()
        skip -= dropped
        if (dropped > 0) room.copyInto(room, 0, dropped, n)
        if (n > dropped) sink(room, n - dropped)
    }
    if (skip > 0) throw IOException("shorter than the ${request.offset} bytes that are there already")
    return request.maxLength - at - left
}

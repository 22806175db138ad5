package dev.fleetfoot

import kotlin.coroutines.EmptyCoroutineContext
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withContext

/** What a poll came to. Whatever it is: what served before still serves, or something better does. */
public sealed interface UpdateResult {
    /** The same for people. */
    public val text: String

    /** Nothing newer may be taken. */
    public data class UpToDate(override val text: String) : UpdateResult

    /** A version waits for [Updates.activate]. */
    public data class Staged(
        /** Its release label. */
        val version: String,
        override val text: String,
    ) : UpdateResult

    /** A version serves on trial. */
    public data class Trial(
        /** Its release label. */
        val version: String,
        override val text: String,
    ) : UpdateResult

    /** A version became active. */
    public data class Active(
        /** Its release label. */
        val version: String,
        override val text: String,
    ) : UpdateResult

    /** A version is out. */
    public data class Rejected(
        /** Its release label. */
        val version: String,
        /** Why, a number of `docs/errors.md`. */
        val code: Int,
        override val text: String,
    ) : UpdateResult

    /** A version waits. */
    public data class Deferred(
        /** Its release label. */
        val version: String,
        /** Why, a number of `docs/errors.md`. */
        val code: Int,
        /** When it goes on, seconds since 1970. */
        val retryAt: Long,
        override val text: String,
    ) : UpdateResult

    /** One that later versions know. */
    public data class Other(override val text: String) : UpdateResult

    /** Nothing for applications. */
    public companion object {
        internal fun of(result: Struct): UpdateResult {
            val (version, text, code) = Triple(result.text("version"), result.text("text"), result.int("code"))
            return when (result.int("kind")) {
                0 -> UpToDate(text)
                1 -> Staged(version, text)
                2 -> Trial(version, text)
                3 -> Active(version, text)
                4 -> Rejected(version, code, text)
                5 -> Deferred(version, code, result.long("retry_at"), text)
                else -> Other(text)
            }
        }
    }
}

/**
 * Polls, trials, rollbacks of the models of one [Fleetfoot]. A second poll of a model at the same time throws [FleetfootException.Busy]. Where the coroutine of a poll is
 * cancelled the poll is given up at once, whatever its transport waits for; the next one goes on with what was fetched.
 */
public class Updates internal constructor(private val runtime: Long, private val transports: Map<String, Transport>) {
    /** Fetches what is new, verifies it, tries it on this device, and lets it serve on trial. */
    public suspend fun poll(model: String): UpdateResult = fed(model, stages = false)

    /** As [poll], but a version that is admitted waits for [activate]. */
    public suspend fun stage(model: String): UpdateResult = fed(model, stages = true)

    /** Lets the version that is staged serve on trial. */
    public suspend fun activate(model: String): UpdateResult = onIo(model) { name ->
        val result = Struct("ff_update_result")
        call { Native.updateActivate(runtime, name, result.address, it) }
        UpdateResult.of(result)
    }

    /** Vouches for the version on trial: it becomes active now. */
    public suspend fun confirmHealthy(model: String): Unit = onIo(model) { name -> call { Native.confirmHealthy(runtime, name, it) } }

    /** Goes back, or forth, to a kept version: a release label, a number, the beginning of a SHA-256, or `factory`. Needs no network. */
    public suspend fun rollback(model: String, to: String): Unit = onIo(model) { name ->
        val text = native(to)
        call { Native.rollback(runtime, name, Native.address(text), it) }
        alive(text)
    }

    private suspend fun <T> onIo(model: String, body: (name: Long) -> T): T = withContext(Dispatchers.IO) {
        val name = native(model)
        body(Native.address(name)).also { alive(name) }
    }

    private suspend fun fed(model: String, stages: Boolean): UpdateResult = withContext(Dispatchers.IO) {
        val name = native(model)
        val update = make { out, error -> Native.updateBegin(runtime, Native.address(name), if (stages) 1 else 0, 0, out, error) }
        alive(name)
        val transport = transports.getValue(model)
        val job = coroutineContext.job
        // This thread may be waiting for the next request when the job is cancelled.
        val release = launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                awaitCancellation()
            } finally {
                Native.updateRelease(update)
            }
        }
        try {
            val (request, result) = Struct("ff_request") to Struct("ff_update_result")
            while (true) {
                ensureActive()
                call { Native.updateNext(update, request.address, result.address, it) }
                val path = request.textAt("path") ?: break
                val wanted = FileRequest(path, request.long("offset"), request.long("max_len"), request.textAt("etag"))
                var refused = false
                val answer = try {
                    fetch(transport, wanted) { bytes, len ->
                        job.ensureActive()
                        val chunk = native(bytes.copyOf(len))
                        try {
                            if (len > 0) call { Native.updateFeed(update, Native.address(chunk), len.toLong(), it) }
                        } catch (e: FleetfootException) {
                            refused = true
                            throw e
                        }
                        alive(chunk)
                    }
                } catch (e: Exception) {
                    if (!refused || e is CancellationException) throw e
                    null
                }
                // What the library could not take (no space is left, say) it knows itself: the poll ends with it, and says why.
                if (answer != null && !refused) answer(update, answer)
            }
            UpdateResult.of(result)
        } catch (e: FleetfootException) {
            // Of a handle that was released because of it.
            ensureActive()
            throw e
        } finally {
            release.cancel()
        }
    }

    /** [transport] in a thread for blocking work. Where the coroutine is cancelled nobody waits for it any more, and what it still delivers is refused. */
    private suspend fun fetch(transport: Transport, wanted: FileRequest, sink: (ByteArray, Int) -> Unit): Answer = suspendCancellableCoroutine { continuation ->
        // Stopping may take as long as what is stopped.
        continuation.invokeOnCancellation { Dispatchers.IO.dispatch(EmptyCoroutineContext, Runnable { wanted.stop() }) }
        Dispatchers.IO.dispatch(continuation.context, Runnable { continuation.resumeWith(runCatching { transport.fetch(wanted, sink) }) })
    }

    private fun answer(update: Long, answer: Answer) {
        val (kind, status, etag) = when (answer) {
            is Answer.Whole -> Triple(0, 0, answer.etag)
            Answer.NotModified -> Triple(1, 0, null)
            Answer.Missing -> Triple(2, 0, null)
            is Answer.Failed -> Triple(3, answer.httpStatus, null)
        }
        val text = etag?.let(::native)
        call { Native.updateAnswer(update, kind, status, text?.let(Native::address) ?: 0, it) }
        alive(text)
    }
}

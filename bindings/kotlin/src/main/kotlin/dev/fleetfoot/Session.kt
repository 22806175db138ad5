package dev.fleetfoot

import java.nio.ByteBuffer
import kotlin.coroutines.cancellation.CancellationException
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.nanoseconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.suspendCancellableCoroutine
import kotlinx.coroutines.withContext

/** [threads] that run, the caller's among them; [timed]: read the clock around every run, for [Session.metrics]. */
public data class SessionOptions(val threads: Int = 1, val timed: Boolean = false)

/** What a session counted; times are those of the last runs of a session that is timed. */
public data class RunMetrics(
    val runs: Long,
    val arenaBytes: Long,
    val timedRuns: Int,
    val last: Duration,
    val min: Duration,
    val p50: Duration,
    val p95: Duration,
    val p99: Duration,
    val max: Duration,
)

/** How an image lies in memory. */
public enum class PixelFormat(internal val code: Int) { RGBA_8888(1), BGRA_8888(2), NV12(3), NV21(4) }

/**
 * An image in direct buffers. [strides] are the bytes from one row of a plane to the next; [rotationDegrees] turns it clockwise first; [fullRange] is for
 * luma and chroma of 0 to 255, as cameras of phones give them. `real = (pixel - mean) / std` for each of red, green and blue; without [std] the model takes
 * pixels as they are.
 */
public class Image(
    public val format: PixelFormat,
    public val width: Int,
    public val height: Int,
    public val planes: List<ByteBuffer>,
    public val strides: List<Int>,
    public val rotationDegrees: Int = 0,
    public val bilinear: Boolean = true,
    public val fullRange: Boolean = true,
    public val mean: FloatArray = FloatArray(3),
    public val std: FloatArray = FloatArray(3),
)

/**
 * A model and the memory that it runs in. One run at a time: a second one at the same time throws [FleetfootException.Busy]. [close] may be called at any time, also
 * twice: it waits for a run that is under way, and a run afterwards throws [FleetfootException.Closed].
 */
public class Session internal constructor(model: Model, options: SessionOptions) : AutoCloseable {
    /** The memory is ours, so that tensors stay valid whatever happens to the session. */
    private val arena: ByteBuffer
    private val handle: Long
    private val inputs: List<Tensor>
    private val outputs: List<Tensor>

    init {
        val info = model.info
        var len = info.arenaBytes
        var made: Pair<ByteBuffer, Long>? = null
        while (made == null) {
            val memory = aligned(Math.toIntExact(len))
            val asked = Struct("ff_session_options").set("threads", options.threads).set("flags", if (options.timed) 1 else 0)
            asked.setPointer("arena", Native.address(memory))
            putPointer(asked.buffer, Layout["ff_session_options.arena_len"], memory.capacity().toLong())
            try {
                made = memory to make { out, error -> Native.sessionCreate(model.handle, asked.address, out, error) }
            } catch (e: FleetfootException.TensorMismatch) {
                // More threads need more scratch.
                if (e.code != ARENA_TOO_SMALL || options.threads <= 1 || len > info.arenaBytes * (options.threads + 1)) throw e
                len += info.arenaBytes
            }
            alive(asked, memory)
        }
        arena = made.first
        handle = made.second
        inputs = info.inputs.mapIndexed { index, tensor -> view(tensor) { data, n, error -> Native.sessionInput(handle, index, data, n, error) } }
        outputs = info.outputs.mapIndexed { index, tensor -> view(tensor) { data, n, error -> Native.sessionOutput(handle, index, data, n, error) } }
    }

    /** Input [index]: to be written before every run. Always the same object. */
    public fun input(index: Int = 0): Tensor = inputs.getOrNull(index) ?: throw none("input", index)

    /** Output [index]: to be read after every run. Always the same object. */
    public fun output(index: Int = 0): Tensor = outputs.getOrNull(index) ?: throw none("output", index)

    /** One inference on [dispatcher]. Where the coroutine is cancelled, the inference ends before its next layer, and this returns only then. */
    public suspend fun run(dispatcher: CoroutineDispatcher = Dispatchers.Default) {
        val cancel = make { out, _ -> Native.cancelCreate(out) }
        val over = CompletableDeferred<Unit>()
        try {
            suspendCancellableCoroutine<Unit> { continuation ->
                continuation.invokeOnCancellation { Native.cancelSet(cancel, 1) }
                dispatcher.dispatch(continuation.context) {
                    val done = runCatching { run(cancel) }
                    over.complete(Unit)
                    done.fold({ continuation.resume(Unit) }, { continuation.resumeWithException(it) })
                }
            }
        } catch (e: CancellationException) {
            withContext(NonCancellable) { over.await() }
            throw e
        } finally {
            Native.cancelRelease(cancel)
        }
    }

    /** One inference in this thread. It allocates nothing. */
    public fun runBlocking(): Unit = run(0)

    /** Runs a few times, so that the first inference that counts is not the first one. */
    public fun warmUp(runs: Int = 1): Unit = repeat(runs) { run(0) }

    /** Makes [image] the content of input [index]: turned, stretched, normalised, quantized. */
    public fun setImage(image: Image, index: Int = 0) {
        val at = Struct("ff_image").set("format", image.format.code).set("width", image.width).set("height", image.height)
        val planes = if (image.format.code < PixelFormat.NV12.code) 1 else 2
        for (plane in 0 until planes) {
            val buffer = image.planes.getOrNull(plane) ?: throw FleetfootException.InvalidArgument("plane $plane is missing", IMAGE)
            val stride = image.strides.getOrNull(plane) ?: throw FleetfootException.InvalidArgument("stride $plane is missing", IMAGE)
            val rows = if (plane == 0) image.height else (image.height + 1) / 2
            val row = if (planes == 1) 4L * image.width else if (plane == 0) image.width.toLong() else 2L * ((image.width + 1) / 2)
            if (!buffer.isDirect || image.width <= 0 || rows <= 0 || buffer.capacity() < (rows - 1L) * stride + row) {
                throw FleetfootException.InvalidArgument("plane $plane is too small, or no direct buffer", IMAGE)
            }
            at.setPointer("plane", Native.address(buffer), plane).set("stride", stride, plane)
        }
        at.set("rotation_degrees", image.rotationDegrees).set("filter", if (image.bilinear) 1 else 0).set("full_range", if (image.fullRange) 1 else 0)
        for (channel in 0 until 3) at.set("mean", image.mean[channel], channel).set("std", image.std[channel], channel)
        call { Native.sessionSetImage(handle, index, at.address, it) }
        alive(at, image)
    }

    /** What this session counted. */
    public fun metrics(): RunMetrics {
        val metrics = Struct("ff_run_metrics")
        call { Native.sessionMetrics(handle, metrics.address, it) }
        fun time(field: String) = metrics.long(field).nanoseconds
        return RunMetrics(
            metrics.long("runs"), metrics.long("arena_len"), metrics.int("timed_runs"),
            time("last_ns"), time("min_ns"), time("p50_ns"), time("p95_ns"), time("p99_ns"), time("max_ns"),
        )
    }

    override fun close(): Unit = Native.sessionRelease(handle)

    private fun run(cancel: Long) {
        call { Native.sessionRun(handle, cancel, it) }
        alive(arena)
    }

    private fun view(info: TensorInfo, place: (data: Long, len: Long, error: Long) -> Int): Tensor {
        val (data, len) = direct(8) to direct(8)
        call { place(Native.address(data), Native.address(len), it) }
        val from = Math.toIntExact(getPointer(data) - Native.address(arena))
        // A slice keeps the whole arena alive.
        return Tensor(info, arena.slice(from, info.byteLength))
    }

    private fun none(what: String, index: Int) = FleetfootException.TensorMismatch("there is no $what $index", NO_SUCH_TENSOR, index)

    private companion object {
        const val ARENA_TOO_SMALL = 306
        const val NO_SUCH_TENSOR = 307
        const val IMAGE = 613
        const val ALIGN = 64

        fun aligned(len: Int): ByteBuffer {
            val room = direct(len + ALIGN)
            val skip = (ALIGN - (Native.address(room) % ALIGN).toInt()) % ALIGN
            return room.slice(skip, len)
        }
    }
}

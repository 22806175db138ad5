package dev.fleetfoot

import java.nio.ByteBuffer
import java.util.concurrent.atomic.AtomicReference
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

/** How a session runs. */
public data class SessionOptions(
    /** Threads that run, the caller's among them, 1 to 64. Outputs are the same bytes for any number. */
    val threads: Int = 1,
    /** Read the clock around every run, for [Session.metrics]. */
    val timed: Boolean = false,
)

/** What a session counted; times are those of the last runs of a session that is timed. */
public data class RunMetrics(
    /** Runs that came to their end, of batches each item. */
    val runs: Long,
    /** Bytes of the memory that the model runs in. */
    val arenaBytes: Long,
    /** Runs that the times are of, at most the last 512. */
    val timedRuns: Int,
    /** Time of the last run. */
    val last: Duration,
    /** Shortest time. */
    val min: Duration,
    /** Half of the runs took no longer. */
    val p50: Duration,
    /** 95 of 100 runs took no longer. */
    val p95: Duration,
    /** 99 of 100 runs took no longer. */
    val p99: Duration,
    /** Longest time. */
    val max: Duration,
)

/**
 * A model and the memory that it runs in. One run at a time: a second one at the same time throws [FleetfootException.Busy]. [close] may be called at any time, also
 * twice: it waits for a run that is under way, and a run afterwards throws [FleetfootException.Closed].
 */
public class Session internal constructor(model: Model, options: SessionOptions) : AutoCloseable {
    /** The memory is ours, so that tensors stay valid whatever happens to the session. */
    private val arena: ByteBuffer
    private val used = AtomicReference<ByteBuffer>()
    internal val handle: Long
    private val inputs: List<Tensor>
    private val outputs: List<Tensor>

    init {
        val info = model.info
        var len = info.arenaBytes
        var made: Pair<ByteBuffer, Long>? = null
        while (made == null) {
            val memory = aligned(Math.toIntExact(len))
            val asked = Struct("ff_session_options").set("threads", options.threads).set("flags", if (options.timed) 1 else 0)
            asked.setPointer("arena", Native.address(memory)).setPointer("arena_len", memory.capacity().toLong())
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
                val inference = Runnable {
                    val done = runCatching { run(cancel) }
                    over.complete(Unit)
                    done.fold({ continuation.resume(Unit) }, { continuation.resumeWithException(it) })
                }
                // Some dispatchers run where they are called (Unconfined, Main.immediate), and refuse to be asked for more.
                if (dispatcher.isDispatchNeeded(continuation.context)) dispatcher.dispatch(continuation.context, inference) else inference.run()
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

    /**
     * Makes [image] the content of input [index], whose shape is `[1, h, w, 3]` (RGB) or `[1, h, w, 1]` (grey): turned, stretched to h x w, normalised, quantized. In one
     * pass, with integers: all devices get the same bytes. Throws [FleetfootException.InvalidArgument] (613) where this is no image, or the input takes none.
     */
    public fun setImage(image: Image, index: Int = 0) {
        val at = Struct("ff_image").set("format", image.format.code).set("width", image.width).set("height", image.height)
        for ((number, plane) in image.checked().withIndex()) {
            at.setPointer("plane", plane.address, number).set("stride", plane.stride, number)
        }
        at.set("rotation_degrees", image.rotationDegrees).set("filter", if (image.bilinear) 1 else 0).set("full_range", if (image.fullRange) 1 else 0)
        for (channel in 0 until 3) at.set("mean", image.mean[channel], channel).set("std", image.std[channel], channel)
        call { Native.sessionSetImage(handle, index, at.address, it) }
        alive(at, image, arena)
    }

    /**
     * [items] inferences in one call, spread over the threads of the session, on [dispatcher]. It cannot be cancelled once it has begun. See [runBatchBlocking].
     */
    public suspend fun runBatch(items: Int, inputs: List<ByteBuffer>, outputs: List<ByteBuffer>, dispatcher: CoroutineDispatcher = Dispatchers.Default): Unit =
        withContext(dispatcher) { runBatchBlocking(items, inputs, outputs) }

    /**
     * [items] inferences in one call in this thread and those of the session. `inputs[i]` is a direct buffer with input i of all items, one behind the other from its
     * beginning, and `outputs[i]` one with room for output i of all items. Items are copied in and out once; [input] and [output] are not used.
     */
    public fun runBatchBlocking(items: Int, inputs: List<ByteBuffer>, outputs: List<ByteBuffer>) {
        if (items < 0) throw FleetfootException.InvalidArgument("$items items", ARGUMENT)
        val (from, to) = pointers("input", items, inputs, this.inputs) to pointers("output", items, outputs, this.outputs)
        call { Native.sessionRunBatch(handle, items.toLong(), Native.address(from), Native.address(to), it) }
        alive(from, to, inputs, outputs, arena)
    }

    /** The addresses of the buffers of a batch, one behind the other as C takes them. */
    private fun pointers(what: String, items: Int, buffers: List<ByteBuffer>, tensors: List<Tensor>): ByteBuffer {
        if (buffers.size != tensors.size) {
            throw FleetfootException.TensorMismatch("the model has ${tensors.size} ${what}s, ${buffers.size} were given", LENGTH, -1)
        }
        val all = direct(POINTER * maxOf(buffers.size, 1))
        for ((index, buffer) in buffers.withIndex()) {
            val need = items.toLong() * tensors[index].info.byteLength
            if (!buffer.isDirect || buffer.capacity() < need || what == "output" && buffer.isReadOnly) {
                val why = "$what $index of $items items has $need bytes in a direct buffer, ${buffer.capacity()} were given"
                throw FleetfootException.TensorMismatch(why, LENGTH, index)
            }
            putPointer(all, POINTER * index, Native.address(buffer))
        }
        return all
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

    /** Closes the session; waits for a run that is under way. Tensors stay valid. */
    override fun close(): Unit = Native.sessionRelease(handle)

    private fun run(cancel: Long) {
        call { Native.sessionRun(handle, cancel, it) }
        // The memory must outlive the call, also where this was the last use of the session; this store comes after it and costs a nanosecond.
        used.lazySet(arena)
    }

    private fun view(info: TensorInfo, place: (data: Long, len: Long, error: Long) -> Int): Tensor {
        val (data, len) = direct(8) to direct(8)
        call { place(Native.address(data), Native.address(len), it) }
        val from = Math.toIntExact(getPointer(data) - Native.address(arena))
        // A slice keeps the whole arena alive.
        return Tensor(info, arena.part(from, info.byteLength))
    }

    private fun none(what: String, index: Int) = FleetfootException.TensorMismatch("there is no $what $index", NO_SUCH_TENSOR, index)

    private companion object {
        const val ARENA_TOO_SMALL = 306
        const val NO_SUCH_TENSOR = 307
        const val ARGUMENT = 606
        const val LENGTH = 609
        const val ALIGN = 64

        fun aligned(len: Int): ByteBuffer {
            val room = direct(len + ALIGN)
            val skip = (ALIGN - (Native.address(room) % ALIGN).toInt()) % ALIGN
            return room.part(skip, len)
        }
    }
}

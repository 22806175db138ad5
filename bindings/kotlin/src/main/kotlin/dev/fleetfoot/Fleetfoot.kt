package dev.fleetfoot

import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.withContext

/** A model that is kept up to date. */
public class ModelConfig(
    /** Its name in the repository. */
    public val name: String,
    /** The first root metadata: it comes with the application, never from the network. */
    public val rootJson: ByteArray,
    /** How files of the repository arrive. */
    public val transport: Transport,
    /** Deaths of the process that a new version may cause; 0: 2. */
    public val attempts: Int = 0,
    /** Good inferences that a trial needs; 0: 500. */
    public val minInferences: Int = 0,
    /** Seconds that a trial takes at least; `null`: 6 hours. */
    public val healthWindowSeconds: Int? = null,
    /** The bundle that came with the application, and its keys. */
    public val factory: Pair<File, Keys>? = null,
)

/**
 * A store on this device, and the models in it.
 *
 * ```
 * val fleetfoot = Fleetfoot.open(File(filesDir, "fleetfoot"), ModelConfig("kws", root, HttpTransport("https://example.org/models")))
 * val session = fleetfoot.activeModel("kws").newSession()
 * session.input().set(samples)
 * session.run()
 * val scores = session.output().toFloatArray()
 * ```
 */
public class Fleetfoot private constructor(private val handle: Long, models: List<ModelConfig>) : AutoCloseable {
    /** Polls, trials, rollbacks. */
    public val updates: Updates = Updates(handle, models.associate { it.name to it.transport })

    /**
     * What happens, from the moment that it is collected; the first collector also gets the events of the opening. Each collector has a queue of its own,
     * which is closed with it. Ends when this is closed.
     */
    public val events: Flow<FleetfootEvent> = flow {
        val queue = make { out, error -> Native.eventsSubscribe(handle, 0, out, error) }
        try {
            val event = Struct("ff_event")
            while (true) {
                currentCoroutineContext().ensureActive()
                when (val status = Native.eventsNext(queue, event.address, WAIT_MS)) {
                    0 -> emit(FleetfootEvent.of(event))
                    TIMEOUT -> {}
                    CLOSED -> break
                    else -> throw FleetfootException.of(status, "events: status $status", -1)
                }
            }
        } finally {
            Native.eventsRelease(queue)
        }
    }.flowOn(Dispatchers.IO)

    /** The version that serves now, pinned. Never waits for a poll. */
    public suspend fun activeModel(name: String): Model = withContext(Dispatchers.IO) { activeModelBlocking(name) }

    /** As [activeModel], in this thread. */
    public fun activeModelBlocking(name: String): Model {
        val text = native(name)
        return Model(make { out, error -> Native.modelActive(handle, Native.address(text), out, error) }.also { alive(text) })
    }

    /** An inference of a model from [activeModel] was good or bad: counts where that version is on trial. */
    public fun outcome(model: Model, good: Boolean): Unit = call { Native.outcome(handle, model.handle, if (good) 1 else 0, it) }

    /** The state of all models, as JSON. */
    public fun statusJson(): String {
        var room = direct(4096)
        while (true) {
            val need = direct(8)
            val status = Native.statusJson(handle, Native.address(room), room.capacity().toLong(), Native.address(need), threadError().address)
            if (status == 0) return ByteArray(getPointer(need).toInt() - 1).also { room.get(it) }.decodeToString()
            if (status != TOO_SMALL) throw failure(status, threadError())
            room = direct(getPointer(need).toInt() + 256)
        }
    }

    /** Gives up polls that are under way, and waits for them. Models and sessions live on. */
    override fun close(): Unit = Native.runtimeRelease(handle)

    /** Opens stores. */
    public companion object {
        private const val WAIT_MS = 100
        private const val CLOSED = 601
        private const val TIMEOUT = 608
        private const val TOO_SMALL = 616

        /** Opens the store and goes on from what is there. Needs no network. */
        public suspend fun open(store: File, vararg models: ModelConfig): Fleetfoot = withContext(Dispatchers.IO) { openBlocking(store, *models) }

        /** As [open], in this thread. */
        @JvmStatic
        public fun openBlocking(store: File, vararg models: ModelConfig): Fleetfoot {
            val kept = ArrayList<Any>()
            fun keep(buffer: java.nio.ByteBuffer): Long = Native.address(buffer).also { kept += buffer }
            val size = Layout.length("ff_model_options")
            val all = direct(size * maxOf(models.size, 1))
            for ((index, model) in models.withIndex()) {
                val options = Struct("ff_model_options").set("attempts", model.attempts).set("min_inferences", model.minInferences)
                options.set("health_window_s", model.healthWindowSeconds?.let { if (it == 0) -1 else it } ?: 0)
                options.setPointer("name", keep(native(model.name))).setPointer("root_json", keep(native(model.rootJson)))
                options.setPointer("root_json_len", model.rootJson.size.toLong())
                model.factory?.let { (file, keys) ->
                    options.setPointer("factory_path", keep(native(file.path))).setPointer("factory_keys", keep(keys.bytes))
                    options.set("n_factory_keys", keys.count).set("factory_threshold", keys.threshold)
                }
                all.part(index * size, size).put(options.buffer.duplicate())
            }
            val options = Struct("ff_runtime_options").set("n_models", models.size)
            options.setPointer("store_dir", keep(native(store.path))).setPointer("models", keep(all))
            val handle = make { out, error -> Native.runtimeOpen(options.address, out, error) }
            alive(kept, options)
            return Fleetfoot(handle, models.asList())
        }
    }
}

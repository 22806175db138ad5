package dev.fleetfoot

import java.io.File
import java.nio.ByteBuffer
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

/** What the signed header of a bundle says, and its inputs and outputs. */
public data class ModelInfo(
    /** Name of the model. */
    val name: String,
    /** Release label, such as `1.2.0`. */
    val version: String,
    /** Release number: higher is newer. */
    val number: Long,
    /** SHA-256 of the bundle, in hexadecimal digits. */
    val sha256: String,
    /** Inputs, in order. */
    val inputs: List<TensorInfo>,
    /** Outputs, in order. */
    val outputs: List<TensorInfo>,
    /** Bytes of memory that a session of one thread needs. */
    val arenaBytes: Long,
)

/** Keys that vouch for a bundle: Ed25519 public keys of 32 bytes, of which [threshold] must have signed. */
public class Keys(private val keys: List<ByteArray>, internal val threshold: Int = 1) {
    init {
        require(keys.all { it.size == 32 }) { "a key has 32 bytes" }
    }

    internal val count: Int get() = keys.size
    internal val bytes: ByteBuffer get() = native(keys.fold(ByteArray(0)) { all, key -> all + key })
}

/** A verified model. Immutable; any number of sessions and threads may share it. Closing it leaves its sessions alone. */
public class Model internal constructor(internal val handle: Long) : AutoCloseable {
    /** Names, numbers, inputs and outputs. */
    public val info: ModelInfo = describe()

    /** A session: memory for one inference at a time. */
    public fun newSession(options: SessionOptions = SessionOptions()): Session = Session(this, options)

    /** Closes the handle. Sessions keep what they need of the model. */
    override fun close(): Unit = Native.modelRelease(handle)

    private fun describe(): ModelInfo {
        val info = Struct("ff_model_info")
        call { Native.modelInfo(handle, info.address, it) }
        val inputs = List(info.int("n_inputs")) { index -> tensor { to, error -> Native.modelInput(handle, index, to, error) } }
        val outputs = List(info.int("n_outputs")) { index -> tensor { to, error -> Native.modelOutput(handle, index, to, error) } }
        val sha256 = info.bytes("sha256", 32).joinToString("") { "%02x".format(it) }
        return ModelInfo(
            info.textAt("name").orEmpty(), info.textAt("version").orEmpty(), info.long("number"), sha256, inputs, outputs, info.long("arena_len"),
        )
    }

    private fun tensor(get: (to: Long, error: Long) -> Int): TensorInfo {
        val info = Struct("ff_tensor_info")
        call { get(info.address, it) }
        val shape = List(info.int("rank")) { info.int("dims", it) }
        val len = Math.toIntExact(info.long("byte_len"))
        return TensorInfo(info.textAt("name").orEmpty(), DType.of(info.int("dtype")), shape, len, info.float("scale"), info.int("zero_point"))
    }

    /** Opens models from bundles. */
    public companion object {
        /** Maps and verifies a bundle. */
        public suspend fun open(file: File, keys: Keys): Model = withContext(Dispatchers.IO) { openBlocking(file, keys) }

        /** As [open], in this thread. */
        @JvmStatic
        public fun openBlocking(file: File, keys: Keys): Model {
            val (path, bytes) = native(file.path) to keys.bytes
            val handle = make { out, error ->
                Native.modelFromFile(Native.address(path), Native.address(bytes), keys.count, keys.threshold, out, error)
            }
            alive(path, bytes)
            return Model(handle)
        }

        /** Verifies a bundle that lies in a larger file, such as an asset of an APK: [length] bytes of the descriptor [fd] from [offset] on. */
        @JvmStatic
        public fun openBlocking(fd: Int, offset: Long, length: Long, keys: Keys): Model {
            val bytes = keys.bytes
            val handle = make { out, error ->
                Native.modelFromFd(fd, offset, length, Native.address(bytes), keys.count, keys.threshold, out, error)
            }
            alive(bytes)
            return Model(handle)
        }

        /** Verifies a bundle in memory, which is copied once. */
        @JvmStatic
        public fun openBlocking(bundle: ByteArray, keys: Keys): Model {
            val (data, bytes) = native(bundle) to keys.bytes
            val handle = make { out, error ->
                Native.modelFromMemory(Native.address(data), bundle.size.toLong(), Native.address(bytes), keys.count, keys.threshold, out, error)
            }
            alive(data, bytes)
            return Model(handle)
        }
    }
}

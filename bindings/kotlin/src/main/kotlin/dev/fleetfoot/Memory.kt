package dev.fleetfoot

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Where the fields of the C structs are, as the library itself says. */
internal object Layout {
    private val lines: Map<String, List<Int>> = run {
        val room = ByteBuffer.allocateDirect(1 shl 15)
        val len = Native.layout(Native.address(room), room.capacity())
        check(len <= room.capacity()) { "the layout of the library is $len bytes long" }
        val bytes = ByteArray(len)
        room.get(bytes)
        bytes.decodeToString().lines().filter { it.isNotEmpty() }.map { it.split(' ') }.associate { it[0] to it.drop(1).map(String::toInt) }
    }

    /** The length of a struct (`ff_event`). */
    fun length(struct: String): Int = line(struct)[0]

    /** The offset of a field (`ff_event.kind`) that is one number of [size] bytes, or several where [isArray]. */
    fun offset(field: String, size: Int, isArray: Boolean): Int {
        val (offset, len) = line(field)
        check(if (isArray) len > size && len % size == 0 else len == size) { "$field of the native library has $len bytes" }
        return offset
    }

    /** Bytes of a pointer, and of a length. */
    val pointer: Int get() = line("ff_request.path")[1]

    private fun line(name: String) = lines[name] ?: error("the native library has no $name")
}

/** A C struct in memory of its own. Fields are read and written by their names in the header; those that are arrays are called with an index. */
internal class Struct(private val name: String) {
    val buffer: ByteBuffer = direct(Layout.length(name))
    val address: Long = Native.address(buffer)

    init {
        buffer.putInt(0, buffer.capacity())
    }

    private fun at(field: String, size: Int) = Layout.offset("$name.$field", size, isArray = false)
    private fun at(field: String, size: Int, index: Int) = Layout.offset("$name.$field", size, isArray = true) + size * index

    fun int(field: String): Int = buffer.getInt(at(field, 4))
    fun int(field: String, index: Int): Int = buffer.getInt(at(field, 4, index))
    fun long(field: String): Long = buffer.getLong(at(field, 8))
    fun float(field: String): Float = buffer.getFloat(at(field, 4))
    fun pointer(field: String): Long = getPointer(buffer, at(field, POINTER))
    fun set(field: String, value: Int): Struct = apply { buffer.putInt(at(field, 4), value) }
    fun set(field: String, value: Int, index: Int): Struct = apply { buffer.putInt(at(field, 4, index), value) }
    fun set(field: String, value: Float, index: Int): Struct = apply { buffer.putFloat(at(field, 4, index), value) }
    fun setPointer(field: String, value: Long): Struct = apply { putPointer(buffer, at(field, POINTER), value) }
    fun setPointer(field: String, value: Long, index: Int): Struct = apply { putPointer(buffer, at(field, POINTER, index), value) }

    fun bytes(field: String, len: Int): ByteArray {
        val from = at(field, 1, 0)
        return ByteArray(len) { buffer.get(from + it) }
    }

    /** A text inside of the struct, which ends with a zero. */
    fun text(field: String): String {
        val from = at(field, 1, 0)
        val len = (from until buffer.capacity()).first { buffer.get(it) == 0.toByte() } - from
        return bytes(field, len).decodeToString()
    }

    /** A text that a pointer in the struct leads to; `null` for NULL. */
    fun textAt(field: String): String? = pointer(field).takeIf { it != 0L }?.let(::text)
}

internal val POINTER: Int = Layout.pointer

internal fun direct(len: Int): ByteBuffer = ByteBuffer.allocateDirect(len).order(ByteOrder.nativeOrder())

internal fun putPointer(buffer: ByteBuffer, at: Int, value: Long) {
    if (POINTER == 8) buffer.putLong(at, value) else buffer.putInt(at, value.toInt())
}

internal fun getPointer(buffer: ByteBuffer, at: Int = 0): Long = if (POINTER == 8) buffer.getLong(at) else buffer.getInt(at).toUInt().toLong()

/** Bytes in memory that C can read. */
internal fun native(bytes: ByteArray): ByteBuffer = direct(maxOf(bytes.size, 1)).put(bytes).rewind() as ByteBuffer

/** A text with a zero behind it in memory that C can read. */
internal fun native(text: String): ByteBuffer = native(text.encodeToByteArray() + 0)

private fun text(from: Long): String {
    var room = direct(256)
    while (true) {
        val len = Native.text(from, Native.address(room), room.capacity())
        if (len >= 0) return ByteArray(len).also { room.get(it) }.decodeToString()
        check(room.capacity() < 1 shl 20) { "a text without an end" }
        room = direct(room.capacity() * 4)
    }
}

/** The `ff_error` of a thread: every call is on one thread from its beginning to its end. */
private val errors = object : ThreadLocal<Struct>() {
    override fun initialValue() = Struct("ff_error")
}

/** Calls a function with the address of an `ff_error`, and throws what it says. */
internal inline fun call(function: (Long) -> Int) {
    val error = threadError()
    val status = function(error.address)
    if (status != 0) throw failure(status, error)
}

internal fun threadError(): Struct = checkNotNull(errors.get())

internal fun failure(status: Int, error: Struct): RuntimeException {
    // What went wrong with the ff_error itself is not written into it.
    val told = error.int("status") == status
    return FleetfootException.of(status, if (told) error.text("message") else "status $status", if (told) error.int("tensor_index") else -1)
}

/** Calls a function that makes a handle. */
internal inline fun make(function: (out: Long, error: Long) -> Int): Long {
    val out = direct(8)
    call { error -> function(Native.address(out), error) }
    return getPointer(out)
}

/** Keeps buffers alive until here: their addresses were handed to C. (`Reference.reachabilityFence` came with Android 9.) */
internal fun alive(vararg buffers: Any?) {
    anchor = buffers
    anchor = null
}

@Volatile
private var anchor: Any? = null

/** `len` bytes of a direct buffer from `from` on. (`slice(from, len)` came with Android 14.) */
internal fun ByteBuffer.part(from: Int, len: Int): ByteBuffer {
    val all = duplicate()
    all.limit(from + len)
    all.position(from)
    return all.slice()
}

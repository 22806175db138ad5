package dev.fleetfoot

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Element type of a tensor. */
public enum class DType(
    internal val code: Int,
    /** Bytes of an element. */
    public val byteLength: Int,
) {
    /** -128 to 127, quantized. */
    INT8(1, 1),

    /** 0 to 255, quantized. */
    UINT8(2, 1),

    /** Whole numbers of 32 bits. */
    INT32(3, 4),

    /** Whole numbers of 64 bits. */
    INT64(4, 8),

    /** Real numbers of 32 bits. */
    FLOAT32(5, 4);

    internal companion object {
        fun of(code: Int): DType = entries.firstOrNull { it.code == code } ?: throw FleetfootException.Unknown("element type $code", 606)
    }
}

/** An input or output: `real = (q - zeroPoint) * scale`. */
public data class TensorInfo(
    /** Its name in the source model. */
    val name: String,
    /** Type of its elements. */
    val dtype: DType,
    /** Extents, outermost first; images are `[n, h, w, c]`. */
    val shape: List<Int>,
    /** Bytes of all elements. */
    val byteLength: Int,
    /** What a step of q is worth. */
    val scale: Float,
    /** The q of 0. */
    val zeroPoint: Int,
)

/**
 * An input or output of a session, in the memory that the model runs in: nothing is copied. An input is written before every run, which may
 * overwrite it; an output is read after it. The memory stays valid after the session is closed.
 */
public class Tensor internal constructor(
    /** Name, type, shape and scale. */
    public val info: TensorInfo,
    memory: ByteBuffer,
) {
    /** Its bytes: direct, in the byte order of the machine, position 0, limit [TensorInfo.byteLength]. */
    public val buffer: ByteBuffer = memory.order(ByteOrder.nativeOrder())

    /** Sets all bytes. */
    public fun set(values: ByteArray) {
        mismatch(values.size, info.byteLength)
        buffer.duplicate().put(values)
    }

    /** Sets all elements from real numbers, quantized with scale and zero point where the type is a quantized one. */
    public fun set(values: FloatArray) {
        val size = info.dtype.byteLength
        mismatch(values.size * size, info.byteLength)
        for ((at, value) in values.withIndex()) {
            when (info.dtype) {
                DType.FLOAT32 -> buffer.putFloat(4 * at, value)
                DType.INT8 -> buffer.put(at, quantized(value, -128, 127).toByte())
                DType.UINT8 -> buffer.put(at, quantized(value, 0, 255).toByte())
                DType.INT32 -> buffer.putInt(4 * at, value.toInt())
                DType.INT64 -> buffer.putLong(8 * at, value.toLong())
            }
        }
    }

    /** A copy of all bytes. */
    public fun toByteArray(): ByteArray = ByteArray(info.byteLength).also { buffer.duplicate().get(it) }

    /** All elements as real numbers. */
    public fun toFloatArray(): FloatArray = FloatArray(info.byteLength / info.dtype.byteLength) { at ->
        when (info.dtype) {
            DType.FLOAT32 -> buffer.getFloat(4 * at)
            DType.INT8 -> (buffer.get(at) - info.zeroPoint) * info.scale
            DType.UINT8 -> ((buffer.get(at).toInt() and 0xff) - info.zeroPoint) * info.scale
            DType.INT32 -> buffer.getInt(4 * at).toFloat()
            DType.INT64 -> buffer.getLong(8 * at).toFloat()
        }
    }

    /** Half to even, as everywhere in Fleetfoot. */
    private fun quantized(value: Float, low: Int, high: Int): Int {
        val steps = Math.rint((value / info.scale).toDouble()) + info.zeroPoint
        return if (steps.isNaN()) info.zeroPoint else steps.coerceIn(low.toDouble(), high.toDouble()).toInt()
    }

    private fun mismatch(have: Int, need: Int) {
        if (have != need) throw FleetfootException.TensorMismatch("${info.name} has $need bytes, $have were given", 609, -1)
    }
}

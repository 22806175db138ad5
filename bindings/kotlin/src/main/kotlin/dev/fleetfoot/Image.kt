package dev.fleetfoot

import java.nio.ByteBuffer

/** How an image lies in memory. */
public enum class PixelFormat(internal val code: Int) {
    /** One plane, 4 bytes a pixel: red, green, blue, alpha, which is ignored. */
    RGBA_8888(1),

    /** One plane, 4 bytes a pixel: blue, green, red, alpha, which is ignored. */
    BGRA_8888(2),

    /** Two planes: luma; pairs (u, v) for each 2 x 2 pixels. */
    NV12(3),

    /** Two planes: luma; pairs (v, u) for each 2 x 2 pixels. */
    NV21(4);

    internal val isYuv: Boolean get() = this == NV12 || this == NV21
}

/** An image in direct buffers: `real = (pixel - mean) / std` for each of red, green and blue of 0 to 255. */
public class Image internal constructor(
    /** How it lies in memory. */
    public val format: PixelFormat,
    /** Columns, before the turn. */
    public val width: Int,
    /** Rows, before the turn. */
    public val height: Int,
    private val planes: List<Plane>,
    /** Turn it clockwise first, by 0, 90, 180 or 270. */
    public val rotationDegrees: Int,
    /** Take pixels between four neighbours; otherwise the nearest one. */
    public val bilinear: Boolean,
    /** Luma and chroma use 0 to 255, as cameras of phones give them; otherwise 16 to 235, as in films. */
    public val fullRange: Boolean,
    /** What is taken from red, green and blue. */
    public val mean: FloatArray,
    /** What they are divided by then; all 0: the model takes pixels as they are. */
    public val std: FloatArray,
) {
    /**
     * An image whose [planes] are direct buffers, each from its beginning; [strides] are the bytes from one row of a plane to the next.
     */
    public constructor(
        format: PixelFormat,
        width: Int,
        height: Int,
        planes: List<ByteBuffer>,
        strides: List<Int>,
        rotationDegrees: Int = 0,
        bilinear: Boolean = true,
        fullRange: Boolean = true,
        mean: FloatArray = FloatArray(3),
        std: FloatArray = FloatArray(3),
    ) : this(format, width, height, pair(planes, strides), rotationDegrees, bilinear, fullRange, mean, std)

    init {
        if (mean.size != 3 || std.size != 3) throw FleetfootException.InvalidArgument("mean and std have three numbers each", IMAGE)
    }

    /** The planes that the format has, each as large as the image needs. */
    internal fun checked(): List<Plane> {
        val count = if (format.isYuv) 2 else 1
        return List(count) { number ->
            val plane = planes.getOrNull(number) ?: throw FleetfootException.InvalidArgument("plane $number or its stride is missing", IMAGE)
            val rows = if (number == 0) height.toLong() else (height + 1L) / 2
            val row = if (!format.isYuv) 4L * width else if (number == 0) width.toLong() else 2 * ((width + 1L) / 2)
            val need = (rows - 1) * plane.stride + row
            if (width <= 0 || height <= 0 || plane.stride < row || plane.length < need) {
                val why = "plane $number of an image of $width x $height has ${plane.length} bytes and a stride of ${plane.stride}: it takes $need and $row"
                throw FleetfootException.InvalidArgument(why, IMAGE)
            }
            plane
        }
    }

    /** Memory of one plane: [length] bytes at [address], which [owner] keeps alive. */
    internal class Plane(val address: Long, val length: Long, val stride: Int, val owner: Any)

    private companion object {
        const val IMAGE = 613

        fun pair(planes: List<ByteBuffer>, strides: List<Int>) = planes.zip(strides).map { (buffer, stride) ->
            if (!buffer.isDirect) throw FleetfootException.InvalidArgument("a plane is no direct buffer", IMAGE)
            Plane(Native.address(buffer), buffer.capacity().toLong(), stride, buffer)
        }
    }
}

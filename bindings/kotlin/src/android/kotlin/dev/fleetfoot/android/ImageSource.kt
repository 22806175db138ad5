package dev.fleetfoot.android

import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.graphics.Rect
import dev.fleetfoot.FleetfootException
import dev.fleetfoot.Image
import dev.fleetfoot.Native
import dev.fleetfoot.PixelFormat
import dev.fleetfoot.direct
import java.nio.ByteBuffer

/**
 * Turns frames of a camera and bitmaps into what [dev.fleetfoot.Session.setImage] takes. Frames are not copied where their chroma lies in pairs, as it does on
 * nearly all phones; memory for those that have to be copied is kept for the next one. For one thread at a time. What it returns is good until the next call,
 * and until the frame is closed.
 *
 * ```
 * val source = ImageSource()
 * session.setImage(source.of(frame, rotationDegrees = 90))
 * frame.close()
 * session.run()
 * ```
 */
public class ImageSource(
    private val bilinear: Boolean = true,
    private val mean: FloatArray = FloatArray(3),
    private val std: FloatArray = FloatArray(3),
) {
    private var room: ByteBuffer = direct(0)

    /**
     * A frame of a camera or a film ([ImageFormat.YUV_420_888]), or of an `ImageReader` with red, green, blue and alpha: the part of it that its crop names.
     * Throws [FleetfootException.InvalidArgument] (613) for others, such as JPEG: decode those with `BitmapFactory`.
     */
    public fun of(frame: android.media.Image, rotationDegrees: Int = 0, fullRange: Boolean = true): Image {
        val (planes, crop) = frame.planes to Crop.of(frame.cropRect, frame.width, frame.height)
        return when (frame.format) {
            ImageFormat.YUV_420_888 -> yuv(planes, crop, rotationDegrees, fullRange)
            RGBA_8888 -> {
                val (buffer, stride) = planes[0].buffer to planes[0].rowStride
                val plane = plane(buffer, stride, crop.top.toLong() * stride + 4L * crop.left)
                image(PixelFormat.RGBA_8888, crop, listOf(plane), rotationDegrees, true)
            }
            else -> throw FleetfootException.InvalidArgument("a frame of format ${frame.format} is neither YUV_420_888 nor RGBA_8888", IMAGE)
        }
    }

    /** A bitmap, which is copied. Those that are not [Bitmap.Config.ARGB_8888] (hardware bitmaps, say) are converted first. */
    public fun of(bitmap: Bitmap, rotationDegrees: Int = 0): Image {
        if (bitmap.config == Bitmap.Config.ARGB_8888) {
            return pixels(bitmap.width, bitmap.height, bitmap.rowBytes, rotationDegrees, bitmap::copyPixelsToBuffer)
        }
        val converted: Bitmap? = bitmap.copy(Bitmap.Config.ARGB_8888, false)
        converted ?: throw FleetfootException.InvalidArgument("a bitmap of ${bitmap.config} cannot be converted to ARGB_8888", IMAGE)
        try {
            return pixels(converted.width, converted.height, converted.rowBytes, rotationDegrees, converted::copyPixelsToBuffer)
        } finally {
            converted.recycle()
        }
    }

    /** The pixels of a bitmap: in memory they are red, green, blue, alpha, whatever the name of its configuration says. */
    internal fun pixels(width: Int, height: Int, rowBytes: Int, rotationDegrees: Int, copy: (ByteBuffer) -> Unit): Image {
        val buffer = room(rowBytes.toLong() * height)
        copy(buffer)
        val plane = Image.Plane(Native.address(buffer), buffer.capacity().toLong(), rowBytes, buffer)
        return image(PixelFormat.RGBA_8888, Crop(0, 0, width, height), listOf(plane), rotationDegrees, true)
    }

    private fun yuv(planes: Array<android.media.Image.Plane>, crop: Crop, rotationDegrees: Int, fullRange: Boolean): Image {
        val (y, u, v) = planes
        if (y.pixelStride != 1) throw FleetfootException.InvalidArgument("luma has a stride of ${y.pixelStride} bytes a pixel", IMAGE)
        val luma = plane(y.buffer, y.rowStride, crop.top.toLong() * y.rowStride + crop.left)
        val (first, format) = pairs(u, v) ?: return image(PixelFormat.NV12, crop, listOf(luma, interleaved(u, v, crop)), rotationDegrees, fullRange)
        val from = crop.top / 2L * first.stride + crop.left
        val chroma = Image.Plane(first.address + from, first.length - from, first.stride, first.owner)
        return image(format, crop, listOf(luma, chroma), rotationDegrees, fullRange)
    }

    /** The plane of pairs, where both planes of chroma are the same memory, one byte apart. Each ends a byte before the other's last one. */
    private fun pairs(u: android.media.Image.Plane, v: android.media.Image.Plane): Pair<Image.Plane, PixelFormat>? {
        if (u.pixelStride != 2 || v.pixelStride != 2 || u.rowStride != v.rowStride) return null
        val (atU, atV) = plane(u.buffer, u.rowStride, 0) to plane(v.buffer, v.rowStride, 0)
        val (first, second, format) = when (atV.address - atU.address) {
            1L -> Triple(atU, atV, PixelFormat.NV12)
            -1L -> Triple(atV, atU, PixelFormat.NV21)
            else -> return null
        }
        return Image.Plane(first.address, maxOf(first.length, 1 + second.length), first.stride, listOf(first.owner, second.owner)) to format
    }

    /** Chroma that lies otherwise, copied to pairs (u, v). */
    private fun interleaved(u: android.media.Image.Plane, v: android.media.Image.Plane, crop: Crop): Image.Plane {
        val (columns, rows) = (crop.width + 1) / 2 to (crop.height + 1) / 2
        val pairs = room(2L * columns * rows)
        val (fromU, fromV) = u.buffer.duplicate() to v.buffer.duplicate()
        for (row in 0 until rows) {
            val atU = fromU.position() + (crop.top / 2 + row) * u.rowStride + crop.left / 2 * u.pixelStride
            val atV = fromV.position() + (crop.top / 2 + row) * v.rowStride + crop.left / 2 * v.pixelStride
            if (atU + (columns - 1L) * u.pixelStride >= fromU.limit() || atV + (columns - 1L) * v.pixelStride >= fromV.limit()) {
                throw FleetfootException.InvalidArgument("the chroma of the frame ends in row $row of $rows", IMAGE)
            }
            for (column in 0 until columns) {
                pairs.put(2 * (row * columns + column), fromU.get(atU + column * u.pixelStride))
                pairs.put(2 * (row * columns + column) + 1, fromV.get(atV + column * v.pixelStride))
            }
        }
        return Image.Plane(Native.address(pairs), pairs.capacity().toLong(), 2 * columns, pairs)
    }

    private fun image(format: PixelFormat, crop: Crop, planes: List<Image.Plane>, rotationDegrees: Int, fullRange: Boolean) =
        Image(format, crop.width, crop.height, planes, rotationDegrees, bilinear, fullRange, mean, std)

    /** Memory for `len` bytes: the same as before, where that is large enough. */
    private fun room(len: Long): ByteBuffer {
        if (len > Int.MAX_VALUE) throw FleetfootException.InvalidArgument("an image of $len bytes", IMAGE)
        if (room.capacity() < len) room = direct(len.toInt())
        room.clear()
        return room
    }

    /** What of a frame counts. Its left and upper edge are even, so that pairs of chroma stay whole. */
    private class Crop(val left: Int, val top: Int, val width: Int, val height: Int) {
        companion object {
            fun of(rect: Rect, width: Int, height: Int): Crop {
                val (left, top) = rect.left.coerceIn(0, width) and 1.inv() to (rect.top.coerceIn(0, height) and 1.inv())
                return Crop(left, top, rect.right.coerceIn(left, width) - left, rect.bottom.coerceIn(top, height) - top)
            }
        }
    }

    private companion object {
        const val IMAGE = 613

        /** [android.graphics.PixelFormat.RGBA_8888], whose class has the name of ours. */
        const val RGBA_8888 = android.graphics.PixelFormat.RGBA_8888

        /** What is left of a buffer, from `skip` on. */
        fun plane(buffer: ByteBuffer, stride: Int, skip: Long): Image.Plane {
            if (!buffer.isDirect) throw FleetfootException.InvalidArgument("a plane is no direct buffer", IMAGE)
            val from = buffer.position() + skip
            return Image.Plane(Native.address(buffer) + from, buffer.limit() - from, stride, buffer)
        }
    }
}

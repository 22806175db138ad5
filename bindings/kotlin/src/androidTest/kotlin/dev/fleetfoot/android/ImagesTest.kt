package dev.fleetfoot.android

import android.graphics.ImageFormat
import android.graphics.Rect
import dev.fleetfoot.FleetfootException
import dev.fleetfoot.Image
import dev.fleetfoot.Model
import dev.fleetfoot.PixelFormat
import dev.fleetfoot.Session
import dev.fleetfoot.direct
import dev.fleetfoot.file
import dev.fleetfoot.keys
import dev.fleetfoot.part
import dev.fleetfoot.world
import java.io.File
import java.nio.ByteBuffer
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/**
 * Frames as cameras lay them out, made of a real picture, in the real class `android.media.Image`. Each must become the same input as the picture that is handed
 * over plane by plane.
 */
class ImagesTest {
    private val model = Model.openBlocking(File(world, "1.ff"), keys)
    private val session: Session = model.newSession()
    private val source = ImageSource()
    private val picture = file("input.bin").map { it.toInt() xor 0x80 and 0xff }
    private val width = 8
    private val height = 8

    @AfterEach
    fun close() {
        session.close()
        model.close()
    }

    /** Luma is the picture, chroma differs from place to place. */
    private fun luma(x: Int, y: Int) = picture[y % 8 * 8 + x % 8]
    private fun u(x: Int, y: Int) = 255 - 7 * x - y and 0xff
    private fun v(x: Int, y: Int) = 40 + 11 * y + 2 * x and 0xff

    private fun content(): ByteArray = session.input().toByteArray().also { session.input().set(ByteArray(it.size)) }

    /** What the part of the picture from an even corner on becomes, laid out anew as NV12. */
    private fun expected(left: Int, top: Int, width: Int, height: Int, rotation: Int, fullRange: Boolean): ByteArray {
        val (columns, rows) = (width + 1) / 2 to (height + 1) / 2
        val (first, second) = direct(width * height) to direct(2 * columns * rows)
        for (y in 0 until height) for (x in 0 until width) first.put(y * width + x, luma(left + x, top + y).toByte())
        for (y in 0 until rows) {
            for (x in 0 until columns) {
                second.put(2 * (y * columns + x), u(left / 2 + x, top / 2 + y).toByte()).put(2 * (y * columns + x) + 1, v(left / 2 + x, top / 2 + y).toByte())
            }
        }
        session.setImage(Image(PixelFormat.NV12, width, height, listOf(first, second), listOf(width, 2 * columns), rotation, fullRange = fullRange))
        return content()
    }

    private fun plane(rows: Int, rowStride: Int, len: Int, pixelStride: Int, value: (Int, Int) -> Int, columns: Int): Plane {
        val buffer = direct(len)
        for (y in 0 until rows) for (x in 0 until columns) buffer.put(y * rowStride + x * pixelStride, value(x, y).toByte())
        return Plane(buffer, rowStride, pixelStride)
    }

    /** Pairs in one memory: each plane of chroma ends a byte before the end of the other one, as in Android. */
    private fun pairs(swapped: Boolean, columns: Int, rows: Int, rowStride: Int): List<Plane> {
        val all = direct((rows - 1) * rowStride + 2 * columns)
        for (y in 0 until rows) {
            for (x in 0 until columns) {
                val (first, second) = if (swapped) v(x, y) to u(x, y) else u(x, y) to v(x, y)
                all.put(y * rowStride + 2 * x, first.toByte()).put(y * rowStride + 2 * x + 1, second.toByte())
            }
        }
        val (first, second) = all.part(0, all.capacity() - 1) to all.part(1, all.capacity() - 1)
        val planes = listOf(Plane(first, rowStride, 2), Plane(second, rowStride, 2))
        return if (swapped) planes.reversed() else planes
    }

    private fun frames(width: Int, height: Int): Map<String, Frame> {
        val (columns, rows) = (width + 1) / 2 to (height + 1) / 2
        fun frame(padding: Int, chroma: List<Plane>): Frame {
            val stride = width + padding
            val y = plane(height, stride, (height - 1) * stride + width, 1, ::luma, width)
            return Frame(ImageFormat.YUV_420_888, width, height, listOf(y) + chroma)
        }
        fun apart(pixelStride: Int, padding: Int): List<Plane> {
            val stride = columns * pixelStride + padding
            val len = (rows - 1) * stride + (columns - 1) * pixelStride + 1
            return listOf(plane(rows, stride, len, pixelStride, ::u, columns), plane(rows, stride, len, pixelStride, ::v, columns))
        }
        return mapOf(
            "pairs (u, v)" to frame(0, pairs(false, columns, rows, 2 * columns)),
            "pairs (v, u)" to frame(0, pairs(true, columns, rows, 2 * columns)),
            "pairs (v, u), longer rows" to frame(36, pairs(true, columns, rows, 2 * columns + 36)),
            "three planes" to frame(0, apart(1, 0)),
            "three planes, longer rows" to frame(4, apart(1, 3)),
            "planes with gaps" to frame(0, apart(2, 0)),
            "planes with large gaps" to frame(0, apart(3, 5)),
        )
    }

    @Test
    fun frames() {
        for ((width, height) in listOf(8 to 8, 27 to 27, 56 to 30)) {
            for ((name, frame) in frames(width, height)) {
                for (rotation in listOf(0, 90, 180, 270)) {
                    for (fullRange in listOf(true, false)) {
                        val expected = expected(0, 0, width, height, rotation, fullRange)
                        session.setImage(source.of(frame, rotation, fullRange))
                        assertArrayEquals(expected, content(), "$name, $width x $height, $rotation degrees")
                    }
                }
            }
        }
        // The chroma counts.
        assertFalse(expected(0, 0, 8, 8, 0, true).contentEquals(file("input.bin")))
    }

    @Test
    fun crops() {
        for ((name, frame) in frames(56, 42)) {
            for ((crop, means) in listOf(Rect(4, 6, 46, 40) to Rect(4, 6, 46, 40), Rect(5, 7, 46, 41) to Rect(4, 6, 46, 41), Rect(-3, -9, 99, 99) to Rect(0, 0, 56, 42))) {
                frame.cropRect = crop
                val expected = expected(means.left, means.top, means.right - means.left, means.bottom - means.top, 90, true)
                session.setImage(source.of(frame, 90))
                assertArrayEquals(expected, content(), "$name, $crop")
            }
        }
    }

    @Test
    fun pixels() {
        val stride = 4 * width + 12
        val buffer = direct((height - 1) * stride + 4 * width)
        for (y in 0 until height) for (x in 0 until width) repeat(3) { buffer.put(y * stride + 4 * x + it, luma(x, y).toByte()) }
        session.setImage(source.of(Frame(android.graphics.PixelFormat.RGBA_8888, width, height, listOf(Plane(buffer, stride, 4)))))
        assertArrayEquals(file("input.bin"), content())
        // What a bitmap copies out: rows of a stride, all of them whole.
        repeat(2) {
            session.setImage(source.pixels(width, height, stride, 0) { to ->
                assertEquals(height * stride, to.remaining())
                to.put(buffer.duplicate())
            })
            assertArrayEquals(file("input.bin"), content())
            session.input().set(file("input.bin"))
            session.runBlocking()
            assertArrayEquals(file("output-1.bin"), session.output().toByteArray())
        }
    }

    @Test
    fun refusals() {
        fun refused(frame: Frame, rotation: Int = 0) {
            val fault = assertThrows(FleetfootException.InvalidArgument::class.java) { session.setImage(source.of(frame, rotation)) }
            assertEquals(613, fault.code, fault.message)
        }
        val good = frames(width, height).getValue("three planes")
        refused(Frame(ImageFormat.JPEG, width, height, listOf(Plane(direct(999), 0, 0))))
        refused(good, rotation = 45)
        refused(good.apply { cropRect = Rect(8, 0, 8, 8) })
        for (short in 0..2) {
            val planes = frames(width, height).getValue("three planes").planes.map { it as Plane }.toMutableList()
            planes[short] = Plane(planes[short].buffer.part(0, planes[short].buffer.capacity() - 1), planes[short].rowStride, planes[short].pixelStride)
            refused(Frame(ImageFormat.YUV_420_888, width, height, planes))
        }
        val onHeap = Plane(ByteBuffer.allocate(8 * 8 * 4), 4 * 8, 4)
        refused(Frame(android.graphics.PixelFormat.RGBA_8888, width, height, listOf(onHeap)))
        assertTrue(session.input().toByteArray().all { it == 0.toByte() })
    }

    private class Plane(private val bytes: ByteBuffer, private val rows: Int, private val pixels: Int) : android.media.Image.Plane() {
        override fun getBuffer() = bytes
        override fun getRowStride() = rows
        override fun getPixelStride() = pixels
    }

    private class Frame(private val kind: Int, private val w: Int, private val h: Int, private val all: List<Plane>) : android.media.Image() {
        init {
            mIsImageValid = true
        }

        override fun getFormat() = kind
        override fun getWidth() = w
        override fun getHeight() = h
        override fun getTimestamp() = 0L
        override fun getPlanes(): Array<android.media.Image.Plane> = all.toTypedArray()
        override fun close() {}
    }
}

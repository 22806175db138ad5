package dev.fleetfoot

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Numbers of the header against those of Kotlin. Functions are compared by `ffi/tests/kotlin.rs`, fields of structs whenever they are used. */
class AbiTest {
    private val header = File(System.getProperty("fleetfoot.header")).readText().replace(Regex("/\\*.*?\\*/", RegexOption.DOT_MATCHES_ALL), "")

    /** The numbers of all names that begin so, without that beginning. */
    private fun numbers(prefix: String): Map<String, Int> =
        Regex("\\b$prefix(\\w+) = (\\d+)").findAll(header).associate { it.groupValues[1] to it.groupValues[2].toInt() }

    @Test
    fun version() = assertTrue(header.contains("#define FF_ABI_MAJOR ${Native.ABI_MAJOR}u"))

    @Test
    fun events() = assertEquals(numbers("FF_EVENT_"), FleetfootEvent.Kind.entries.associate { it.name to it.ordinal })

    @Test
    fun elements() {
        val types = DType.entries.associate { it.name to it.code }
        assertEquals(types, numbers("FF_").filterKeys { it in types })
        assertTrue(numbers("FF_").filterValues { it in 1..9 }.keys.filter { Regex("U?INT\\d+|FLOAT\\d+|BOOL\\d*").matches(it) }.all { it in types })
    }

    @Test
    fun pixels() {
        val formats = PixelFormat.entries.associate { it.name.replace("_", "") to it.code }
        assertEquals(formats, numbers("FF_").filterKeys { it in formats })
        assertEquals(mapOf("NEAREST" to 0, "BILINEAR" to 1), numbers("FF_").filterKeys { it.endsWith("EAREST") || it.endsWith("LINEAR") })
    }

    @Test
    fun results() {
        val names = mapOf("UpToDate" to "UP_TO_DATE")
        for ((name, kind) in numbers("FF_UPDATE_")) {
            val result = UpdateResult.of(Struct("ff_update_result").set("kind", kind))
            val ours = result.javaClass.simpleName
            assertEquals(name, names[ours] ?: ours.uppercase())
        }
        assertEquals(7, numbers("FF_UPDATE_").size)
        assertInstanceOf(UpdateResult.Other::class.java, UpdateResult.of(Struct("ff_update_result").set("kind", 99)))
        assertEquals(mapOf("WHOLE" to 0, "NOT_MODIFIED" to 1, "MISSING" to 2, "FAILED" to 3), numbers("FF_ANSWER_"))
        assertEquals(mapOf("TIMED" to 1), numbers("FF_SESSION_"))
    }

    @Test
    fun statuses() {
        val statuses = numbers("FF_ERR_")
        assertTrue(statuses.size > 40)
        for ((name, status) in statuses) {
            val made = FleetfootException.of(status, "why", 3)
            if (made is FleetfootException) assertEquals(status, made.code) else assertEquals("CANCELLED", name)
            assertEquals("why", made.message)
            assertTrue(made !is FleetfootException.Unknown, name)
        }
        assertInstanceOf(FleetfootException.Unknown::class.java, FleetfootException.of(799, "", -1))
    }
}

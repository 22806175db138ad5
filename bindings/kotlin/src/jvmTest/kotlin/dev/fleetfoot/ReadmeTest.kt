package dev.fleetfoot

import dev.fleetfoot.readme.example0
import java.io.ByteArrayOutputStream
import java.io.PrintStream
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

/** The first example of README.md, which is compiled from there, does what it says. */
class ReadmeTest {
    @Test
    fun firstResult() {
        val (told, before) = ByteArrayOutputStream() to System.out
        System.setOut(PrintStream(told))
        try {
            runBlocking { example0() }
        } finally {
            System.setOut(before)
        }
        val expected = Model.openBlocking(file("1.ff"), keys).use { model ->
            model.newSession().use { session ->
                session.input().set(file("input.bin"))
                session.runBlocking()
                session.output().toFloatArray().toList()
            }
        }
        assertEquals("$expected\n", told.toString())
    }
}

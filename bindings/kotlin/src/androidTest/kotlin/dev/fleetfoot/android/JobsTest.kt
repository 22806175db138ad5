package dev.fleetfoot.android

import android.app.job.JobInfo
import android.app.job.JobScheduler
import android.content.Context
import android.content.ContextWrapper
import dev.fleetfoot.Answer
import dev.fleetfoot.Fleetfoot
import dev.fleetfoot.FleetfootException
import dev.fleetfoot.FolderTransport
import dev.fleetfoot.ModelConfig
import dev.fleetfoot.Transport
import dev.fleetfoot.UpdateResult
import dev.fleetfoot.file
import dev.fleetfoot.world
import java.io.File
import kotlin.time.Duration.Companion.hours
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

/** The store of an application, and its polls, with the system's own classes around them. */
class JobsTest {
    @TempDir
    lateinit var scratch: File

    private val scheduler = Scheduler()

    private inner class App : ContextWrapper(null) {
        override fun getPackageName() = "org.example.app"
        override fun getNoBackupFilesDir() = File(scratch, "no_backup")
        override fun getSystemService(name: String): Any = scheduler.also { assertEquals(Context.JOB_SCHEDULER_SERVICE, name) }
    }

    private class Scheduler : JobScheduler() {
        val jobs = LinkedHashMap<Int, JobInfo>()
        override fun schedule(job: JobInfo): Int = RESULT_SUCCESS.also { jobs[job.id] = job }
        override fun scheduleAsPackage(job: JobInfo, packageName: String, userId: Int, tag: String?): Int = RESULT_FAILURE
        override fun cancel(jobId: Int) = jobs.remove(jobId).let {}
        override fun cancelAll() = jobs.clear()
        override fun getAllPendingJobs() = jobs.values.toList()
        override fun getPendingJob(jobId: Int) = jobs[jobId]
    }

    private abstract class Polls : UpdateJobService()

    @Test
    fun schedules() {
        assertTrue(UpdateJobService.schedule(App(), Polls::class.java, 7, 12.hours, charging = true, persisted = true))
        val job = scheduler.jobs.getValue(7)
        assertEquals(Polls::class.java.name, job.service.className)
        assertEquals("org.example.app", job.service.packageName)
        assertEquals(listOf(true, 12 * 3_600_000L, JobInfo.NETWORK_TYPE_UNMETERED), listOf(job.isPeriodic, job.intervalMillis, job.networkType))
        assertEquals(listOf(true, true), listOf(job.isRequireCharging, job.isPersisted))
        assertTrue(UpdateJobService.schedule(App(), Polls::class.java, 7, unmetered = false))
        assertEquals(listOf(6 * 3_600_000L, JobInfo.NETWORK_TYPE_ANY), scheduler.jobs.getValue(7).let { listOf(it.intervalMillis, it.networkType) })
        UpdateJobService.cancel(App(), 7)
        assertTrue(scheduler.jobs.isEmpty())
    }

    @Test
    fun polls() = runBlocking {
        var reached = true
        val folder = FolderTransport(File(world, "1"))
        val transport = Transport { request, sink -> if (reached) folder.fetch(request, sink) else Answer.Failed() }
        val logged = ArrayList<String>()
        val (results, faults) = ArrayList<UpdateResult>() to ArrayList<FleetfootException>()
        Fleetfoot.open(App(), ModelConfig("digits", file("root.json"), transport, minInferences = 1, healthWindowSeconds = 0)).use { fleetfoot ->
            assertTrue(File(scratch, "no_backup/fleetfoot/digits").isDirectory)
            suspend fun poll() = poll(listOf("digits"), { fleetfoot }, { _, result -> results += result }, { _, fault -> faults += fault }, { model, _ -> logged += model })
            reached = false
            assertTrue(poll())
            assertEquals(listOf(432), faults.map { it.code })
            reached = true
            assertFalse(poll())
            assertInstanceOf(UpdateResult.Trial::class.java, results.single())
            assertFalse(poll())
            assertEquals(2, results.size)
            // The application's own code fails, or runs out of its own time: that model is tried again, and the others have their turn.
            suspend fun poll(fleetfoot: suspend () -> Fleetfoot, failing: String) =
                poll(listOf("first", "digits"), fleetfoot, { _, result -> results += result }, { _, _ -> error(failing) }, { model, _ -> logged += model })
            var calls = 0
            assertTrue(poll({ if (calls++ == 0) withTimeout(1) { awaitCancellation() } else fleetfoot }, "not called"))
            assertEquals(listOf("first"), logged)
            assertEquals(3, results.size)
            // "first" is no model of this store.
            assertTrue(poll({ fleetfoot }, "called"))
            assertEquals(listOf("first", "first"), logged)
            assertEquals(4, results.size)
        }
    }
}

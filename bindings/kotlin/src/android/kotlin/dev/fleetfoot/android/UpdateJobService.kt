package dev.fleetfoot.android

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import android.util.Log
import dev.fleetfoot.Fleetfoot
import dev.fleetfoot.FleetfootException
import dev.fleetfoot.UpdateResult
import java.util.concurrent.ConcurrentHashMap
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.job
import kotlinx.coroutines.launch

/**
 * Polls when the system finds the time for it. An application derives a class, names it in its manifest with the permission
 * `android.permission.BIND_JOB_SERVICE`, and calls [schedule] once:
 *
 * ```
 * class Polls : UpdateJobService() {
 *     override suspend fun fleetfoot() = (application as App).fleetfoot()
 *     override val models get() = listOf("kws")
 * }
 * UpdateJobService.schedule(context, Polls::class.java, jobId = 1)
 * ```
 */
public abstract class UpdateJobService : JobService() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)
    private val polls = ConcurrentHashMap<Int, Job>()

    /** The models that are polled, one after the other. */
    protected abstract val models: List<String>

    /** The store of the application, which stays its own: there is one of it in a process. Called on a thread for blocking work. */
    protected abstract suspend fun fleetfoot(): Fleetfoot

    /** What a poll came to. Called on a thread for blocking work; by default nothing happens. */
    protected open fun polled(model: String, result: UpdateResult) {}

    /** A poll could not be finished: the system is asked to try again later. Called on a thread for blocking work; by default nothing happens. */
    protected open fun failed(model: String, fault: FleetfootException) {}

    /** Begins to poll, and returns at once. */
    override fun onStartJob(params: JobParameters): Boolean {
        val job = scope.launch(start = CoroutineStart.LAZY) {
            val again = poll(models, ::fleetfoot, ::polled, ::failed) { model, fault -> Log.e("Fleetfoot", "the poll of $model was given up", fault) }
            polls.remove(params.jobId, coroutineContext.job)
            jobFinished(params, again)
        }
        polls[params.jobId] = job
        job.start()
        return true
    }

    /** The system takes the time back: the poll is given up, and goes on where it stopped next time. */
    override fun onStopJob(params: JobParameters): Boolean {
        polls.remove(params.jobId)?.cancel()
        return true
    }

    /** Gives up what is under way. */
    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    /** Schedules services. */
    public companion object {
        /**
         * Polls about every [period], also after a restart of the device where [persisted] (which wants the permission `RECEIVE_BOOT_COMPLETED`). [unmetered]: not where
         * bytes cost money. Returns whether the system took it. Calling it again with the same [jobId] replaces what was there, and begins a new period.
         */
        @JvmStatic
        public fun schedule(
            context: Context,
            service: Class<out UpdateJobService>,
            jobId: Int,
            period: Duration = 6.hours,
            unmetered: Boolean = true,
            charging: Boolean = false,
            persisted: Boolean = false,
        ): Boolean {
            val scheduler = context.getSystemService(Context.JOB_SCHEDULER_SERVICE) as JobScheduler
            val job = JobInfo.Builder(jobId, ComponentName(context, service))
                .setRequiredNetworkType(if (unmetered) JobInfo.NETWORK_TYPE_UNMETERED else JobInfo.NETWORK_TYPE_ANY)
                .setRequiresCharging(charging)
                .setPersisted(persisted)
                .setPeriodic(period.inWholeMilliseconds)
            return scheduler.schedule(job.build()) == JobScheduler.RESULT_SUCCESS
        }

        /** No more polls. */
        @JvmStatic
        public fun cancel(context: Context, jobId: Int): Unit = (context.getSystemService(Context.JOB_SCHEDULER_SERVICE) as JobScheduler).cancel(jobId)
    }
}

/** Polls all models, whatever becomes of each of them, also in the code of the application. Whether one has to be tried again soon. */
internal suspend fun poll(
    models: List<String>,
    fleetfoot: suspend () -> Fleetfoot,
    polled: (String, UpdateResult) -> Unit,
    failed: (String, FleetfootException) -> Unit,
    log: (String, Exception) -> Unit,
): Boolean {
    var again = false
    for (model in models) {
        try {
            polled(model, fleetfoot().updates.poll(model))
        } catch (fault: Exception) {
            // Cancelled is only who is: a time limit of the application's own code ends as a cancellation, too.
            currentCoroutineContext().ensureActive()
            again = true
            try {
                if (fault is FleetfootException) failed(model, fault) else log(model, fault)
            } catch (another: Exception) {
                log(model, another)
            }
        }
    }
    return again
}

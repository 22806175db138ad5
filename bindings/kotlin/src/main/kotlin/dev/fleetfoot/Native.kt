package dev.fleetfoot

import java.nio.ByteBuffer

/**
 * The functions of `fleetfoot.h`, numbers only: handles, and addresses of direct buffers. The library is `libfleetfoot_jni`, on Android `libfleetfoot`, found as
 * [System.loadLibrary] does, or at the path in the system property `fleetfoot.library`. `ffi/tests/kotlin.rs` holds this list against the header and the library.
 */
internal object Native {
    init {
        val path = System.getProperty("fleetfoot.library")
        val name = if (System.getProperty("java.vm.name") == "Dalvik") "fleetfoot" else "fleetfoot_jni"
        if (path != null) System.load(path) else System.loadLibrary(name)
        check(abiVersion() ushr 16 == ABI_MAJOR) { "the native library has another interface: ${abiVersion() ushr 16}, not $ABI_MAJOR" }
    }

    internal const val ABI_MAJOR = 1

    @JvmStatic external fun modelFromFile(path: Long, keys: Long, nKeys: Int, threshold: Int, out: Long, error: Long): Int
    @JvmStatic external fun modelFromFd(fd: Int, offset: Long, length: Long, keys: Long, nKeys: Int, threshold: Int, out: Long, error: Long): Int
    @JvmStatic external fun modelFromMemory(data: Long, length: Long, keys: Long, nKeys: Int, threshold: Int, out: Long, error: Long): Int
    @JvmStatic external fun modelInfo(model: Long, info: Long, error: Long): Int
    @JvmStatic external fun modelInput(model: Long, index: Int, info: Long, error: Long): Int
    @JvmStatic external fun modelOutput(model: Long, index: Int, info: Long, error: Long): Int
    @JvmStatic external fun sessionCreate(model: Long, options: Long, out: Long, error: Long): Int
    @JvmStatic external fun sessionInput(session: Long, index: Int, data: Long, len: Long, error: Long): Int
    @JvmStatic external fun sessionOutput(session: Long, index: Int, data: Long, len: Long, error: Long): Int
    @JvmStatic external fun sessionSetImage(session: Long, index: Int, image: Long, error: Long): Int
    @JvmStatic external fun sessionRun(session: Long, cancel: Long, error: Long): Int
    @JvmStatic external fun sessionRunBatch(session: Long, n: Long, inputs: Long, outputs: Long, error: Long): Int
    @JvmStatic external fun sessionMetrics(session: Long, metrics: Long, error: Long): Int
    @JvmStatic external fun cancelCreate(out: Long): Int
    @JvmStatic external fun runtimeOpen(options: Long, out: Long, error: Long): Int
    @JvmStatic external fun modelActive(runtime: Long, name: Long, out: Long, error: Long): Int
    @JvmStatic external fun outcome(runtime: Long, model: Long, good: Int, error: Long): Int
    @JvmStatic external fun confirmHealthy(runtime: Long, name: Long, error: Long): Int
    @JvmStatic external fun rollback(runtime: Long, name: Long, to: Long, error: Long): Int
    @JvmStatic external fun statusJson(runtime: Long, buffer: Long, len: Long, need: Long, error: Long): Int
    @JvmStatic external fun updateActivate(runtime: Long, name: Long, result: Long, error: Long): Int
    @JvmStatic external fun updateBegin(runtime: Long, name: Long, stage: Int, nowS: Long, out: Long, error: Long): Int
    @JvmStatic external fun updateNext(update: Long, request: Long, result: Long, error: Long): Int
    @JvmStatic external fun updateFeed(update: Long, data: Long, len: Long, error: Long): Int
    @JvmStatic external fun updateAnswer(update: Long, answer: Int, httpStatus: Int, etag: Long, error: Long): Int
    @JvmStatic external fun eventsSubscribe(runtime: Long, capacity: Int, out: Long, error: Long): Int
    @JvmStatic external fun eventsNext(queue: Long, event: Long, timeoutMs: Int): Int
    @JvmStatic external fun cancelSet(cancel: Long, cancelled: Int): Int
    @JvmStatic external fun modelRelease(handle: Long)
    @JvmStatic external fun sessionRelease(handle: Long)
    @JvmStatic external fun cancelRelease(handle: Long)
    @JvmStatic external fun runtimeRelease(handle: Long)
    @JvmStatic external fun updateRelease(handle: Long)
    @JvmStatic external fun eventsRelease(handle: Long)
    @JvmStatic external fun abiVersion(): Int
    @JvmStatic external fun address(buffer: ByteBuffer): Long
    @JvmStatic external fun text(from: Long, to: Long, room: Int): Int
    @JvmStatic external fun layout(to: Long, room: Int): Int
}

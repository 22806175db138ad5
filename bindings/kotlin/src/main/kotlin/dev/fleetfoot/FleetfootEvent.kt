package dev.fleetfoot

/** Something that happened to a model. [seq] counts; one that was dropped is missing. */
public sealed interface FleetfootEvent {
    public val seq: Long
    public val model: String

    /** The same for people. */
    public val text: String

    /** One of the events that only name a version: see [Kind]. */
    public data class Happened(
        override val seq: Long,
        override val model: String,
        val kind: Kind,
        val version: String?,
        override val text: String,
    ) : FleetfootEvent

    public data class Fetching(
        override val seq: Long,
        override val model: String,
        val version: String,
        val offset: Long,
        val length: Long,
        override val text: String,
    ) : FleetfootEvent

    /** A version is out: [code] says why. */
    public data class Rejected(
        override val seq: Long,
        override val model: String,
        val version: String,
        val code: Int,
        override val text: String,
    ) : FleetfootEvent

    public data class Deferred(
        override val seq: Long,
        override val model: String,
        val version: String,
        val code: Int,
        val retryAt: Long,
        override val text: String,
    ) : FleetfootEvent

    /** The queue was full. */
    public data class Dropped(val count: Long, override val text: String) : FleetfootEvent {
        override val seq: Long get() = 0
        override val model: String get() = ""
    }

    /** Kinds of events; [OTHER] is one that later versions know. */
    public enum class Kind {
        OTHER, REFRESHED, OFFERED, FETCHING, FETCHED, VALIDATED, STAGED, TRIAL, ACTIVE, REJECTED, DEFERRED, WITHDRAWN, ROLLED_BACK, FELL_BACK, SKIPPED,
        STATE_LOST, FAILED, DROPPED, ASSIGNED,
    }

    public companion object {
        internal fun of(event: Struct): FleetfootEvent {
            val (seq, model, text) = Triple(event.long("seq"), event.text("model"), event.text("text"))
            val (version, code) = event.text("version") to event.int("code")
            return when (val kind = Kind.entries.getOrElse(event.int("kind")) { Kind.OTHER }) {
                Kind.FETCHING -> Fetching(seq, model, version, event.long("a"), event.long("b"), text)
                Kind.REJECTED -> Rejected(seq, model, version, code, text)
                Kind.DEFERRED -> Deferred(seq, model, version, code, event.long("a"), text)
                Kind.DROPPED -> Dropped(event.long("a"), text)
                else -> Happened(seq, model, kind, version.ifEmpty { null }, text)
            }
        }
    }
}

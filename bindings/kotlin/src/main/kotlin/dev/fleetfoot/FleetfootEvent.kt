package dev.fleetfoot

/** Something that happened to a model. */
public sealed interface FleetfootEvent {
    /** Counts the events of a [Fleetfoot], from 1; one that was dropped is missing. */
    public val seq: Long

    /** The model that it happened to. */
    public val model: String

    /** The same for people. */
    public val text: String

    /** One of the events that only name a version. */
    public data class Happened(
        override val seq: Long,
        override val model: String,
        /** What happened. */
        val kind: Kind,
        /** The release label of the version that it is about, if there is one. */
        val version: String?,
        override val text: String,
    ) : FleetfootEvent

    /** The bytes of a release are fetched. */
    public data class Fetching(
        override val seq: Long,
        override val model: String,
        /** Its release label. */
        val version: String,
        /** Bytes that are there already. */
        val offset: Long,
        /** Bytes in all. */
        val length: Long,
        override val text: String,
    ) : FleetfootEvent

    /** A version is out. */
    public data class Rejected(
        override val seq: Long,
        override val model: String,
        /** Its release label. */
        val version: String,
        /** Why, a number of `docs/errors.md`. */
        val code: Int,
        override val text: String,
    ) : FleetfootEvent

    /** A version waits. */
    public data class Deferred(
        override val seq: Long,
        override val model: String,
        /** Its release label. */
        val version: String,
        /** Why, a number of `docs/errors.md`. */
        val code: Int,
        /** When it goes on, seconds since 1970. */
        val retryAt: Long,
        override val text: String,
    ) : FleetfootEvent

    /** The queue was full. */
    public data class Dropped(
        /** Events that it had no room for. */
        val count: Long,
        override val text: String,
    ) : FleetfootEvent {
        /** Always 0: this is none of the events that are counted. */
        override val seq: Long get() = 0

        /** Always empty. */
        override val model: String get() = ""
    }

    /** Kinds of events. */
    public enum class Kind {
        /** One that later versions know. */
        OTHER,

        /** The metadata of the repository is up to date. */
        REFRESHED,

        /** There is a release that may be taken. */
        OFFERED,

        /** Its bytes are fetched. */
        FETCHING,

        /** They are all there. */
        FETCHED,

        /** It answers on this device as it did on its author's machine, within its budgets. */
        VALIDATED,

        /** It waits for [Updates.activate]. */
        STAGED,

        /** It serves on trial. */
        TRIAL,

        /** It became active. */
        ACTIVE,

        /** It is out. */
        REJECTED,

        /** It waits. */
        DEFERRED,

        /** The repository no longer offers it. */
        WITHDRAWN,

        /** Somebody went back, or forth, to a version that was kept. */
        ROLLED_BACK,

        /** A version cannot serve any more; another one, or none, took its place. */
        FELL_BACK,

        /** A release was passed over. */
        SKIPPED,

        /** The state on this device was lost and begun again. */
        STATE_LOST,

        /** A poll could not be finished. */
        FAILED,

        /** The queue was full. */
        DROPPED,

        /** The part of this device in a rollout is another one. */
        ASSIGNED,
    }

    /** Nothing for applications. */
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

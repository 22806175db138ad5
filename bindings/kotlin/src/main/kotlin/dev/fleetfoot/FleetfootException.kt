package dev.fleetfoot

/** What went wrong. The classes say what a caller can do about it. */
public sealed class FleetfootException(
    message: String,
    /** A number of `docs/errors.md`, which never changes its meaning. */
    public val code: Int,
) : RuntimeException(message) {
    /** A value that is not allowed, or a file that is none. */
    public class InvalidArgument(message: String, code: Int) : FleetfootException(message, code)

    /** The object was closed. */
    public class Closed(message: String) : FleetfootException(message, 601)

    /** Another call on this object is under way. */
    public class Busy(message: String, code: Int) : FleetfootException(message, code)

    /** A buffer or a tensor does not fit. */
    public class TensorMismatch(
        message: String,
        code: Int,
        /** The input or output at fault, or -1. */
        public val tensor: Int,
    ) : FleetfootException(message, code)

    /** The bytes of a bundle are damaged, or its plan is not sound. */
    public class ModelInvalid(message: String, code: Int) : FleetfootException(message, code)

    /** A signature, a hash, an expiry, a rollback: not to be believed. */
    public class VerificationFailed(message: String, code: Int) : FleetfootException(message, code)

    /** The repository, the network or the store: what serves is untouched. */
    public class UpdateFailed(message: String, code: Int) : FleetfootException(message, code)

    /** No version of the model is on this device. */
    public class NotInstalled(message: String) : FleetfootException(message, 429)

    /** A fault of the library: the session is good for nothing else. */
    public class Internal(message: String, code: Int) : FleetfootException(message, code)

    /** A number of a newer library. */
    public class Unknown(message: String, code: Int) : FleetfootException(message, code)

    internal companion object {
        fun of(code: Int, message: String, tensor: Int): RuntimeException = when (code) {
            601 -> Closed(message)
            602, 423 -> Busy(message, code)
            603 -> kotlin.coroutines.cancellation.CancellationException(message)
            604 -> Internal(message, code)
            306, 307, 308, 609, 610 -> TensorMismatch(message, code, tensor)
            429 -> NotInstalled(message)
            433, in 600..649 -> InvalidArgument(message, code)
            in 100..199, in 300..399 -> ModelInvalid(message, code)
            in 200..299 -> VerificationFailed(message, code)
            in 400..499 -> UpdateFailed(message, code)
            else -> Unknown(message, code)
        }
    }
}

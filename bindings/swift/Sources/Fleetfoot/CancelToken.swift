import CFleetfoot

/// A flag that ends runs from another task or thread: it is looked at before every layer.
///
/// ```swift
/// let token = try CancelToken()
/// deadline.schedule { token.cancel() }
/// try session.run(cancel: token)        // throws FleetfootError.cancelled
/// ```
public final class CancelToken: Sendable {
    let handle: Handle

    public init() throws { handle = try make { out, _ in ff_cancel_create(out) } }

    deinit { ff_cancel_release(handle.pointer) }

    /// Ends runs that look at it, and those that will.
    public func cancel() { set(true) }

    /// Lets runs pass again.
    public func reset() { set(false) }

    private func set(_ cancelled: Bool) {
        let status = ff_cancel_set(handle.pointer, cancelled ? 1 : 0)
        // It is open as long as this object lives.
        assert(status == 0, "status \(status)")
    }
}

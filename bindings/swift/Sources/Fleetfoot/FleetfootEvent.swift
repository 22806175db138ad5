import CFleetfoot
import Foundation

/// Something that happened to a model.
///
/// ```swift
/// for await event in runtime.events {
///     if case .rejected(let code) = event.kind { report(event.version, code) }
/// }
/// ```
public struct FleetfootEvent: Sendable, Equatable {
    /// Counts the events of a runtime, from 1; 0 for ``Kind-swift.enum/dropped(count:)``.
    public let seq: UInt64
    public let model: String
    public let kind: Kind
    /// Label and number of the release that it is about.
    public let version: String?
    public let number: UInt64?
    /// The same for people.
    public let text: String

    public enum Kind: Sendable, Equatable {
        case refreshed, offered
        /// Bytes that are there already, and in all.
        case fetching(offset: UInt64, length: UInt64)
        case fetched
        case validated(p99Microseconds: UInt64, arenaByteCount: UInt64)
        case staged, trial, active
        /// A version is out. `code`: why, see `docs/errors.md`.
        case rejected(code: Int32)
        /// It goes on later.
        case deferred(code: Int32, retryAt: Date)
        case withdrawn, rolledBack
        /// What serves now is ``FleetfootEvent/version``, or nothing does.
        case fellBack
        case skipped, stateLost
        case failed(code: Int32)
        /// The queue had no room for so many.
        case dropped(count: UInt64)
        /// The part of this device in a rollout is another one.
        case assigned
        /// One that later versions know.
        case other(kind: Int32)
    }

    init(_ event: ff_event) {
        (seq, model, text) = (event.seq, Fleetfoot.text(event.model), Fleetfoot.text(event.text))
        let label = Fleetfoot.text(event.version)
        version = label.isEmpty ? nil : label
        number = event.number == 0 ? nil : event.number
        kind = Kind(event)
    }
}

extension FleetfootEvent.Kind {
    fileprivate init(_ event: ff_event) {
        self =
            switch Int(event.kind) {
            case Int(FF_EVENT_REFRESHED): .refreshed
            case Int(FF_EVENT_OFFERED): .offered
            case Int(FF_EVENT_FETCHING): .fetching(offset: event.a, length: event.b)
            case Int(FF_EVENT_FETCHED): .fetched
            case Int(FF_EVENT_VALIDATED): .validated(p99Microseconds: event.a, arenaByteCount: event.b)
            case Int(FF_EVENT_STAGED): .staged
            case Int(FF_EVENT_TRIAL): .trial
            case Int(FF_EVENT_ACTIVE): .active
            case Int(FF_EVENT_REJECTED): .rejected(code: event.code)
            case Int(FF_EVENT_DEFERRED): .deferred(code: event.code, retryAt: Date(timeIntervalSince1970: TimeInterval(event.a)))
            case Int(FF_EVENT_WITHDRAWN): .withdrawn
            case Int(FF_EVENT_ROLLED_BACK): .rolledBack
            case Int(FF_EVENT_FELL_BACK): .fellBack
            case Int(FF_EVENT_SKIPPED): .skipped
            case Int(FF_EVENT_STATE_LOST): .stateLost
            case Int(FF_EVENT_FAILED): .failed(code: event.code)
            case Int(FF_EVENT_DROPPED): .dropped(count: event.a)
            case Int(FF_EVENT_ASSIGNED): .assigned
            default: .other(kind: event.kind)
            }
    }
}

extension FleetfootEvent {
    /// A stream over a queue of its own, which is filled from now on. Where there can be none, because the runtime is closed, it is at its end.
    static func stream(of runtime: Handle) -> AsyncStream<FleetfootEvent> {
        guard let queue = try? EventQueue(runtime) else { return AsyncStream { $0.finish() } }
        return AsyncStream { await queue.next() } onCancel: { queue.close() }
    }
}

/// A queue of events in C. Events stay there, a bounded number of them, until somebody asks for the next one.
private final class EventQueue: Sendable {
    private let handle: Handle
    /// Who waits for an event waits in a thread of this queue: a serial one gets a thread also when those for blocking work are all taken.
    private let waiting = DispatchQueue(label: "dev.fleetfoot.events")

    init(_ runtime: Handle) throws { handle = try make { out, error in ff_events_subscribe(runtime.pointer, 0, out, error) } }

    deinit { close() }

    /// Wakes who waits: there is no next one.
    func close() { ff_events_release(handle.pointer) }

    /// The next event, or `nil` once the queue or its runtime is closed and nothing is left in it.
    func next() async -> FleetfootEvent? {
        await withCheckedContinuation { continuation in
            waiting.async { [handle] in
                var event: ff_event = sized()
                let status = ff_events_next(handle.pointer, &event, -1)
                continuation.resume(returning: status == 0 ? FleetfootEvent(event) : nil)
            }
        }
    }
}

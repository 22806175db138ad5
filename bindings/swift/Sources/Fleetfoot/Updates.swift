import CFleetfoot
import Foundation

/// What a poll came to. Whatever it is: what served before still serves, or something better does.
public struct UpdateResult: Sendable, Equatable {
    public let kind: Kind
    /// Label and number of the release that it is about.
    public let version: String?
    public let number: UInt64?
    /// The same for people.
    public let text: String

    public enum Kind: Sendable, Equatable {
        /// Nothing newer may be taken.
        case upToDate
        /// A version waits for ``Updates/activate(_:)``.
        case staged
        /// A version serves on trial: tell ``Runtime/outcome(_:isGood:)``.
        case trial
        case active
        /// A version is out. `code`: why, see `docs/errors.md`.
        case rejected(code: Int32)
        /// A version waits. `code`: why.
        case deferred(code: Int32, retryAt: Date)
        /// One that later versions know.
        case other(kind: Int32)
    }

    init(_ result: ff_update_result) {
        kind =
            switch Int(result.kind) {
            case Int(FF_UPDATE_UP_TO_DATE): .upToDate
            case Int(FF_UPDATE_STAGED): .staged
            case Int(FF_UPDATE_TRIAL): .trial
            case Int(FF_UPDATE_ACTIVE): .active
            case Int(FF_UPDATE_REJECTED): .rejected(code: result.code)
            case Int(FF_UPDATE_DEFERRED): .deferred(code: result.code, retryAt: Date(timeIntervalSince1970: TimeInterval(result.retry_at)))
            default: .other(kind: result.kind)
            }
        let label = Fleetfoot.text(result.version)
        version = label.isEmpty ? nil : label
        number = result.number == 0 ? nil : result.number
        text = Fleetfoot.text(result.text)
    }
}

/// Polls, trials, rollbacks of the models of one ``Runtime``. A second poll of a model at the same time throws ``FleetfootError/busy``.
public final class Updates: Sendable {
    private let runtime: Handle
    private let sources: [String: ModelConfiguration.Source]

    init(_ runtime: Handle, _ sources: [String: ModelConfiguration.Source]) { (self.runtime, self.sources) = (runtime, sources) }

    /// Fetches what is new, verifies it, tries it on this device, and lets it serve on trial. Where the task is cancelled the poll is given up, and the next one goes on where it stopped.
    @discardableResult
    public func poll(_ model: String) async throws -> UpdateResult { try await update(model, stages: false) }

    /// As ``poll(_:)``, but a version that is admitted waits for ``activate(_:)``.
    @discardableResult
    public func stage(_ model: String) async throws -> UpdateResult { try await update(model, stages: true) }

    /// Lets the version that is staged serve on trial. Needs no network.
    @discardableResult
    public func activate(_ model: String) async throws -> UpdateResult {
        try await named(model) { runtime, name in
            var result: ff_update_result = sized()
            try call { error in ff_update_activate(runtime, name, &result, error) }
            return UpdateResult(result)
        }
    }

    /// Vouches for the version on trial: it becomes active now.
    public func confirmHealthy(_ model: String) async throws {
        try await named(model) { runtime, name in try call { error in ff_confirm_healthy(runtime, name, error) } }
    }

    /// Goes back, or forth, to a version that is kept: a release label, a number, the beginning of a SHA-256 (8 digits or more), or `factory`. Needs no network.
    public func rollback(_ model: String, to version: String) async throws {
        try await named(model) { runtime, name in
            try lending { lent in
                let version = try lent.text(version)
                try call { error in ff_rollback(runtime, name, version, error) }
            }
        }
    }

    private func named<R: Sendable>(_ model: String, _ body: @escaping @Sendable (OpaquePointer, UnsafePointer<CChar>) throws -> R) async throws -> R {
        try await offPool { [runtime] in
            try lending { lent in try body(runtime.pointer, lent.text(model)) }
        }
    }

    private func update(_ model: String, stages: Bool) async throws -> UpdateResult {
        switch sources[model] {
        case .transport(let transport):
            let poll = try await named(model) { runtime, name in
                FedPoll(try make { out, error in ff_update_begin(runtime, name, stages ? 1 : 0, 0, out, error) })
            }
            return try await poll.run(transport)
        case .library, nil:
            // A model that the runtime does not have is refused there.
            return try await named(model) { runtime, name in
                var result: ff_update_result = sized()
                try call { error in
                    stages ? ff_update_stage(runtime, name, 0, &result, error) : ff_update_poll(runtime, name, 0, &result, error)
                }
                return UpdateResult(result)
            }
        }
    }
}

/// A poll whose files a transport brings.
private final class FedPoll: Sendable {
    private let handle: Handle
    private let closing = NSLock()

    init(_ handle: Handle) { self.handle = handle }

    func run(_ transport: any Transport) async throws -> UpdateResult {
        do {
            let result = try await withTaskCancellationHandler {
                try await feed(transport)
            } onCancel: { [self] in
                // It waits for the thread of the poll; who cancels does not.
                DispatchQueue.global().async { self.close() }
            }
            await closed()
            return result
        } catch {
            await closed()
            throw Task.isCancelled ? CancellationError() : error
        }
    }

    private func feed(_ transport: any Transport) async throws -> UpdateResult {
        while true {
            try Task.checkCancellation()
            switch try await next() {
            case .over(let result): return result
            case .file(let request):
                let refused = Flag()
                do {
                    let answer = try await transport.fetch(request) { bytes in
                        do { try self.take(bytes) } catch {
                            refused.set()
                            throw error
                        }
                    }
                    if !refused.isSet { try await self.answer(answer) }
                } catch where refused.isSet {
                    // What the library could not take it knows itself: the poll ends with it.
                }
            }
        }
    }

    private enum Step: Sendable {
        case file(FileRequest)
        case over(UpdateResult)
    }

    private func next() async throws -> Step {
        try await offPool { [handle] in
            var (request, result): (ff_request, ff_update_result) = (sized(), sized())
            try call { error in ff_update_next(handle.pointer, &request, &result, error) }
            guard let path = request.path else { return .over(UpdateResult(result)) }
            let etag = request.etag.map { String(cString: $0) }
            return .file(FileRequest(path: String(cString: path), offset: request.offset, maxLength: request.max_len, etag: etag))
        }
    }

    private func take(_ bytes: Data) throws {
        if bytes.isEmpty { return }
        try bytes.withUnsafeBytes { bytes in
            let at = bytes.bindMemory(to: UInt8.self).baseAddress
            try call { error in ff_update_feed(handle.pointer, at, bytes.count, error) }
        }
    }

    private func answer(_ answer: Answer) async throws {
        let (kind, status, etag): (Int, Int, String?) =
            switch answer {
            case .whole(let etag): (Int(FF_ANSWER_WHOLE), 0, etag)
            case .notModified: (Int(FF_ANSWER_NOT_MODIFIED), 0, nil)
            case .missing: (Int(FF_ANSWER_MISSING), 0, nil)
            case .failed(let status): (Int(FF_ANSWER_FAILED), status ?? 0, nil)
            }
        try lending { lent in
            let etag = try etag.map { try lent.text($0) }
            try call { error in ff_update_answer(handle.pointer, Int32(kind), UInt32(clamping: status), etag, error) }
        }
    }

    /// Of two at the same time the second waits, too: the next poll may begin after either.
    private func close() { closing.withLock { ff_update_release(handle.pointer) } }

    private func closed() async {
        // Nothing in it throws.
        _ = try? await offPool { self.close() }
    }
}

/// A flag that one thread sets and another reads.
private final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var value = false

    var isSet: Bool { lock.withLock { value } }
    func set() { lock.withLock { value = true } }
}

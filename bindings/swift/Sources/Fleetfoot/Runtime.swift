import CFleetfoot
import Foundation

/// A model that is kept up to date.
public struct ModelConfiguration: Sendable {
    public var name: String
    /// The first root metadata: it comes with the application, never from the network.
    public var root: Data
    /// How files of the repository arrive.
    public var source: Source
    /// Deaths of the process that a new version may cause; `nil`: 2.
    public var attempts: UInt32?
    /// Good inferences that a trial needs; `nil`: 500.
    public var minInferences: UInt32?
    /// Seconds that a trial takes at least; `nil`: 6 hours.
    public var healthWindowSeconds: UInt32?
    /// Good inferences after which the counters of a trial are made durable; `nil`: only at its end.
    public var checkpoint: UInt32?
    /// Versions on the device, a candidate among them; `nil`: 6.
    public var slots: UInt32?
    /// The bundle that came with the application, and its keys.
    public var factory: (bundle: URL, keys: TrustedKeys)?

    /// Where files of a repository come from.
    public enum Source: Sendable {
        /// Fetched by the application: ``URLSessionTransport``, ``FolderTransport``, or its own.
        case transport(any Transport)
        /// Fetched by the library itself: a folder, or `http://...` where that was built in.
        case library(String)
    }

    public init(_ name: String, root: Data, from transport: any Transport) { self.init(name, root: root, source: .transport(transport)) }

    public init(_ name: String, root: Data, source: Source) { (self.name, self.root, self.source) = (name, root, source) }
}

/// A store on this device, and the models in it. It closes itself when nobody has it any more; models and sessions that came from it live on.
///
/// ```swift
/// let models = URLSessionTransport(URL(string: "https://example.org/models")!)
/// let runtime = try await Runtime(store: folder, models: ModelConfiguration("kws", root: root, from: models))
/// try await runtime.updates.poll("kws")
/// let session = try await runtime.activeModel("kws").makeSession()
/// ```
public final class Runtime: Sendable {
    let handle: Handle
    /// Polls, trials, rollbacks.
    public let updates: Updates

    /// Opens the store and goes on from what is there. Needs no network. Throws ``FleetfootError/storeBusy(message:)`` where another process, or another runtime, has it.
    public convenience init(store: URL, models: ModelConfiguration...) async throws {
        self.init(try await offPool { try Self.open(store, models) }, models)
    }

    /// As ``init(store:models:)-(_,ModelConfiguration...)``, in this thread.
    public static func openBlocking(store: URL, models: [ModelConfiguration]) throws -> Runtime { Runtime(try open(store, models), models) }

    private init(_ handle: Handle, _ models: [ModelConfiguration]) {
        self.handle = handle
        updates = Updates(handle, Dictionary(models.map { ($0.name, $0.source) }) { first, _ in first })
    }

    deinit { close() }

    /// Gives up polls that are under way, and waits for them. What is done with it afterwards throws ``FleetfootError/closed``; ``events`` end.
    public func close() { ff_runtime_release(handle.pointer) }

    /// The version that serves now, pinned. Never waits for a poll. Throws ``FleetfootError/notInstalled(message:)`` where none is on this device.
    public func activeModel(_ name: String) async throws -> Model { try await offPool { try self.activeModelBlocking(name) } }

    /// As ``activeModel(_:)``, in this thread.
    public func activeModelBlocking(_ name: String) throws -> Model {
        try lending { lent in
            let name = try lent.text(name)
            return try Model(make { out, error in ff_model_active(handle.pointer, name, out, error) })
        }
    }

    /// Says that an inference of a model from ``activeModel(_:)`` was good or bad. It counts where that version is on trial: enough good ones make it active, a bad one ends the
    /// trial, and the previous version serves again. Cheap otherwise.
    public func outcome(_ model: Model, isGood: Bool) throws {
        try call { error in ff_outcome(handle.pointer, model.handle.pointer, isGood ? 1 : 0, error) }
    }

    /// The state of all models, as JSON. During a poll: as it was before.
    public var statusJSON: Data {
        get throws {
            var need = 0
            try call { error in ff_status_json(handle.pointer, nil, 0, &need, error) }
            while true {
                var room = [CChar](repeating: 0, count: need)
                do {
                    try call { error in ff_status_json(handle.pointer, &room, room.count, &need, error) }
                    // Without the zero at the end.
                    return Data(room.prefix(need - 1).map(UInt8.init(bitPattern:)))
                } catch let error as FleetfootError where error.status == .tooSmall {
                    // It grew meanwhile.
                }
            }
        }
    }

    /// What happens from now on; the first one asked for also gets the events of the opening. Each has a queue of its own that keeps the newest 256
    /// (``FleetfootEvent/Kind-swift.enum/dropped(count:)`` tells of the others), and ends when the runtime is closed.
    public var events: AsyncStream<FleetfootEvent> { FleetfootEvent.stream(of: handle) }
}

extension Runtime {
    private static func open(_ store: URL, _ models: [ModelConfiguration]) throws -> Handle {
        try prepare(store)
        return try lending { lent in
            var options: ff_runtime_options = sized()
            options.store_dir = try lent.text(store.path)
            options.n_models = UInt32(clamping: models.count)
            let all = try models.map { try $0.asked(lent) }
            return try all.withUnsafeBufferPointer { all in
                // Of none C wants to hear that they are none, not that they are NULL.
                options.models = all.baseAddress
                return try make { out, error in ff_runtime_open(&options, out, error) }
            }
        }
    }

    /// Updates go on while the device is locked, and models are fetched again rather than backed up.
    private static func prepare(_ store: URL) throws {
        #if os(iOS) || os(tvOS) || os(watchOS) || os(visionOS)
            var store = store
            let protection: [FileAttributeKey: Any] = [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication]
            try FileManager.default.createDirectory(at: store, withIntermediateDirectories: true, attributes: protection)
            var values = URLResourceValues()
            values.isExcludedFromBackup = true
            try store.setResourceValues(values)
        #endif
    }
}

extension ModelConfiguration {
    fileprivate func asked(_ lent: Lent) throws -> ff_model_options {
        var options: ff_model_options = sized()
        options.name = try lent.text(name)
        options.root_json = lent.bytes(root)
        options.root_json_len = root.count
        if case .library(let place) = source { options.repository = try lent.text(place) }
        options.attempts = attempts ?? 0
        options.min_inferences = minInferences ?? 0
        // 0 is the default there, and `FF_NONE` none.
        options.health_window_s = healthWindowSeconds.map { $0 == 0 ? UInt32.max : $0 } ?? 0
        options.checkpoint = checkpoint ?? 0
        options.slots = slots ?? 0
        if let factory {
            options.factory_path = try lent.text(factory.bundle.path)
            options.factory_keys = lent.bytes(factory.keys.bytes)
            options.n_factory_keys = factory.keys.count
            options.factory_threshold = factory.keys.threshold
        }
        return options
    }
}

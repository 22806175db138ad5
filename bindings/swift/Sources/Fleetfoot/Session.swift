import CFleetfoot

/// How a session runs.
public struct SessionOptions: Sendable {
    /// Threads that run, the caller's among them, 1 to 64. Outputs are the same bytes for any number.
    public var threads: Int
    /// Read the clock around every run (some 50 ns), for ``Session/metrics``.
    public var isTimed: Bool

    public init(threads: Int = 1, isTimed: Bool = false) { (self.threads, self.isTimed) = (threads, isTimed) }
}

/// A model and the memory that it runs in.
///
/// Inputs and outputs lie in that memory: ``withInput(_:_:)`` and ``withOutput(_:_:)`` show them, nothing is copied. A run may overwrite the inputs, so write them
/// before every run.
///
/// A session is for one task at a time, which the compiler sees to: it is not `Sendable`. ``InferenceActor`` is for those who share one. ``CancelToken`` ends a run
/// from elsewhere. To whoever goes around the compiler no harm is done either: a second call at the same time throws ``FleetfootError/busy``, and ``close()``
/// waits for a run that is under way; only the bytes of inputs and outputs are then his own care.
public final class Session {
    let handle: Handle
    /// The model. The session keeps it, also when another version takes over.
    public let model: Model
    /// Ours, so that the places of inputs and outputs stay valid whatever happens to the handle.
    private let arena: UnsafeMutableRawBufferPointer
    private let inputs: [UnsafeMutableRawBufferPointer]
    private let outputs: [UnsafeRawBufferPointer]
    /// What is bound has to stay.
    private var boundInputs: [Int: TensorBuffer] = [:]
    private var boundOutputs: [Int: TensorBuffer] = [:]

    init(_ model: Model, _ options: SessionOptions) throws {
        let (handle, arena) = try Self.create(model, options)
        do {
            inputs = try model.info.inputs.indices.map { try Self.input(handle, $0) }
            outputs = try model.info.outputs.indices.map { try Self.output(handle, $0) }
        } catch {
            ff_session_release(handle.pointer)
            arena.deallocate()
            throw error
        }
        (self.model, self.handle, self.arena) = (model, handle, arena)
    }

    deinit {
        ff_session_release(handle.pointer)
        arena.deallocate()
    }

    /// Closes it now: a run that is under way is waited for, a run afterwards throws ``FleetfootError/closed``. Inputs and outputs can still be looked at. A session closes
    /// itself when nobody has it any more.
    public func close() { ff_session_release(handle.pointer) }

    /// One inference, in this thread. It allocates nothing.
    public func run() throws { try call { error in ff_session_run(handle.pointer, nil, error) } }

    /// One inference that `cancel` can end before its next layer: then it throws ``FleetfootError/cancelled``, and the session is as good as before.
    public func run(cancel: CancelToken) throws { try call { error in ff_session_run(handle.pointer, cancel.handle.pointer, error) } }

    /// Runs a few times, so that the first inference that counts is not the first one.
    public func warmUp(runs: Int = 1) throws {
        for _ in 0..<max(runs, 0) { try run() }
    }

    /// Shows the bytes of an input, to be written before every run. The pointer is valid within `body` only.
    public func withInput<R>(_ index: Int = 0, _ body: (UnsafeMutableRawBufferPointer) throws -> R) throws -> R {
        guard inputs.indices.contains(index) else { throw none("input", index, inputs.count) }
        return try body(inputs[index])
    }

    /// Shows the bytes of an output, to be read after a run. The pointer is valid within `body` only.
    public func withOutput<R>(_ index: Int = 0, _ body: (UnsafeRawBufferPointer) throws -> R) throws -> R {
        guard outputs.indices.contains(index) else { throw none("output", index, outputs.count) }
        return try body(outputs[index])
    }

    /// Sets all elements of an input. `Float`s are quantized where the input is.
    public func setInput<T: TensorScalar>(_ values: [T], at index: Int = 0) throws {
        try withInput(index) { room in
            let info = model.info.inputs[index]
            try info.expect(T.self, count: values.count, index: index)
            if let reals = values as? [Float] {
                info.write(reals, to: room)
            } else {
                values.withUnsafeBytes { room.copyMemory(from: $0) }
            }
        }
    }

    /// A copy of all elements of an output. As `Float` they are real numbers.
    public func output<T: TensorScalar>(_ index: Int = 0, as _: T.Type = T.self) throws -> [T] {
        try withOutput(index) { bytes in
            let info = model.info.outputs[index]
            try info.expect(T.self, count: info.count, index: index)
            if let reals = info.read(bytes, as: T.self) { return reals }
            return [T](unsafeUninitializedCapacity: info.count) { room, count in
                UnsafeMutableRawBufferPointer(room).copyMemory(from: bytes)
                count = info.count
            }
        }
    }

    /// What this session counted.
    public var metrics: RunMetrics {
        get throws {
            var metrics: ff_run_metrics = sized()
            try call { error in ff_session_metrics(handle.pointer, &metrics, error) }
            return RunMetrics(metrics)
        }
    }

    private func none(_ what: String, _ index: Int, _ count: Int) -> FleetfootError {
        .tensorMismatch(code: FleetfootError.Status.noSuchTensor.rawValue, index: index, message: "there is no \(what) \(index): the model has \(count)")
    }
}

extension Session {
    /// Binds a buffer of the caller to an input, or takes that back. Every run copies it in once, and leaves it as it is. Costs nothing where several models read one buffer.
    public func bindInput(_ index: Int = 0, to buffer: TensorBuffer?) throws {
        let (place, bytes) = (UInt32(exactly: index) ?? .max, buffer?.bytes)
        try call { error in ff_session_bind_input(handle.pointer, place, bytes?.baseAddress, bytes?.count ?? 0, error) }
        boundInputs[index] = buffer
    }

    /// Binds a buffer of the caller to an output, or takes that back. Every run copies the output there, too.
    public func bindOutput(_ index: Int = 0, to buffer: TensorBuffer?) throws {
        let (place, bytes) = (UInt32(exactly: index) ?? .max, buffer?.bytes)
        try call { error in ff_session_bind_output(handle.pointer, place, bytes?.baseAddress, bytes?.count ?? 0, error) }
        boundOutputs[index] = buffer
    }

    /// `count` inferences in one call, spread over the threads of the session. `inputs[i]` has input i of all items, one behind the other; so have the results.
    public func runBatch(count: Int, inputs: [[UInt8]]) throws -> [[UInt8]] {
        let info = model.info
        guard count >= 0, inputs.count == info.inputs.count else { throw none("input", inputs.count, info.inputs.count) }
        for (index, (given, tensor)) in zip(inputs, info.inputs).enumerated() where given.count != tensor.byteCount.multipliedOrMax(by: count) {
            let fault = "\(tensor.name) has \(tensor.byteCount) bytes an item, \(given.count) bytes were given for \(count)"
            throw FleetfootError.tensorMismatch(code: FleetfootError.Status.length.rawValue, index: index, message: fault)
        }
        let rooms = info.outputs.map { UnsafeMutableRawBufferPointer.allocate(byteCount: max($0.byteCount * count, 1), alignment: 16) }
        defer { rooms.forEach { $0.deallocate() } }
        try lending { lent in
            let given: [UnsafeRawPointer?] = inputs.map { UnsafeRawPointer(lent.bytes($0)) }
            let made: [UnsafeMutableRawPointer?] = rooms.map { $0.baseAddress }
            try call { error in ff_session_run_batch(handle.pointer, count, given, made, error) }
        }
        return zip(rooms, info.outputs).map { room, tensor in Array(room.prefix(tensor.byteCount * count)) }
    }
}

/// Memory that can be bound to inputs and outputs, of several sessions, too. Not `Sendable`: runs read and write it.
public final class TensorBuffer {
    /// Its bytes, zeros at first, at a multiple of 64. Valid as long as this object lives.
    public let bytes: UnsafeMutableRawBufferPointer

    public init(byteCount: Int) {
        bytes = .allocate(byteCount: max(byteCount, 0), alignment: 64)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { bytes.deallocate() }
}

/// What a session counted. Times are those of its last runs, and zero unless it is timed.
public struct RunMetrics: Sendable, Equatable {
    /// Runs that came to their end, of batches each item.
    public let runs: UInt64
    /// Runs that the times are of, at most the last 512.
    public let timedRuns: Int
    public let arenaByteCount: Int
    public let lastNanoseconds, minNanoseconds, p50Nanoseconds, p95Nanoseconds, p99Nanoseconds, maxNanoseconds: UInt64

    init(_ metrics: ff_run_metrics) {
        (runs, timedRuns, arenaByteCount) = (metrics.runs, Int(metrics.timed_runs), Int(metrics.arena_len))
        (lastNanoseconds, minNanoseconds, p50Nanoseconds) = (metrics.last_ns, metrics.min_ns, metrics.p50_ns)
        (p95Nanoseconds, p99Nanoseconds, maxNanoseconds) = (metrics.p95_ns, metrics.p99_ns, metrics.max_ns)
    }
}

extension Session {
    private static func create(_ model: Model, _ options: SessionOptions) throws -> (Handle, UnsafeMutableRawBufferPointer) {
        let one = model.info.arenaByteCount
        var length = one
        while true {
            let arena = UnsafeMutableRawBufferPointer.allocate(byteCount: max(length, 1), alignment: 64)
            var asked: ff_session_options = sized()
            asked.threads = UInt32(clamping: options.threads)
            asked.flags = options.isTimed ? UInt32(FF_SESSION_TIMED) : 0
            (asked.arena, asked.arena_len) = (arena.baseAddress, length)
            do {
                return (try make { out, error in ff_session_create(model.handle.pointer, &asked, out, error) }, arena)
            } catch {
                arena.deallocate()
                // More threads need more scratch, each less than a whole arena.
                let isShort = (error as? FleetfootError)?.status == .arenaTooSmall
                guard isShort, options.threads > 1, length <= one.multipliedOrMax(by: min(options.threads, 64) + 1) else { throw error }
                length += one
            }
        }
    }

    private static func input(_ handle: Handle, _ index: Int) throws -> UnsafeMutableRawBufferPointer {
        var (data, count): (UnsafeMutableRawPointer?, Int) = (nil, 0)
        try call { error in ff_session_input(handle.pointer, UInt32(index), &data, &count, error) }
        return UnsafeMutableRawBufferPointer(start: data, count: count)
    }

    private static func output(_ handle: Handle, _ index: Int) throws -> UnsafeRawBufferPointer {
        var (data, count): (UnsafeRawPointer?, Int) = (nil, 0)
        try call { error in ff_session_output(handle.pointer, UInt32(index), &data, &count, error) }
        return UnsafeRawBufferPointer(start: data, count: count)
    }
}

extension TensorInfo {
    /// The elements as real numbers, where those are wanted.
    fileprivate func read<T: TensorScalar>(_ bytes: UnsafeRawBufferPointer, as _: T.Type) -> [T]? { T.self == Float.self ? read(bytes) as? [T] : nil }
}

extension Int {
    fileprivate func multipliedOrMax(by other: Int) -> Int {
        let (product, isTooMuch) = multipliedReportingOverflow(by: other)
        return isTooMuch ? .max : product
    }
}

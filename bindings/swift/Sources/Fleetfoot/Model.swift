import CFleetfoot
import Foundation

/// Keys that vouch for bundles: Ed25519 public keys of 32 bytes, of which `threshold` must have signed.
public struct TrustedKeys: Sendable {
    let bytes: [UInt8]
    let count: UInt32
    let threshold: UInt32

    /// Throws ``FleetfootError/invalidArgument(code:message:)`` where a key has not 32 bytes.
    public init(_ keys: [Data], threshold: Int = 1) throws {
        if let odd = keys.first(where: { $0.count != 32 }) {
            throw FleetfootError.invalidArgument(code: FleetfootError.Status.length.rawValue, message: "a key has 32 bytes, not \(odd.count)")
        }
        bytes = keys.flatMap { Array($0) }
        count = UInt32(clamping: keys.count)
        self.threshold = UInt32(clamping: threshold)
    }
}

/// What the signed header of a bundle says, and its inputs and outputs.
public struct ModelInfo: Sendable, Equatable {
    public let name: String
    /// Label of the release.
    public let version: String
    /// Number of the release.
    public let number: UInt64
    /// SHA-256 of the bundle.
    public let sha256: Data
    public let inputs: [TensorInfo]
    public let outputs: [TensorInfo]
    /// Bytes of memory that a session of one thread needs.
    public let arenaByteCount: Int
}

/// A verified model. Immutable: any number of sessions, tasks and threads may share it. It closes itself when nobody has it any more; sessions keep what they need.
///
/// ```swift
/// let model = try await Model.open(bundle, keys: TrustedKeys([publicKey]))
/// ```
public final class Model: Sendable {
    let handle: Handle
    public let info: ModelInfo

    init(_ handle: Handle) throws {
        self.handle = handle
        do {
            info = try Self.describe(handle)
        } catch {
            ff_model_release(handle.pointer)
            throw error
        }
    }

    deinit { close() }

    /// A session: memory for one inference at a time.
    public func makeSession(_ options: SessionOptions = SessionOptions()) throws -> Session { try Session(self, options) }

    /// Closes it now. What is done with it afterwards throws ``FleetfootError/closed``, ``info`` and sessions live on.
    public func close() { ff_model_release(handle.pointer) }

    private static func describe(_ handle: Handle) throws -> ModelInfo {
        var info: ff_model_info = sized()
        try call { error in ff_model_get_info(handle.pointer, &info, error) }
        let inputs = try (0..<info.n_inputs).map { index in try TensorInfo { ff_model_input(handle.pointer, index, $0, $1) } }
        let outputs = try (0..<info.n_outputs).map { index in try TensorInfo { ff_model_output(handle.pointer, index, $0, $1) } }
        return ModelInfo(
            name: String(cString: info.name), version: String(cString: info.version), number: info.number,
            sha256: withUnsafeBytes(of: info.sha256) { Data($0) }, inputs: inputs, outputs: outputs, arenaByteCount: Int(info.arena_len))
    }
}

extension Model {
    /// Maps and verifies a bundle. The file must not be changed while the model is in use.
    public static func open(_ file: URL, keys: TrustedKeys) async throws -> Model { try await offPool { try openBlocking(file, keys: keys) } }

    /// As ``open(_:keys:)-(URL,_)``, in this thread.
    public static func openBlocking(_ file: URL, keys: TrustedKeys) throws -> Model {
        try lending { lent in
            let path = try lent.text(file.path)
            return try Model(make { out, error in ff_model_from_file(path, keys.bytes, keys.count, keys.threshold, out, error) })
        }
    }

    /// Verifies a bundle in memory, which is copied once.
    public static func open(_ bundle: Data, keys: TrustedKeys) async throws -> Model { try await offPool { try openBlocking(bundle, keys: keys) } }

    /// As ``open(_:keys:)-(Data,_)``, in this thread.
    public static func openBlocking(_ bundle: Data, keys: TrustedKeys) throws -> Model {
        try bundle.withUnsafeBytes { bytes in
            // An empty one has no address, and is refused as a bundle that is too short.
            let at = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64)
            return try Model(make { out, error in ff_model_from_memory(at, bytes.count, keys.bytes, keys.count, keys.threshold, out, error) })
        }
    }

    /// Verifies a bundle that lies in a larger file: `length` bytes of an open file from `offset` on. The descriptor stays the caller's, and may be closed afterwards.
    public static func openBlocking(fileDescriptor: Int32, offset: UInt64, length: UInt64, keys: TrustedKeys) throws -> Model {
        try Model(make { out, error in ff_model_from_fd(fileDescriptor, offset, length, keys.bytes, keys.count, keys.threshold, out, error) })
    }
}

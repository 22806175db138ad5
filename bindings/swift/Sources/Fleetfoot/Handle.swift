// The door to C: handles, structs that begin with their size, statuses that become errors, texts.

import CFleetfoot
import Foundation

/// A handle of the C interface. It is a number in the shape of a pointer and is never followed: any thread may use it, and close it twice.
struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
}

/// A struct of `fleetfoot.h` that begins with its size.
protocol Sized {
    init()
    var struct_size: UInt32 { get set }
}

extension ff_error: Sized {}
extension ff_model_info: Sized {}
extension ff_tensor_info: Sized {}
extension ff_session_options: Sized {}
extension ff_run_metrics: Sized {}
extension ff_image: Sized {}
extension ff_model_options: Sized {}
extension ff_runtime_options: Sized {}
extension ff_update_result: Sized {}
extension ff_request: Sized {}
extension ff_event: Sized {}

/// Zeros, and the size: `FF_INIT` of the header.
@inline(__always)
func sized<T: Sized>(_: T.Type = T.self) -> T {
    var made = T()
    made.struct_size = UInt32(MemoryLayout<T>.stride)
    return made
}

/// Calls a function with an `ff_error`, and throws what it says.
@inline(__always)
func call(_ function: (UnsafeMutablePointer<ff_error>) -> ff_status) throws {
    var error: ff_error = sized()
    let status = function(&error)
    if status != 0 { throw FleetfootError(status, error) }
}

/// Calls a function that makes a handle.
func make(_ function: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<ff_error>) -> ff_status) throws -> Handle {
    _ = interfaceIsOurs
    var out: OpaquePointer?
    try call { error in function(&out, error) }
    guard let out else { throw FleetfootError.internalFault(message: "no handle, and no error") }
    return Handle(pointer: out)
}

/// Looked at once, before the first handle: a shared library may be another one than the header.
private let interfaceIsOurs: Void = {
    let major = ff_abi_version() >> 16
    precondition(major == FF_ABI_MAJOR, "libfleetfoot \(libraryVersion) has another interface: \(major), not \(FF_ABI_MAJOR)")
}()

/// The version of the library that is linked, such as `0.1.0`.
public var libraryVersion: String { String(cString: ff_version_string()) }

/// A text inside of a struct, which ends with a zero.
func text<Characters>(_ characters: Characters) -> String {
    withUnsafeBytes(of: characters) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
}

/// Texts and bytes for C, which live as long as this does.
final class Lent {
    private var memory: [UnsafeMutableRawPointer] = []

    /// A text with a zero behind it. One with a zero inside would end there.
    func text(_ text: String) throws -> UnsafePointer<CChar> {
        let bytes = Array(text.utf8)
        if bytes.contains(0) { throw FleetfootError.invalidArgument(code: FleetfootError.Status.text.rawValue, message: "a zero byte in \(text.debugDescription)") }
        return UnsafeRawPointer(copy(bytes + [0])).assumingMemoryBound(to: CChar.self)
    }

    func bytes(_ bytes: some Collection<UInt8>) -> UnsafePointer<UInt8> {
        UnsafeRawPointer(copy(Array(bytes))).assumingMemoryBound(to: UInt8.self)
    }

    private func copy(_ bytes: [UInt8]) -> UnsafeMutableRawPointer {
        let room = UnsafeMutableRawPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
        bytes.withUnsafeBytes { if let from = $0.baseAddress { room.copyMemory(from: from, byteCount: bytes.count) } }
        memory.append(room)
        return room
    }

    deinit { memory.forEach { $0.deallocate() } }
}

/// Lends texts and bytes to `body`.
func lending<R>(_ body: (Lent) throws -> R) rethrows -> R {
    let lent = Lent()
    return try withExtendedLifetime(lent) { try body(lent) }
}

/// Runs what blocks on a thread that may be blocked, which those of Swift's pool may not.
func offPool<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        blocking.async { continuation.resume(with: Result { try body() }) }
    }
}

private let blocking = DispatchQueue(label: "dev.fleetfoot.blocking", attributes: .concurrent)

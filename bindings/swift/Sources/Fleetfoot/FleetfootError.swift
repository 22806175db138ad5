import CFleetfoot
import Foundation

/// What went wrong. ``code`` is a number of `docs/errors.md` and never changes its meaning; the cases say what a caller can do about it.
///
/// ```swift
/// do {
///     try session.run()
/// } catch FleetfootError.busy {
///     // another task runs this session
/// }
/// ```
public enum FleetfootError: Error, Sendable, Equatable {
    /// A value that is not allowed, a text that is none, an image that does not fit.
    case invalidArgument(code: Int32, message: String)
    /// The object was closed.
    case closed
    /// Another call on this object is under way.
    case busy
    /// The run was cancelled.
    case cancelled
    /// Another process, or another ``Runtime``, has the store.
    case storeBusy(message: String)
    /// A buffer or a tensor does not fit. `index` is the input or output at fault, where it is known.
    case tensorMismatch(code: Int32, index: Int?, message: String)
    /// The bytes of a bundle are damaged, or its plan is not sound or not supported.
    case modelInvalid(code: Int32, message: String)
    /// A signature, a hash, an expiry, a rollback: not to be believed.
    case verificationFailed(code: Int32, message: String)
    /// A file cannot be read or written. `errno` is the number of the operating system, or 0.
    case file(errno: Int32, message: String)
    /// The repository, the network or the store: what serves is untouched.
    case updateFailed(code: Int32, message: String)
    /// No version of the model is on this device.
    case notInstalled(message: String)
    /// A fault of the library: a session is good for nothing else afterwards.
    case internalFault(message: String)
    /// A number of a newer library.
    case unknown(code: Int32, message: String)

    /// The stable number.
    public var code: Int32 {
        switch self {
        case .closed: Status.closed.rawValue
        case .busy: Status.busy.rawValue
        case .cancelled: Status.cancelled.rawValue
        case .storeBusy: Status.storeBusy.rawValue
        case .file: Status.file.rawValue
        case .notInstalled: Status.notInstalled.rawValue
        case .internalFault: Status.panic.rawValue
        case .invalidArgument(let code, _), .tensorMismatch(let code, _, _), .modelInvalid(let code, _), .verificationFailed(let code, _),
            .updateFailed(let code, _), .unknown(let code, _):
            code
        }
    }

    /// The name of the number, where it has one.
    public var status: Status? { Status(rawValue: code) }

    /// Numbers that have a name in `fleetfoot.h`. An open set: all others are in `docs/errors.md`.
    public enum Status: Int32, Sendable, CaseIterable {
        case numberOfKeys = 200
        case badSignature = 204
        case tooFewSignatures = 205
        case sectionHash = 206
        case rollbackAttack = 247
        case expired = 251
        case arenaTooSmall = 306
        case noSuchTensor = 307
        case inputLength = 308
        // 401 to 417 are reasons: they stand in events and results of polls.
        case goldenMismatch = 401
        case overLatency = 402
        case overMemory = 403
        case runtimeTooOld = 404
        case badInference = 406
        case rolledBack = 411
        case file = 420
        case storeBusy = 423
        case missing = 428
        case notInstalled = 429
        case noSuchVersion = 430
        case sink = 431
        case transport = 432
        case threadCount = 433
        case null = 600
        case closed = 601
        case busy = 602
        case cancelled = 603
        case panic = 604
        case structSize = 605
        case argument = 606
        case text = 607
        case timeout = 608
        case length = 609
        case unaligned = 610
        case tooMany = 611
        case noModel = 612
        case image = 613
        case noRepository = 614
        case stopped = 615
        case tooSmall = 616
        case unsupported = 617
        case unknown = 649

        /// The name in C, such as `FF_ERR_BUSY`.
        public var name: String { String(cString: ff_status_name(rawValue)) }
    }
}

extension FleetfootError {
    /// What a call that returned `status` tells. What is wrong with the `ff_error` itself is not written into it.
    init(_ status: ff_status, _ error: ff_error) {
        let isTold = error.status == status
        let message = isTold ? Fleetfoot.text(error.message) : String(cString: ff_status_name(status))
        let index = isTold && error.tensor_index != noTensor ? Int(error.tensor_index) : nil
        switch Status(rawValue: status) {
        case .closed: self = .closed
        case .busy: self = .busy
        case .cancelled: self = .cancelled
        case .panic: self = .internalFault(message: message)
        case .storeBusy: self = .storeBusy(message: message)
        case .notInstalled: self = .notInstalled(message: message)
        case .file: self = .file(errno: error.os_errno, message: message)
        case .arenaTooSmall, .noSuchTensor, .inputLength, .length, .unaligned:
            self = .tensorMismatch(code: status, index: index, message: message)
        case .threadCount: self = .invalidArgument(code: status, message: message)
        default:
            switch status {
            case 100..<200, 300..<400: self = .modelInvalid(code: status, message: message)
            case 200..<300: self = .verificationFailed(code: status, message: message)
            case 400..<500: self = .updateFailed(code: status, message: message)
            case 600..<649: self = .invalidArgument(code: status, message: message)
            default: self = .unknown(code: status, message: message)
            }
        }
    }
}

/// `FF_NO_TENSOR`.
private let noTensor = UInt32.max

extension FleetfootError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .closed: "It was closed."
        case .busy: "Another call on it is under way."
        case .cancelled: "It was cancelled."
        case .invalidArgument(let code, let message), .tensorMismatch(let code, _, let message), .modelInvalid(let code, let message),
            .verificationFailed(let code, let message), .updateFailed(let code, let message), .unknown(let code, let message):
            "\(message) (\(code))"
        case .storeBusy(let message), .file(_, let message), .notInstalled(let message), .internalFault(let message):
            "\(message) (\(code))"
        }
    }
}

import CFleetfoot

/// Element type of a tensor.
public enum DType: Int32, Sendable {
    case int8 = 1
    case uint8 = 2
    case int32 = 3
    case int64 = 4
    case float32 = 5

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .int8, .uint8: 1
        case .int32, .float32: 4
        case .int64: 8
        }
    }
}

/// A type whose arrays can be the elements of a tensor.
///
/// `Float` stands for real numbers: where a tensor is quantized they are turned with its scale and zero point, on the way in and on the way out.
public protocol TensorScalar: BitwiseCopyable, Sendable {
    /// The element type of a tensor that has these elements.
    static var dtype: DType { get }
}

extension Int8: TensorScalar { public static var dtype: DType { .int8 } }
extension UInt8: TensorScalar { public static var dtype: DType { .uint8 } }
extension Int32: TensorScalar { public static var dtype: DType { .int32 } }
extension Int64: TensorScalar { public static var dtype: DType { .int64 } }
extension Float: TensorScalar { public static var dtype: DType { .float32 } }

/// An input or output: `real = (q - zeroPoint) * scale`.
public struct TensorInfo: Sendable, Equatable {
    /// In the source model.
    public let name: String
    public let dtype: DType
    /// Extents, outermost first; images are `[n, h, w, c]`.
    public let shape: [Int]
    public let byteCount: Int
    public let scale: Float
    public let zeroPoint: Int32

    init(_ get: (UnsafeMutablePointer<ff_tensor_info>, UnsafeMutablePointer<ff_error>) -> ff_status) throws {
        var info: ff_tensor_info = sized()
        try call { error in get(&info, error) }
        guard let dtype = DType(rawValue: info.dtype) else {
            throw FleetfootError.unknown(code: FleetfootError.Status.argument.rawValue, message: "element type \(info.dtype)")
        }
        self.dtype = dtype
        name = String(cString: info.name)
        shape = withUnsafeBytes(of: info.dims) { $0.bindMemory(to: UInt32.self).prefix(Int(info.rank)).map { Int($0) } }
        byteCount = Int(info.byte_len)
        (scale, zeroPoint) = (info.scale, info.zero_point)
    }

    /// Number of elements.
    public var count: Int { byteCount / dtype.byteCount }

    /// A real number as a step of this tensor, half to even as everywhere in Fleetfoot. What is no number becomes zero.
    func quantized<Q: FixedWidthInteger>(_ value: Float, as _: Q.Type) -> Q {
        let steps = Double(value / scale).rounded(.toNearestOrEven) + Double(zeroPoint)
        if steps.isNaN { return Q(clamping: zeroPoint) }
        return Q(clamping: Int64(min(max(steps, -9e15), 9e15)))
    }

    func real(_ step: some FixedWidthInteger) -> Float { Float(Int64(step) - Int64(zeroPoint)) * scale }
}

extension TensorInfo {
    /// Writes real numbers as elements of this tensor.
    func write(_ values: [Float], to room: UnsafeMutableRawBufferPointer) {
        func put<E: BitwiseCopyable>(_ element: (Float) -> E) {
            for (at, value) in values.enumerated() { room.storeBytes(of: element(value), toByteOffset: at * MemoryLayout<E>.size, as: E.self) }
        }
        switch dtype {
        case .int8: put { quantized($0, as: Int8.self) }
        case .uint8: put { quantized($0, as: UInt8.self) }
        // No quantized ones: indices, lengths.
        case .int32: put { Int32(clamping: Int64(whole: $0)) }
        case .int64: put { Int64(whole: $0) }
        case .float32: put { $0 }
        }
    }

    /// Elements of this tensor as real numbers.
    func read(_ bytes: UnsafeRawBufferPointer) -> [Float] {
        func all<E: BitwiseCopyable>(_ real: (E) -> Float) -> [Float] {
            (0..<count).map { real(bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<E>.size, as: E.self)) }
        }
        return switch dtype {
        case .int8: all { (q: Int8) in real(q) }
        case .uint8: all { (q: UInt8) in real(q) }
        case .int32: all { (q: Int32) in Float(q) }
        case .int64: all { (q: Int64) in Float(q) }
        case .float32: all { (q: Float) in q }
        }
    }

    /// Throws unless `count` elements of type `T` are all of this tensor.
    func expect<T: TensorScalar>(_: T.Type, count given: Int, index: Int) throws {
        let fault: String? =
            if T.self != Float.self, T.dtype != dtype {
                "\(name) has elements of type \(dtype), \(T.dtype) were given"
            } else if given != count {
                "\(name) has \(count) elements, \(given) were given"
            } else {
                nil
            }
        if let fault { throw FleetfootError.tensorMismatch(code: FleetfootError.Status.length.rawValue, index: index, message: fault) }
    }
}

extension Int64 {
    /// The whole number towards zero, within bounds; 0 for what is no number.
    fileprivate init(whole value: Float) {
        self = value.isNaN ? 0 : Int64(exactly: value.rounded(.towardZero)) ?? (value < 0 ? .min : .max)
    }
}

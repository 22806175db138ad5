import CFleetfoot
import Foundation

/// How pixels lie in memory.
public enum PixelFormat: Int32, Sendable {
    /// One plane, four bytes a pixel; alpha is ignored.
    case rgba8888 = 1
    case bgra8888 = 2
    /// Two planes: luma; pairs (u, v) for each 2 x 2 pixels.
    case nv12 = 3
    /// The same with pairs (v, u).
    case nv21 = 4
}

/// What happens to an image on its way into an input.
public struct ImageOptions: Sendable, Equatable {
    /// How pixels between pixels are found.
    public enum Filter: Int32, Sendable {
        case nearest = 0
        case bilinear = 1
    }

    /// `real = (pixel - mean) / std` for pixels of 0 to 255, for each of red, green and blue.
    public struct Normalization: Sendable, Equatable {
        public var mean: SIMD3<Float>
        public var std: SIMD3<Float>

        public init(mean: SIMD3<Float>, std: SIMD3<Float>) { (self.mean, self.std) = (mean, std) }
    }

    /// It is turned clockwise first: 0, 90, 180 or 270.
    public var rotationDegrees: Int
    public var filter: Filter
    /// Luma and chroma have values of 0 to 255, as cameras of phones give them, not 16 to 235. For ``PixelFormat/nv12`` and ``PixelFormat/nv21``.
    public var isFullRange: Bool
    /// Without it the model takes pixels as they are.
    public var normalization: Normalization?

    public init(rotationDegrees: Int = 0, filter: Filter = .bilinear, isFullRange: Bool = true, normalization: Normalization? = nil) {
        (self.rotationDegrees, self.filter, self.isFullRange) = (rotationDegrees, filter, isFullRange)
        self.normalization = normalization
    }
}

/// One plane of an image: its bytes, and how many of them lie from one row to the next.
public struct ImagePlane {
    public var bytes: UnsafeRawBufferPointer
    public var bytesPerRow: Int

    public init(_ bytes: UnsafeRawBufferPointer, bytesPerRow: Int) { (self.bytes, self.bytesPerRow) = (bytes, bytesPerRow) }
}

extension Session {
    /// Makes an image the content of an input of shape `[1, h, w, 3]` (RGB) or `[1, h, w, 1]` (grey): turned, stretched to h x w, normalised, quantized with the scale of
    /// the input, in one pass with integers, so that all devices get the same bytes. A buffer that is bound to the input is unbound.
    ///
    /// - Parameters:
    ///   - planes: one, or for ``PixelFormat/nv12`` and ``PixelFormat/nv21`` two. Each must have all of its rows; the last may end with its last pixel.
    ///   - width: pixels of a row before the turn, 1 to 32768.
    ///   - height: rows before the turn, 1 to 32768.
    /// - Throws: ``FleetfootError/invalidArgument(code:message:)`` with 613 where this is no image, or the input takes none.
    public func setImage(
        _ format: PixelFormat, planes: [ImagePlane], width: Int, height: Int, options: ImageOptions = ImageOptions(), input: Int = 0
    ) throws {
        var image: ff_image = sized()
        (image.format, image.width, image.height) = (format.rawValue, UInt32(clamping: width), UInt32(clamping: height))
        for plane in 0..<format.planeCount {
            guard planes.indices.contains(plane) else { throw Self.noImage("plane \(plane) is missing") }
            try planes[plane].expect(format, plane, width, height)
        }
        image.stride.0 = UInt32(clamping: planes[0].bytesPerRow)
        image.plane.0 = planes[0].bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        if format.planeCount == 2 {
            image.stride.1 = UInt32(clamping: planes[1].bytesPerRow)
            image.plane.1 = planes[1].bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        }
        image.rotation_degrees = UInt32(clamping: options.rotationDegrees)
        image.filter = options.filter.rawValue
        image.full_range = options.isFullRange ? 1 : 0
        if let (mean, std) = options.normalization.map({ ($0.mean, $0.std) }) {
            image.mean = (mean.x, mean.y, mean.z)
            image.std = (std.x, std.y, std.z)
        }
        try call { error in ff_session_set_image(handle.pointer, UInt32(exactly: input) ?? .max, &image, error) }
    }

    /// As ``setImage(_:planes:width:height:options:input:)``, of pixels that lie one behind the other: ``PixelFormat/rgba8888`` or ``PixelFormat/bgra8888``.
    public func setImage(
        _ format: PixelFormat, pixels: some ContiguousBytes, width: Int, height: Int, options: ImageOptions = ImageOptions(), input: Int = 0
    ) throws {
        let (bytesPerRow, isTooMuch) = width.multipliedReportingOverflow(by: 4)
        guard !isTooMuch else { throw Self.noImage("\(width) pixels in a row") }
        try pixels.withUnsafeBytes { bytes in
            try setImage(format, planes: [ImagePlane(bytes, bytesPerRow: bytesPerRow)], width: width, height: height, options: options, input: input)
        }
    }

    static func noImage(_ message: String) -> FleetfootError { .invalidArgument(code: FleetfootError.Status.image.rawValue, message: message) }
}

extension PixelFormat {
    var planeCount: Int {
        switch self {
        case .rgba8888, .bgra8888: 1
        case .nv12, .nv21: 2
        }
    }
}

extension ImagePlane {
    /// Throws unless all pixels of plane `plane` are in it: C gets no length.
    fileprivate func expect(_ format: PixelFormat, _ plane: Int, _ width: Int, _ height: Int) throws {
        guard (1...32768).contains(width), (1...32768).contains(height) else {
            throw Session.noImage("\(width) x \(height) pixels; 1 x 1 to 32768 x 32768 are possible")
        }
        let rows = plane == 0 ? height : (height + 1) / 2
        let row = format.planeCount == 1 ? 4 * width : plane == 0 ? width : 2 * ((width + 1) / 2)
        guard (row...Int(Int32.max)).contains(bytesPerRow) else { throw Session.noImage("plane \(plane) has rows of \(bytesPerRow) bytes, not of \(row) at least") }
        let (before, isTooMuch) = (rows - 1).multipliedReportingOverflow(by: bytesPerRow)
        guard !isTooMuch, before <= Int.max - row, bytes.count >= before + row else {
            throw Session.noImage("plane \(plane) has \(bytes.count) bytes, too few for \(rows) rows of \(bytesPerRow)")
        }
    }
}

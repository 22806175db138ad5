// What `PixelBuffer.swift` uses of Core Video, declared by hand after Apple's documentation, so that it is compiled on Linux, too. Nothing here is ever linked.

public final class CVBuffer {}
public typealias CVPixelBuffer = CVBuffer
public typealias CVReturn = Int32
public typealias OSType = UInt32

public struct CVPixelBufferLockFlags: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let readOnly = CVPixelBufferLockFlags(rawValue: 1)
}

public let kCVReturnSuccess: CVReturn = 0
public let kCVPixelFormatType_32BGRA: OSType = 0x4247_5241
public let kCVPixelFormatType_32RGBA: OSType = 0x5247_4241
public let kCVPixelFormatType_420YpCbCr8BiPlanarVideoRange: OSType = 0x3432_3076
public let kCVPixelFormatType_420YpCbCr8BiPlanarFullRange: OSType = 0x3432_3066

public func CVPixelBufferGetPixelFormatType(_: CVPixelBuffer) -> OSType { 0 }
public func CVPixelBufferLockBaseAddress(_: CVPixelBuffer, _: CVPixelBufferLockFlags) -> CVReturn { 0 }
public func CVPixelBufferUnlockBaseAddress(_: CVPixelBuffer, _: CVPixelBufferLockFlags) -> CVReturn { 0 }
public func CVPixelBufferGetBaseAddress(_: CVPixelBuffer) -> UnsafeMutableRawPointer? { nil }
public func CVPixelBufferGetBaseAddressOfPlane(_: CVPixelBuffer, _: Int) -> UnsafeMutableRawPointer? { nil }
public func CVPixelBufferGetBytesPerRow(_: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetBytesPerRowOfPlane(_: CVPixelBuffer, _: Int) -> Int { 0 }
public func CVPixelBufferGetWidth(_: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetHeight(_: CVPixelBuffer) -> Int { 0 }
public func CVPixelBufferGetHeightOfPlane(_: CVPixelBuffer, _: Int) -> Int { 0 }

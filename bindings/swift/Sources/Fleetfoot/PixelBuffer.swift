// Frames of cameras and videos, on Apple's platforms.

#if canImport(CoreVideo)
    import CoreVideo

    extension Session {
        /// Makes a frame the content of an input: see ``setImage(_:planes:width:height:options:input:)``. Pixels of `32BGRA`, `32RGBA`, `420v` and `420f` are read where they
        /// lie; whether the range is full is told by the format, not by `options`.
        public func setImage(_ frame: CVPixelBuffer, options: ImageOptions = ImageOptions(), input: Int = 0) throws {
            var options = options
            let format: PixelFormat
            switch CVPixelBufferGetPixelFormatType(frame) {
            case kCVPixelFormatType_32BGRA: format = .bgra8888
            case kCVPixelFormatType_32RGBA: format = .rgba8888
            case kCVPixelFormatType_420YpCbCr8BiPlanarVideoRange: (format, options.isFullRange) = (.nv12, false)
            case kCVPixelFormatType_420YpCbCr8BiPlanarFullRange: (format, options.isFullRange) = (.nv12, true)
            case let other: throw Self.noImage("pixels of type \(other): 32BGRA, 32RGBA, 420v and 420f are known")
            }
            let locked = CVPixelBufferLockBaseAddress(frame, .readOnly)
            guard locked == kCVReturnSuccess else { throw Self.noImage("the frame cannot be locked: \(locked)") }
            defer { _ = CVPixelBufferUnlockBaseAddress(frame, .readOnly) }
            let planes = (0..<format.planeCount).map { plane in
                let isPlanar = format.planeCount > 1
                let start = isPlanar ? CVPixelBufferGetBaseAddressOfPlane(frame, plane) : CVPixelBufferGetBaseAddress(frame)
                let bytesPerRow = isPlanar ? CVPixelBufferGetBytesPerRowOfPlane(frame, plane) : CVPixelBufferGetBytesPerRow(frame)
                let rows = isPlanar ? CVPixelBufferGetHeightOfPlane(frame, plane) : CVPixelBufferGetHeight(frame)
                return ImagePlane(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : rows * bytesPerRow), bytesPerRow: bytesPerRow)
            }
            let (width, height) = (CVPixelBufferGetWidth(frame), CVPixelBufferGetHeight(frame))
            try setImage(format, planes: planes, width: width, height: height, options: options, input: input)
        }
    }
#endif

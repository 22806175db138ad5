import Foundation

/// A file of a repository that is asked for.
public struct FileRequest: Sendable, Equatable {
    /// Relative, without a leading slash.
    public let path: String
    /// Bytes at the front that are there already: hand on what follows.
    public let offset: UInt64
    /// Bytes that the whole file may have.
    public let maxLength: UInt64
    /// Tag of a copy that is there already, for `If-None-Match`.
    public let etag: String?

    public init(path: String, offset: UInt64 = 0, maxLength: UInt64, etag: String? = nil) {
        (self.path, self.offset, self.maxLength, self.etag) = (path, offset, maxLength, etag)
    }
}

/// What came of a ``FileRequest``.
public enum Answer: Sendable, Equatable {
    /// Everything from the offset on was handed on.
    case whole(etag: String? = nil)
    /// The copy with the tag that was given still holds.
    case notModified
    /// There is no such file.
    case missing
    /// It did not come, or not as it should.
    case failed(httpStatus: Int? = nil)
}

/// How files of a repository arrive. It is not trusted: whatever it delivers is checked.
public protocol Transport: Sendable {
    /// Fetches a file and hands its bytes on in order, from any thread, which waits until they are written. An error of `sink` ends the fetch and is thrown on; any other
    /// error that is thrown ends the poll, and its caller gets it.
    func fetch(_ request: FileRequest, sink: @escaping @Sendable (Data) throws -> Void) async throws -> Answer
}

/// Files below a folder: a test, a stick.
public struct FolderTransport: Transport {
    private let root: URL

    public init(_ root: URL) { self.root = root }

    public func fetch(_ request: FileRequest, sink: @escaping @Sendable (Data) throws -> Void) async throws -> Answer {
        try await offPool { [root] in
            var isFolder: ObjCBool = false
            let file = root.appendingPathComponent(request.path)
            let manager = FileManager.default
            guard manager.fileExists(atPath: file.path, isDirectory: &isFolder), !isFolder.boolValue else {
                // A stick that was pulled out is unreachable; a file that is not on it is missing.
                return manager.fileExists(atPath: root.path) ? .missing : .failed()
            }
            guard let handle = try? FileHandle(forReadingFrom: file) else { return .failed() }
            defer { try? handle.close() }
            guard (try? handle.seek(toOffset: request.offset)) != nil else { return .failed() }
            var left = request.maxLength - min(request.offset, request.maxLength)
            while true {
                let read: Data
                // At its end it reads nothing, which is no error.
                do { read = try handle.read(upToCount: 1 << 16) ?? Data() } catch { return .failed() }
                if read.isEmpty { return .whole() }
                guard UInt64(read.count) <= left else { return .failed() }
                left -= UInt64(read.count)
                try sink(read)
            }
        }
    }
}

// A repository behind a web server or a CDN, fetched with the URL loading system: proxies, certificates and App Transport Security are those of the platform.
//
//   200              the whole file; bytes that are there already are dropped (the server knows no ranges, or the file changed)
//   206              the rest of the file; it must begin where it was asked to
//   304              the copy still holds
//   403, 404, 410    missing (stores of objects answer 403 where a name does not exist)
//   redirect         followed on the same host only
//   other            failed
//
// A broken download is continued with `Range`, and with `If-Range` where the tag is known from this process. Without it a file that changed meanwhile is noticed too:
// its hash is wrong in the end.

import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Fetches over HTTP and HTTPS.
public final class URLSessionTransport: Transport {
    private let base: String
    private let courier: Courier
    private let session: URLSession

    /// - Parameters:
    ///   - base: the folder `metadata` lies there.
    ///   - stallTimeout: seconds that a server may let wait for the next bytes.
    ///   - totalTimeout: seconds that one file may take, so that a server which drips bytes does not hold the poll; the next one goes on with it.
    ///   - configuration: of the session; caches and cookies are turned off in it, since what is fetched is checked and stored by its content.
    public init(
        _ base: URL, stallTimeout: TimeInterval = 30, totalTimeout: TimeInterval = 30 * 60, configuration: URLSessionConfiguration = .ephemeral
    ) {
        let text = base.absoluteString
        self.base = text.hasSuffix("/") ? String(text.dropLast()) : text
        configuration.timeoutIntervalForRequest = stallTimeout
        configuration.timeoutIntervalForResource = totalTimeout
        configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
        configuration.urlCache = nil
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        let queue = OperationQueue()
        queue.maxConcurrentOperationCount = 1
        courier = Courier()
        session = URLSession(configuration: configuration, delegate: courier, delegateQueue: queue)
    }

    deinit { session.finishTasksAndInvalidate() }

    public func fetch(_ request: FileRequest, sink: @escaping @Sendable (Data) throws -> Void) async throws -> Answer {
        guard let url = url(request.path) else { return .failed() }
        var get = URLRequest(url: url)
        get.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
        get.setValue("fleetfoot/\(libraryVersion)", forHTTPHeaderField: "User-Agent")
        if request.offset > 0 {
            get.setValue("bytes=\(request.offset)-", forHTTPHeaderField: "Range")
            if let tag = courier.tag(of: request.path) { get.setValue(tag, forHTTPHeaderField: "If-Range") }
        } else if let tag = request.etag {
            get.setValue(tag, forHTTPHeaderField: "If-None-Match")
        }
        let task = session.dataTask(with: get)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                courier.carry(Parcel(request, sink, continuation), of: task)
                task.resume()
                // A task that was cancelled before it was begun may tell its delegate nothing.
                guard Task.isCancelled else { return }
                task.cancel()
                session.delegateQueue.addOperation { [courier, number = task.taskIdentifier] in courier.giveUp(number) }
            }
        } onCancel: {
            task.cancel()
        }
    }

    /// Paths come from signed metadata, and still lead nowhere but below the base.
    private func url(_ path: String) -> URL? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else { return nil }
        let allowed = CharacterSet.alphanumerics.intersection(CharacterSet(charactersIn: "\u{0}"..."\u{7f}")).union(CharacterSet(charactersIn: "-._~/"))
        return path.addingPercentEncoding(withAllowedCharacters: allowed).flatMap { URL(string: "\(base)/\($0)") }
    }
}

/// One fetch that is under way. Only the queue of the delegate uses it.
private final class Parcel {
    let request: FileRequest
    private let sink: (Data) throws -> Void
    private let continuation: CheckedContinuation<Answer, any Error>
    /// What the head of the response came to; `nil` until it is there, and where bytes are to follow.
    private var answer: Answer?
    private var refused: (any Error)?
    /// Bytes of the response that are to be dropped, and those that may still come.
    private var skip: UInt64 = 0
    private var left: UInt64 = 0
    private(set) var etag: String?

    init(_ request: FileRequest, _ sink: @escaping (Data) throws -> Void, _ continuation: CheckedContinuation<Answer, any Error>) {
        (self.request, self.sink, self.continuation) = (request, sink, continuation)
    }

    /// Whether the body is wanted.
    func begin(_ response: URLResponse) -> Bool {
        guard let response = response as? HTTPURLResponse else { return end(.failed()) }
        let at: UInt64
        switch response.statusCode {
        case 200: at = 0
        case 206:
            guard response.rangeStart == request.offset else { return end(.failed(httpStatus: 206)) }
            at = request.offset
        case 304: return end(request.etag != nil && request.offset == 0 ? .notModified : .failed(httpStatus: 304))
        case 403, 404, 410: return end(.missing)
        case let status: return end(.failed(httpStatus: status))
        }
        (skip, left) = (request.offset - at, request.maxLength - min(at, request.maxLength))
        let expected = response.expectedContentLength
        if expected > 0, UInt64(expected) > left { return end(.failed()) }
        etag = response.value(forHTTPHeaderField: "ETag")
        return true
    }

    /// Whether more is wanted.
    func add(_ bytes: Data) -> Bool {
        guard answer == nil, refused == nil else { return false }
        let count = UInt64(bytes.count)
        guard count <= left else { return end(.failed()) }
        left -= count
        let dropped = min(skip, count)
        skip -= dropped
        do {
            if dropped < count { try sink(bytes.dropFirst(Int(dropped))) }
            return true
        } catch {
            refused = error
            return false
        }
    }

    func finish(_ error: (any Error)?, isCancelled: Bool) {
        if let refused {
            continuation.resume(throwing: refused)
        } else if let answer {
            continuation.resume(returning: answer)
        } else if error != nil {
            // Ended by us only where there is an answer or a refusal; otherwise by the task that waits.
            if isCancelled { continuation.resume(throwing: CancellationError()) } else { continuation.resume(returning: .failed()) }
        } else {
            // A file that ended before the bytes that are there already was another one; what is there is checked in the end.
            continuation.resume(returning: .whole(etag: etag))
        }
    }

    private func end(_ answer: Answer) -> Bool {
        self.answer = answer
        return false
    }
}

/// Hands what the session delivers to the fetch that it belongs to.
private final class Courier: NSObject, URLSessionDataDelegate, @unchecked Sendable {
    private let lock = NSLock()
    private var parcels: [Int: Parcel] = [:]
    /// Tags of files whose download began in this process.
    private var tags: [String: String] = [:]
    private let maxTags = 64

    func carry(_ parcel: Parcel, of task: URLSessionTask) { lock.withLock { parcels[task.taskIdentifier] = parcel } }

    /// Ends the fetch of a task that was cancelled, unless the session has done so. In the queue of the delegate.
    func giveUp(_ number: Int) {
        let parcel = lock.withLock { parcels.removeValue(forKey: number) }
        parcel?.finish(URLError(.cancelled), isCancelled: true)
    }

    func tag(of path: String) -> String? { lock.withLock { tags[path] } }

    func urlSession(
        _: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping @Sendable (URLSession.ResponseDisposition) -> Void
    ) {
        guard let parcel = parcel(of: dataTask), parcel.begin(response) else { return completionHandler(.cancel) }
        // Weak tags do not vouch for single bytes: no good for ranges.
        if let tag = parcel.etag, !tag.hasPrefix("W/") {
            lock.withLock {
                if tags.count >= maxTags { tags.removeAll() }
                tags[parcel.request.path] = tag
            }
        }
        completionHandler(.allow)
    }

    func urlSession(
        _: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
        completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        // Where it is not followed the redirect itself is the response.
        completionHandler(request.url?.origin == response.url?.origin ? request : nil)
    }

    func urlSession(_: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        if parcel(of: dataTask)?.add(data) != true { dataTask.cancel() }
    }

    func urlSession(_: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        let parcel = lock.withLock { parcels.removeValue(forKey: task.taskIdentifier) }
        parcel?.finish(error, isCancelled: (error as? URLError)?.code == .cancelled)
    }

    private func parcel(of task: URLSessionTask) -> Parcel? { lock.withLock { parcels[task.taskIdentifier] } }
}

extension HTTPURLResponse {
    /// `a` of `Content-Range: bytes a-b/c`.
    fileprivate var rangeStart: UInt64? {
        guard let range = value(forHTTPHeaderField: "Content-Range"), range.hasPrefix("bytes ") else { return nil }
        return range.dropFirst("bytes ".count).split(separator: "-").first.flatMap { UInt64($0) }
    }
}

extension URL {
    /// Scheme, host and port.
    fileprivate var origin: String { "\(scheme ?? "")://\(host ?? ""):\(port.map(String.init) ?? "")" }
}

import Foundation

@testable import Fleetfoot

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A web server over the files of a folder, which knows tags and ranges, and can be told to misbehave. One connection a request.
final class Server: @unchecked Sendable {
    struct Request: Sendable {
        let path: String
        let headers: [String: String]
        var status = 0
    }

    enum Fault: Sendable {
        /// So many bytes of the body, then nothing more.
        case breakOff(Int)
        /// The head, and then silence.
        case stall
        case status(Int)
        case redirect(String)
        /// The whole file whatever is asked for.
        case wholeAlways
        /// A range that begins there.
        case elsewhere(Int)
        /// No length in the head.
        case unknownLength
    }

    let url: URL
    let seen = Locked<[Request]>([])
    private let folder: URL
    private let listener: Int32
    private let faults = Locked<(@Sendable (String, [String: String]) -> Fault?)?>(nil)

    var fault: (@Sendable (String, [String: String]) -> Fault?)? {
        get { faults.value }
        set { faults.change { $0 = newValue } }
    }

    init(_ folder: URL) throws {
        self.folder = folder
        #if canImport(Glibc)
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            // A client that went away is an error of write.
            signal(SIGPIPE, SIG_IGN)
        #else
            listener = socket(AF_INET, SOCK_STREAM, 0)
            signal(SIGPIPE, SIG_IGN)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (fd, size) = (listener, length)
        let isBound = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(fd, address, size) == 0 && listen(fd, 16) == 0 && getsockname(fd, address, &length) == 0
            }
        }
        guard isBound else { throw POSIXError(.EADDRNOTAVAIL) }
        url = URL(string: "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))")!
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(fd, nil, nil)
                if client < 0 { return }
                Thread.detachNewThread { [self] in
                    answer(client)
                    shutdown(client, Int32(SHUT_RDWR))
                    close(client)
                }
            }
        }
    }

    private func answer(_ client: Int32) {
        guard var request = read(client) else { return }
        let fault = fault?(request.path, request.headers)
        let file = try? Data(contentsOf: folder.appendingPathComponent(request.path))
        let tag = "\"\(request.path)\""
        var (status, body, more) = (200, file ?? Data(), "ETag: \(tag)\r\n")
        let mayRange = request.headers["if-range"].map { $0 == tag } ?? true
        if file == nil {
            status = 404
        } else if request.headers["if-none-match"] == tag {
            (status, body) = (304, Data())
        } else if let range = request.headers["range"], mayRange, let asked = Int(range.dropFirst("bytes=".count).dropLast()) {
            (status, body) = (206, body.dropFirst(asked))
            more += "Content-Range: bytes \(asked)-\(asked + body.count - 1)/\(asked + body.count)\r\n"
        }
        var length: Int? = body.count
        switch fault {
        case .status(let other)?: (status, body, length) = (other, Data(), 0)
        case .redirect(let to)? where request.path != to: (status, body, length, more) = (302, Data(), 0, "Location: \(to)\r\n")
        case .wholeAlways?: (status, body, length, more) = (200, file!, file!.count, "ETag: \(tag)\r\n")
        case .elsewhere(let at)?: more = "Content-Range: bytes \(at)-\(at + body.count - 1)/\(at + body.count)\r\n"
        case .unknownLength?: length = nil
        case .breakOff(let count)?: body = body.prefix(count)
        case .stall?: body = Data()
        case .redirect?, nil: break
        }
        request.status = status
        seen.change { [request] in $0.append(request) }
        let told = length.map { "Content-Length: \($0)\r\n" } ?? ""
        send(client, Data("HTTP/1.1 \(status) X\r\n\(told)\(more)Connection: close\r\n\r\n".utf8) + body)
        if case .stall? = fault { Thread.sleep(forTimeInterval: 5) }
    }

    private func read(_ client: Int32) -> Request? {
        var text = Data()
        var room = [UInt8](repeating: 0, count: 4096)
        while text.range(of: Data("\r\n\r\n".utf8)) == nil {
            let count = recv(client, &room, room.count, 0)
            guard count > 0, text.count < 1 << 16 else { return nil }
            text.append(contentsOf: room.prefix(count))
        }
        let lines = String(decoding: text, as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count == 3, words[0] == "GET" else { return nil }
        let pairs = lines.dropFirst().compactMap { line -> (String, String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (line[..<colon].lowercased(), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces))
        }
        return Request(path: String(words[1]), headers: Dictionary(pairs) { _, last in last })
    }

    private func send(_ client: Int32, _ bytes: Data) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(client, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

import Foundation
import XCTest

@testable import Fleetfoot

/// Polls over HTTP against a server on this machine, with everything that goes wrong on the way.
final class UpdateTests: XCTestCase {
    private func configuration(_ transport: any Transport) -> ModelConfiguration {
        var model = ModelConfiguration("digits", root: World.file("root.json"), from: transport)
        (model.minInferences, model.healthWindowSeconds) = (1, 0)
        return model
    }

    /// The download breaks off, goes on, is not asked for again.
    func testOverHTTP() async throws {
        let server = try Server(World.folder.appendingPathComponent("1"))
        let store = try scratch(self).appendingPathComponent("store")
        let model = configuration(URLSessionTransport(server.url))
        let runtime = try await Runtime(store: store, models: model)
        server.fault = { path, _ in path.hasSuffix(".ff") ? .breakOff(5000) : nil }
        let broken = await thrown { try await runtime.updates.poll("digits") }
        guard case .updateFailed(432, _)? = broken as? FleetfootError else { return XCTFail("\(String(describing: broken))") }
        server.fault = nil
        let polled = try await runtime.updates.poll("digits")
        XCTAssertEqual(polled.kind, .trial)
        XCTAssertEqual(polled.version, "1.0.0")
        let again = server.seen.value.last { $0.path.hasSuffix(".ff") }
        XCTAssertEqual(again?.headers["range"], "bytes=5000-")
        XCTAssertEqual(again?.headers["if-range"], "\"\(try XCTUnwrap(again).path)\"")
        XCTAssertEqual(again?.status, 206)

        let serving = try await runtime.activeModel("digits")
        try answers(serving.makeSession(), "output-1.bin", "over HTTP")
        try runtime.outcome(serving, isGood: true)
        let latest = try await runtime.updates.poll("digits")
        XCTAssertEqual(latest.kind, .upToDate)
        let timestamp = server.seen.value.last { $0.path.hasSuffix("timestamp.json") }
        XCTAssertEqual(timestamp?.status, 304)
        XCTAssert(String(decoding: try runtime.statusJSON, as: UTF8.self).contains("\"version\":\"1.0.0\""))
        let second = await thrown { _ = try await Runtime(store: store, models: model) }
        XCTAssertEqual((second as? FleetfootError)?.code, 423)
    }

    /// The library fetches from a folder itself.
    func testTheLibraryFetches() async throws {
        var model = ModelConfiguration("digits", root: World.file("root.json"), source: .library(World.folder.appendingPathComponent("2").path))
        (model.minInferences, model.healthWindowSeconds) = (1, 0)
        model.factory = (World.folder.appendingPathComponent("1.ff"), try World.keys)
        let runtime = try await Runtime(store: scratch(self), models: model)
        let events = runtime.events
        let factory = try await runtime.activeModel("digits").info.version
        XCTAssertEqual(factory, "1.0.0")
        let staged = try await runtime.updates.stage("digits")
        XCTAssertEqual([staged.version, staged.number.map(String.init)], ["2.0.0", "2"])
        XCTAssertEqual(staged.kind, .staged)
        let polled = try await runtime.updates.poll("digits")
        XCTAssertEqual(polled.kind, .trial)
        try await runtime.updates.rollback("digits", to: "factory")
        let back = try await runtime.activeModel("digits").info.version
        XCTAssertEqual(back, "1.0.0")
        runtime.close()
        var kinds: [FleetfootEvent.Kind] = []
        for await event in events { kinds.append(event.kind) }
        XCTAssert(kinds.contains(.staged) && kinds.contains(.rolledBack), "\(kinds)")
    }

    /// A task that waits for an event is woken when it is cancelled; another one goes on.
    func testStreamsEnd() async throws {
        let runtime = try await Runtime(store: scratch(self), models: configuration(FolderTransport(World.folder.appendingPathComponent("1"))))
        let (one, other) = (runtime.events, runtime.events)
        let waiting = Task { for await _ in one {} }
        try await Task.sleep(nanoseconds: 20_000_000)
        waiting.cancel()
        await waiting.value
        let first = Task { () -> FleetfootEvent.Kind? in
            for await event in other { return event.kind }
            return nil
        }
        try await runtime.updates.poll("digits")
        let kind = await first.value
        XCTAssertNotNil(kind)
        runtime.close()
        for await event in runtime.events { XCTFail("\(event)") }
    }

    /// A poll that is cancelled while a server lets it wait ends at once, and the next one works.
    func testCancelledPolls() async throws {
        let server = try Server(World.folder.appendingPathComponent("1"))
        let runtime = try await Runtime(store: scratch(self), models: configuration(URLSessionTransport(server.url)))
        server.fault = { path, _ in path.hasSuffix(".ff") ? .stall : nil }
        let poll = Task { try await runtime.updates.poll("digits") }
        while !server.seen.value.contains(where: { $0.path.hasSuffix(".ff") }) { try await Task.sleep(nanoseconds: 1_000_000) }
        let busy = await thrown { try await runtime.updates.poll("digits") }
        XCTAssertEqual(busy as? FleetfootError, .busy)
        poll.cancel()
        guard case .failure(let error) = await poll.result else { return XCTFail() }
        XCTAssert(error is CancellationError, "\(error)")
        server.fault = nil
        let polled = try await runtime.updates.poll("digits")
        XCTAssertEqual(polled.kind, .trial)
    }

    /// One request, one kind of answer, and what it comes to.
    func testAnswersOfServers() async throws {
        let server = try Server(World.folder)
        let transport = URLSessionTransport(server.url, stallTimeout: 2)
        let bytes = World.file("input.bin")
        let count = UInt64(bytes.count)
        func check(
            _ request: FileRequest, _ fault: Server.Fault?, _ expected: Answer, _ expectedBytes: Data?, line: UInt = #line
        ) async throws {
            server.fault = { _, _ in fault }
            let taken = Locked(Data())
            let answer = try await transport.fetch(request) { chunk in taken.change { $0.append(chunk) } }
            XCTAssertEqual(answer, expected, line: line)
            if let expectedBytes { XCTAssertEqual(taken.value, expectedBytes, line: line) }
            XCTAssertLessThanOrEqual(UInt64(taken.value.count), request.maxLength - request.offset, line: line)
        }
        let (path, tag) = ("input.bin", "\"/input.bin\"")
        try await check(FileRequest(path: path, maxLength: count), nil, .whole(etag: tag), bytes)
        try await check(FileRequest(path: path, offset: 10, maxLength: count), nil, .whole(etag: tag), bytes.dropFirst(10))
        // The server knows no ranges.
        try await check(FileRequest(path: path, offset: 10, maxLength: count), .wholeAlways, .whole(etag: tag), bytes.dropFirst(10))
        // It begins elsewhere than asked.
        try await check(FileRequest(path: path, offset: 10, maxLength: count), .elsewhere(9), .failed(httpStatus: 206), Data())
        // Longer than it may be: told at once, and not told.
        try await check(FileRequest(path: path, maxLength: count - 1), nil, .failed(), Data())
        try await check(FileRequest(path: path, maxLength: count - 1), .unknownLength, .failed(), nil)
        try await check(FileRequest(path: path, offset: 10, maxLength: count - 1), nil, .failed(), Data())
        try await check(FileRequest(path: path, maxLength: count), .breakOff(7), .failed(), bytes.prefix(7))
        try await check(FileRequest(path: path, maxLength: count), .stall, .failed(), Data())
        try await check(FileRequest(path: path, maxLength: count, etag: tag), nil, .notModified, Data())
        // Not modified is no answer to who has nothing.
        try await check(FileRequest(path: path, maxLength: count), .status(304), .failed(httpStatus: 304), Data())
        for (status, answer) in [(403, Answer.missing), (404, .missing), (410, .missing), (500, .failed(httpStatus: 500)), (503, .failed(httpStatus: 503))] {
            try await check(FileRequest(path: path, maxLength: count), .status(status), answer, Data())
        }
        // Redirects are followed on the same host, and not to another one.
        try await check(FileRequest(path: path, maxLength: count), .redirect("/key.bin"), .whole(etag: "\"/key.bin\""), World.file("key.bin"))
        try await check(FileRequest(path: path, maxLength: count), .redirect("http://127.0.0.2:1/x"), .failed(httpStatus: 302), Data())
        // Nowhere but below the base.
        for path in ["../key.bin", "/key.bin", "a//b", "./key.bin", ""] { try await check(FileRequest(path: path, maxLength: count), nil, .failed(), Data()) }
        let gone = URLSessionTransport(URL(string: "http://127.0.0.1:1")!)
        let answer = try await gone.fetch(FileRequest(path: "x", maxLength: 1)) { _ in }
        XCTAssertEqual(answer, .failed())
        server.fault = nil
        struct Full: Error {}
        let refused = await thrown { _ = try await transport.fetch(FileRequest(path: path, maxLength: count)) { _ in throw Full() } }
        XCTAssert(refused is Full, "\(String(describing: refused))")
    }

    /// A task that is cancelled before it fetches ends, too.
    func testCancelledBefore() async throws {
        let server = try Server(World.folder)
        let transport = URLSessionTransport(server.url)
        let fetch = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.fetch(FileRequest(path: "input.bin", maxLength: 1 << 20)) { _ in }
        }
        guard case .failure(let error) = await fetch.result else { return XCTFail() }
        XCTAssert(error is CancellationError, "\(error)")
    }
}

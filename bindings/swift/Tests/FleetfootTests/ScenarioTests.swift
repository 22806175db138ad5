import Foundation
import XCTest

@testable import Fleetfoot

/// Plays `tests/scenario.txt`, as Rust, C and Kotlin do.
final class ScenarioTests: XCTestCase {
    func testPlays() async throws {
        let device = Device(scratch: try scratch(self))
        var played = 0
        let lines = try String(contentsOfFile: World.scenario, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            var words = line.split(separator: " ").map(String.init)
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            if words[0] == "handles" { words.removeFirst() }
            var expected: Int32 = 0
            if words[0] == "fails" {
                expected = try XCTUnwrap(Int32(words[1]))
                words.removeFirst(2)
            }
            let place = "line \(index + 1): \(line)"
            do {
                try await device.step(words, place)
                XCTAssertEqual(expected, 0, place)
            } catch let error as FleetfootError {
                XCTAssertEqual(expected, error.code, "\(place): \(error)")
            }
            // What follows would only fail for the same reason.
            if (testRun?.totalFailureCount ?? 0) > 0 { return }
            played += 1
        }
        XCTAssertGreaterThan(played, 60)
    }
}

/// The device, between two steps.
private final class Device {
    private let scratch: URL
    private var store = "store"
    private var minInferences: UInt32 = 0
    private var runtime: Runtime?
    private let seen = Seen()

    init(scratch: URL) { self.scratch = scratch }

    func step(_ words: [String], _ place: String) async throws {
        switch words[0] {
        case "limits": minInferences = UInt32(words[1])!
        case "store": store = words[1]
        case "open": try await open(words[1])
        case "close": open.close()
        case "active": try await active(words[1], place)
        case "run": try await run("output-\(words[1]).bin", place)
        case "bad-input": try await badInput(place)
        case "cancel": try await cancel(place)
        case "close-while-running": try await closeWhileRunning(threads: Int(words[1])!, handles: World.few ?? Int(words[2])!, place)
        case "poll-other": try await open.updates.poll("other")
        case "poll": told(words, try await open.updates.poll("digits"), place)
        case "stage": told(words, try await open.updates.stage("digits"), place)
        case "activate": told(words, try await open.updates.activate("digits"), place)
        case "outcomes":
            let model = try await open.activeModel("digits")
            for _ in 0..<Int(words[1])! { try open.outcome(model, isGood: true) }
        case "outcome-bad": try await open.outcome(open.activeModel("digits"), isGood: false)
        case "confirm": try await open.updates.confirmHealthy("digits")
        case "rollback": try await open.updates.rollback("digits", to: words[1])
        case "events":
            for kind in words.dropFirst() {
                let event = await seen.next()
                XCTAssertEqual(event?.kind.word, kind, "\(place): \(event?.text ?? "no event")")
                XCTAssertEqual(event?.model, "digits", place)
            }
        default: XCTFail("\(place): no such step")
        }
    }

    private var open: Runtime { runtime! }

    private func open(_ repository: String) async throws {
        let transport = FolderTransport(World.folder.appendingPathComponent(repository))
        var model = ModelConfiguration("digits", root: World.file("root.json"), from: transport)
        model.minInferences = minInferences
        model.healthWindowSeconds = 0
        let runtime = try await Runtime(store: scratch.appendingPathComponent(store), models: model)
        let events = runtime.events
        Task { [seen] in for await event in events { seen.add(event) } }
        self.runtime = runtime
    }

    private func active(_ version: String, _ place: String) async throws {
        let open = open
        guard version == "-" else {
            let serving = try await open.activeModel("digits").info.version
            return XCTAssertEqual(serving, version, place)
        }
        guard case .notInstalled? = await thrown({ _ = try await open.activeModel("digits") }) as? FleetfootError else { return XCTFail(place) }
    }

    private func run(_ expected: String, _ place: String) async throws {
        let model = try await open.activeModel("digits")
        XCTAssertEqual(model.info.name, "digits", place)
        try answers(model.makeSession(), expected, place)
    }

    private func badInput(_ place: String) async throws {
        let session = try await open.activeModel("digits").makeSession()
        guard case .tensorMismatch(609, 0, _)? = thrown({ try session.setInput([Int8](repeating: 0, count: 3)) }) else { return XCTFail(place) }
        guard case .tensorMismatch(307, 1, _)? = thrown({ try session.withInput(1) { _ in } }) else { return XCTFail(place) }
        guard case .tensorMismatch(609, 0, _)? = thrown({ try session.bindInput(to: TensorBuffer(byteCount: 3)) }) else { return XCTFail(place) }
        guard case .tensorMismatch(307, _, _)? = thrown({ try session.bindOutput(1, to: TensorBuffer(byteCount: 3)) }) else { return XCTFail(place) }
        try answers(session, "output-1.bin", place)
    }

    private func cancel(_ place: String) async throws {
        let session = try await open.activeModel("digits").makeSession()
        let token = try CancelToken()
        token.cancel()
        XCTAssertEqual(thrown { try session.run(cancel: token) }, .cancelled, place)
        token.reset()
        try session.setInput(World.elements("input.bin", as: Int8.self))
        try session.run(cancel: token)
        XCTAssertEqual(try session.output(), World.elements("output-1.bin", as: Int8.self), place)
    }

    /// Sessions that are run by several threads while one of them closes them: the compiler would not let anybody, so the box says that it knows better.
    private func closeWhileRunning(threads: Int, handles: Int, _ place: String) async throws {
        let model = try await open.activeModel("digits")
        let expected = World.elements("output-1.bin", as: Int8.self)
        let counted = try await offPool {
            // Bound, so that runs leave it as it is and all of them answer the same.
            let input = TensorBuffer(byteCount: World.file("input.bin").count)
            input.bytes.copyBytes(from: World.file("input.bin"))
            func session() throws -> Session {
                let session = try model.makeSession()
                try session.bindInput(to: input)
                return session
            }
            let shared = Shared(try session(), threads)
            for number in 0..<threads { Thread.detachNewThread { shared.play(number, handles) } }
            for _ in 0..<handles {
                let before = shared.counts.value.right
                shared.start.wait()
                shared.end.wait()
                // The memory is still there, with the answer of the last run that came to its end.
                let output: [Int8] = try shared.session.output()
                if shared.counts.value.right > before { XCTAssertEqual(output, expected, place) }
                shared.session.close()
                shared.session = try session()
            }
            return shared.counts.value
        }
        XCTAssertEqual(counted.closed, threads * handles, place)
        XCTAssertGreaterThan(counted.right, 0, place)
        XCTAssertEqual(counted.other, 0, place)
    }

    private func told(_ words: [String], _ result: UpdateResult, _ place: String) {
        let (kind, code): (String, Int32) =
            switch result.kind {
            case .upToDate: ("up-to-date", 0)
            case .staged: ("staged", 0)
            case .trial: ("trial", 0)
            case .active: ("active", 0)
            case .rejected(let code): ("rejected", code)
            case .deferred(let code, _): ("deferred", code)
            case .other(let kind): ("other \(kind)", 0)
            }
        let version = kind == "up-to-date" ? "-" : result.version ?? "-"
        XCTAssertEqual(words.dropFirst().joined(separator: " "), "\(kind) \(version) \(code)", "\(place): \(result.text)")
    }
}

/// Whether a session answers the input of the world as it should.
func answers(_ session: Session, _ expected: String, _ place: String, file: StaticString = #filePath, line: UInt = #line) throws {
    try session.setInput(World.elements("input.bin", as: Int8.self))
    try session.run()
    XCTAssertEqual(try session.output(), World.elements(expected, as: Int8.self), place, file: file, line: line)
}

/// A session in the hands of several threads.
private final class Shared: @unchecked Sendable {
    var session: Session
    let start: Barrier
    let end: Barrier
    let counts = Locked((right: 0, closed: 0, other: 0))

    init(_ session: Session, _ threads: Int) { (self.session, start, end) = (session, Barrier(threads + 1), Barrier(threads + 1)) }

    func play(_ number: Int, _ rounds: Int) {
        for round in 0..<rounds {
            start.wait()
            let session = session
            var runs = 0
            var right = 0
            while true {
                do {
                    try session.run()
                    right += 1
                } catch FleetfootError.busy {
                    sched_yield()
                } catch FleetfootError.closed {
                    counts.change { $0.closed += 1 }
                    break
                } catch {
                    counts.change { $0.other += 1 }
                    break
                }
                if number == 0 {
                    if runs >= round % 4 { session.close() }
                    runs += 1
                }
            }
            counts.change { [right] in $0.right += right }
            end.wait()
        }
    }
}

/// All wait until all are there.
private final class Barrier: @unchecked Sendable {
    private let condition = NSCondition()
    private let count: Int
    private var (waiting, generation) = (0, 0)

    init(_ count: Int) { self.count = count }

    func wait() {
        condition.withLock {
            waiting += 1
            if waiting == count {
                (waiting, generation) = (0, generation + 1)
                return condition.broadcast()
            }
            let mine = generation
            while generation == mine { condition.wait() }
        }
    }
}

/// A value behind a lock.
final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var inner: Value

    init(_ value: Value) { inner = value }

    var value: Value { lock.withLock { inner } }
    func change(_ body: (inout Value) -> Void) { lock.withLock { body(&inner) } }
}

/// Events that came and were not looked at.
private final class Seen: Sendable {
    private let events = Locked<[FleetfootEvent]>([])

    func add(_ event: FleetfootEvent) { events.change { $0.append(event) } }

    /// The next one; `nil` where none came in time.
    func next() async -> FleetfootEvent? {
        for _ in 0..<5000 {
            var first: FleetfootEvent?
            events.change { if !$0.isEmpty { first = $0.removeFirst() } }
            if let first { return first }
            try? await Task.sleep(nanoseconds: 2_000_000)
        }
        return nil
    }
}

extension FleetfootEvent.Kind {
    /// As the header has it, in small letters.
    fileprivate var word: String {
        switch self {
        case .refreshed: "refreshed"
        case .offered: "offered"
        case .fetching: "fetching"
        case .fetched: "fetched"
        case .validated: "validated"
        case .staged: "staged"
        case .trial: "trial"
        case .active: "active"
        case .rejected: "rejected"
        case .deferred: "deferred"
        case .withdrawn: "withdrawn"
        case .rolledBack: "rolled_back"
        case .fellBack: "fell_back"
        case .skipped: "skipped"
        case .stateLost: "state_lost"
        case .failed: "failed"
        case .dropped: "dropped"
        case .assigned: "assigned"
        case .other(let kind): "other \(kind)"
        }
    }
}

import Foundation
import XCTest

@testable import Fleetfoot

/// Models, tensors, images, errors, actors.
final class BindingTests: XCTestCase {
    func testModels() async throws {
        let keys = try World.keys
        let (path, bundle) = (World.folder.appendingPathComponent("1.ff"), World.file("1.ff"))
        let file = try FileHandle(forReadingFrom: path)
        defer { try? file.close() }
        let models = [
            try await Model.open(path, keys: keys), try await Model.open(bundle, keys: keys),
            try Model.openBlocking(fileDescriptor: file.fileDescriptor, offset: 0, length: UInt64(bundle.count), keys: keys),
        ]
        for model in models {
            XCTAssertEqual(model.info, models[0].info)
            XCTAssertEqual(model.info.version, "1.0.0")
            XCTAssertEqual(model.info.number, 1)
            XCTAssertEqual(model.info.sha256.count, 32)
            XCTAssertEqual(model.info.inputs.map(\.dtype), [.int8])
            XCTAssertEqual(model.info.inputs[0].byteCount, model.info.inputs[0].shape.reduce(1, *))
            for options in [SessionOptions(), SessionOptions(threads: 3, isTimed: true)] {
                let session = try model.makeSession(options)
                for _ in 0..<3 { try answers(session, "output-1.bin", "\(options)") }
                let metrics = try session.metrics
                XCTAssertEqual(metrics.runs, 3)
                XCTAssertEqual(metrics.timedRuns, options.isTimed ? 3 : 0)
                XCTAssertLessThanOrEqual(metrics.minNanoseconds, metrics.maxNanoseconds)
            }
        }
    }

    func testWhatIsNotToBeBelieved() throws {
        let bundle = World.file("1.ff")
        func fault(_ bundle: Data, _ keys: TrustedKeys) -> FleetfootError? { thrown { _ = try Model.openBlocking(bundle, keys: keys) } }
        guard case .verificationFailed(205, _)? = fault(bundle, try TrustedKeys([Data(repeating: 7, count: 32)])) else { return XCTFail() }
        var damaged = bundle
        damaged[damaged.count - 100] ^= 1
        guard case .verificationFailed(206, _)? = fault(damaged, try World.keys) else { return XCTFail() }
        XCTAssertNotNil(fault(Data(), try World.keys))
        let missing = thrown { _ = try Model.openBlocking(URL(fileURLWithPath: "/there/is/none"), keys: World.keys) }
        guard case .file(2, let message)? = missing, message.contains("/there/is/none") else { return XCTFail("\(String(describing: missing))") }
        XCTAssertEqual(missing?.status, .file)
        XCTAssertEqual(missing?.errorDescription, "\(message) (420)")
        XCTAssertEqual(thrown { _ = try TrustedKeys([Data(count: 31)]) }?.code, 609)
        let broken = thrown { _ = try Model.openBlocking(URL(fileURLWithPath: "/a\0b"), keys: World.keys) }
        // Foundation may have cut the path at its zero before we see it: then there is no such file.
        XCTAssertTrue([607, 420].contains(broken?.code), String(describing: broken))
    }

    func testNothingIsCopied() throws {
        let session = try World.model().makeSession()
        let input = World.file("input.bin")
        let place = try session.withInput { room in
            room.copyBytes(from: input)
            return room.baseAddress
        }
        try session.run()
        XCTAssertEqual(try session.withInput { $0.baseAddress }, place)
        try session.withOutput { XCTAssertEqual(Data($0), World.file("output-1.bin")) }
        session.close()
        session.close()
        try session.withOutput { XCTAssertEqual(Data($0), World.file("output-1.bin")) }
        XCTAssertEqual(thrown { try session.run() }, .closed)
        XCTAssertEqual(thrown { _ = try session.metrics }, .closed)
    }

    func testRealNumbers() throws {
        let session = try World.model().makeSession()
        let steps = World.elements("input.bin", as: Int8.self)
        let info = session.model.info.inputs[0]
        let reals = steps.map { info.real($0) }
        try session.setInput(reals)
        try session.withInput { XCTAssertEqual(Data($0), World.file("input.bin")) }
        try session.run()
        let (scores, output): ([Float], [Int8]) = (try session.output(), try session.output())
        XCTAssertEqual(scores, output.map { session.model.info.outputs[0].real($0) })
        try session.setInput([Float](repeating: .infinity, count: steps.count))
        try session.withInput { XCTAssertEqual(Set($0), [127]) }
        try session.setInput([Float](repeating: .nan, count: steps.count))
        try session.withInput { XCTAssertEqual(Set($0), [UInt8(bitPattern: Int8(info.zeroPoint))]) }
        XCTAssertEqual(thrown { try session.setInput([Int32](repeating: 0, count: steps.count)) }?.code, 609)
        XCTAssertEqual(thrown { _ = try session.output(as: UInt8.self) }?.code, 609)
    }

    func testBuffersAndBatches() throws {
        let session = try World.model().makeSession(SessionOptions(threads: 2))
        let (input, expected) = (World.file("input.bin"), World.file("output-1.bin"))
        let (given, made) = (TensorBuffer(byteCount: input.count), TensorBuffer(byteCount: expected.count))
        given.bytes.copyBytes(from: input)
        try session.bindInput(to: given)
        try session.bindOutput(to: made)
        for _ in 0..<3 {
            try session.run()
            XCTAssertEqual(Data(made.bytes), expected)
            XCTAssertEqual(Data(given.bytes), input)
        }
        try session.bindInput(to: nil)
        try session.bindOutput(to: nil)
        let batch = try session.runBatch(count: 3, inputs: [Array(input + input + input)])
        XCTAssertEqual(batch, [Array(expected + expected + expected)])
        XCTAssertEqual(thrown { _ = try session.runBatch(count: 3, inputs: [Array(input)]) }?.code, 609)
        XCTAssertEqual(thrown { _ = try session.runBatch(count: 1, inputs: []) }?.code, 307)
        XCTAssertEqual(try session.runBatch(count: 0, inputs: [[]]), [[]])
    }

    func testImages() throws {
        let session = try World.model().makeSession()
        let input = World.elements("input.bin", as: Int8.self)
        let (height, width) = (session.model.info.inputs[0].shape[1], session.model.info.inputs[0].shape[2])
        let grey = input.map { UInt8(bitPattern: $0) ^ 0x80 }
        let pixels: [UInt8] = grey.flatMap { [$0, $0, $0, 255] }
        for format in [PixelFormat.rgba8888, .bgra8888] {
            try session.setInput([Int8](repeating: 0, count: input.count))
            try session.setImage(format, pixels: pixels, width: width, height: height)
            try session.withInput { XCTAssertEqual(Data($0), World.file("input.bin")) }
        }
        // Grey has no chroma.
        let chroma = [UInt8](repeating: 128, count: width * height / 2)
        try grey.withUnsafeBytes { luma in
            try chroma.withUnsafeBytes { chroma in
                let planes = [ImagePlane(luma, bytesPerRow: width), ImagePlane(chroma, bytesPerRow: width)]
                for format in [PixelFormat.nv12, .nv21] {
                    try session.setInput([Int8](repeating: 0, count: input.count))
                    try session.setImage(format, planes: planes, width: width, height: height)
                    try session.withInput { XCTAssertEqual(Data($0), World.file("input.bin")) }
                }
                XCTAssertEqual(thrown { try session.setImage(.nv12, planes: [planes[0]], width: width, height: height) }?.code, 613)
                XCTAssertEqual(thrown { try session.setImage(.nv12, planes: planes, width: width, height: height + 2) }?.code, 613)
            }
        }
        let turned = ImageOptions(rotationDegrees: 90, filter: .nearest, normalization: .init(mean: .zero, std: SIMD3(repeating: 255)))
        try session.setImage(.rgba8888, pixels: pixels, width: width, height: height, options: turned)
        XCTAssertEqual(thrown { try session.setImage(.rgba8888, pixels: pixels, width: width, height: height, options: ImageOptions(rotationDegrees: 45)) }?.code, 613)
        XCTAssertEqual(thrown { try session.setImage(.rgba8888, pixels: pixels, width: width + 1, height: height) }?.code, 613)
        XCTAssertEqual(thrown { try session.setImage(.rgba8888, pixels: pixels, width: .max, height: height) }?.code, 613)
        XCTAssertEqual(thrown { try session.setImage(.rgba8888, pixels: pixels, width: width, height: -1) }?.code, 613)
        XCTAssertEqual(thrown { try session.setImage(.rgba8888, pixels: pixels, width: width, height: height, input: 1) }?.code, 307)
    }

    func testManyTasksShareAnActor() async throws {
        let actor = try InferenceActor(World.model())
        let (input, expected) = (World.elements("input.bin", as: Int8.self), World.elements("output-1.bin", as: Int8.self))
        try await withThrowingTaskGroup(of: [Int8].self) { group in
            for _ in 0..<64 { group.addTask { try await actor.run(input) } }
            for try await output in group { XCTAssertEqual(output, expected) }
        }
        let best = try await actor.run { session in
            try session.setInput(input)
        } read: { session in
            try session.output(as: Float.self).max()
        }
        XCTAssertNotNil(best)
        let runs = try await actor.metrics.runs
        XCTAssertEqual(runs, 65)
    }

    /// Cancelled before it begins, in the middle, or after its end: it always comes back, and the actor is good afterwards.
    func testCancelledTasks() async throws {
        let actor = try InferenceActor(World.model())
        let (input, expected) = (World.elements("input.bin", as: Int8.self), World.elements("output-1.bin", as: Int8.self))
        for round in 0..<50 {
            let task = Task { while true { let _: [Int8] = try await actor.run(input) } }
            if round % 2 == 0 { try await Task.sleep(nanoseconds: 500_000) }
            task.cancel()
            guard case .failure(let error) = await task.result else { return XCTFail() }
            XCTAssert(error is CancellationError, "\(error)")
            let output: [Int8] = try await actor.run(input)
            XCTAssertEqual(output, expected)
        }
    }

    /// Every number that has a name in Swift has the same name in C. That none is missing is looked at by `tests/tests/swift.rs`.
    func testNamesOfStatuses() {
        for status in FleetfootError.Status.allCases where status != .unknown {
            let name = "\(status)".map { $0.isUppercase ? "_\($0)" : $0.uppercased() }.joined()
            XCTAssert(["FF_ERR_\(name)"].contains(status.name), "\(status): \(status.name)")
        }
        XCTAssertEqual(FleetfootError.Status.unknown.name, "FF_ERR_UNKNOWN")
        XCTAssertFalse(libraryVersion.isEmpty)
    }
}

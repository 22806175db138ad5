import Foundation
import XCTest

@testable import Fleetfoot

/// What `tests/src/scenario.rs` makes; `cargo xtask test swift` makes it and says where it is.
enum World {
    static let folder = URL(fileURLWithPath: environment("FLEETFOOT_WORLD"), isDirectory: true)
    static let scenario = environment("FLEETFOOT_SCENARIO")
    /// How many handles are enough where everything is slow.
    static let few = ProcessInfo.processInfo.environment["FLEETFOOT_FEW"].flatMap { Int($0) }

    static func file(_ name: String) -> Data {
        guard let data = try? Data(contentsOf: folder.appendingPathComponent(name)) else { fatalError("\(name) is not in \(folder.path)") }
        return data
    }

    static var keys: TrustedKeys {
        get throws { try TrustedKeys([file("key.bin")]) }
    }

    static func elements<T: TensorScalar>(_ name: String, as _: T.Type = T.self) -> [T] {
        file(name).withUnsafeBytes { bytes in Array(bytes.bindMemory(to: T.self)) }
    }

    static func model() throws -> Model { try Model.openBlocking(folder.appendingPathComponent("1.ff"), keys: keys) }

    private static func environment(_ name: String) -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else { fatalError("\(name) is not set: run cargo xtask test swift") }
        return value
    }
}

/// A folder of one test, which is gone after it.
func scratch(_ test: XCTestCase) throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("fleetfoot-\(UUID().uuidString)", isDirectory: true)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    test.addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
    return folder
}

/// What `body` throws.
func thrown(file: StaticString = #filePath, line: UInt = #line, _ body: () throws -> Void) -> FleetfootError? {
    do { try body() } catch {
        if let error = error as? FleetfootError { return error }
        XCTFail("\(error)", file: file, line: line)
        return nil
    }
    XCTFail("nothing was thrown", file: file, line: line)
    return nil
}

/// What `body` throws.
func thrown(file: StaticString = #filePath, line: UInt = #line, _ body: () async throws -> Void) async -> (any Error)? {
    do { try await body() } catch { return error }
    XCTFail("nothing was thrown", file: file, line: line)
    return nil
}

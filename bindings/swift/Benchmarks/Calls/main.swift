// What a call from Swift costs over the same call from C: `calls BUNDLE KEY`, of a model that does nearly nothing (`calls.ff` of the world of tests).
//
// Rounds alternate, so that noise hits all; the least of each is compared, and the median of the differences shown beside it.

import CFleetfoot
import Fleetfoot
import Foundation

let calls = 1000
let rounds = 500

/// Nanoseconds a call.
@MainActor
func time(_ body: () throws -> Void) rethrows -> Double {
    let start = DispatchTime.now().uptimeNanoseconds
    for _ in 0..<calls { try body() }
    return Double(DispatchTime.now().uptimeNanoseconds - start) / Double(calls)
}

let arguments = CommandLine.arguments
guard arguments.count == 3 else { fatalError("usage: calls BUNDLE KEY") }
let key = try Data(contentsOf: URL(fileURLWithPath: arguments[2]))
let model = try Model.openBlocking(URL(fileURLWithPath: arguments[1]), keys: TrustedKeys([key]))
let session = try model.makeSession()
let token = try CancelToken()
let actor = try InferenceActor(model)

var (cModel, cSession): (OpaquePointer?, OpaquePointer?)
let made = key.withUnsafeBytes { key in
    ff_model_from_file(arguments[1], key.bindMemory(to: UInt8.self).baseAddress, 1, 1, &cModel, nil)
}
precondition(made == 0 && ff_session_create(cModel, nil, &cSession, nil) == 0)

let c: () -> Void = { _ = ff_session_run(cSession, nil, nil) }
let swift: () throws -> Void = { try session.run() }
let cancellable: () throws -> Void = { try session.run(cancel: token) }
let output: () throws -> Void = { try session.withOutput { precondition($0.count > 0) } }

var times: [String: [Double]] = [:]
for _ in 0..<rounds {
    times["C: ff_session_run", default: []].append(time(c))
    times["Swift: run()", default: []].append(try time(swift))
    times["Swift: run(cancel:)", default: []].append(try time(cancellable))
    times["Swift: withOutput", default: []].append(try time(output))
}
let base: [Double] = times["C: ff_session_run"]!
let cLeast: Double = base.min()!
for name in ["C: ff_session_run", "Swift: run()", "Swift: run(cancel:)", "Swift: withOutput"] {
    let all: [Double] = times[name]!
    let least: Double = all.min()!
    print(String(format: "%@: %.1f ns", name, least))
    if name.hasPrefix("Swift: run") {
        let differences: [Double] = zip(all, base).map { (swift: Double, c: Double) -> Double in swift - c }.sorted()
        print(String(format: "    over C: %.1f ns (median of pairs %.1f)", least - cLeast, differences[rounds / 2]))
    }
}

// A hop to an actor, its arrays and its cancellation included.
let input = [Int8](repeating: 1, count: model.info.inputs[0].count)
var least = Double.infinity
for _ in 0..<30 {
    let start = DispatchTime.now().uptimeNanoseconds
    for _ in 0..<500 { let _: [Int8] = try await actor.run(input) }
    least = min(least, Double(DispatchTime.now().uptimeNanoseconds - start) / 500)
}
print("Swift: InferenceActor.run, arrays in and out: \(String(format: "%.0f", least)) ns")
ff_session_release(cSession)
ff_model_release(cModel)

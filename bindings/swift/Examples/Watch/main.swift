// Classifies a photo, keeps the model that does it up to date, and goes on when an update is no good:
//
//     watch STORE URL ROOT.json MODEL PHOTO.ppm [--polls N] [--every SECONDS]
//
// STORE is a folder of this program; URL leads to the repository; ROOT.json is the first root metadata; PHOTO.ppm is a binary PPM (P6) of 8 bits a channel.

import Fleetfoot
import Foundation

struct Usage: Error, CustomStringConvertible {
    let description: String
}

/// A photo as rows of RGBA pixels.
struct Photo {
    let width, height: Int
    let pixels: [UInt8]

    init(contentsOf file: URL) throws {
        let data = [UInt8](try Data(contentsOf: file))
        let spaces: Set<UInt8> = [9, 10, 13, 32]
        var words: [String] = []
        var at = 0
        while words.count < 4, at < data.count {
            let word = data[at...].prefix { !spaces.contains($0) }
            if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
            at += word.count + 1
        }
        let sizes = words.dropFirst().compactMap { Int($0) }
        guard words.first == "P6", sizes.count == 3, sizes[2] == 255, sizes.allSatisfy({ (1...32768).contains($0) }),
            data.count - at == 3 * sizes[0] * sizes[1]
        else { throw Usage(description: "\(file.path) is no PPM (P6) of 8 bits a channel") }
        (width, height) = (sizes[0], sizes[1])
        var pixels = [UInt8](repeating: 255, count: 4 * width * height)
        for (pixel, from) in stride(from: at, to: data.count, by: 3).enumerated() {
            for channel in 0..<3 { pixels[4 * pixel + channel] = data[from + channel] }
        }
        self.pixels = pixels
    }
}

var arguments = Array(CommandLine.arguments.dropFirst())

@MainActor
func option(_ name: String) -> Double? {
    guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count, let value = Double(arguments[at + 1]) else { return nil }
    arguments.removeSubrange(at...at + 1)
    return value
}

let polls = Int(option("--polls") ?? 1)
let pause = option("--every") ?? 15 * 60
guard arguments.count == 5, let url = URL(string: arguments[1]) else {
    throw Usage(description: "usage: watch STORE URL ROOT.json MODEL PHOTO.ppm [--polls N] [--every SECONDS]")
}
let name = arguments[3]
let photo = try Photo(contentsOf: URL(fileURLWithPath: arguments[4]))

var watched = ModelConfiguration(name, root: try Data(contentsOf: URL(fileURLWithPath: arguments[2])), from: URLSessionTransport(url))
watched.minInferences = 10
watched.healthWindowSeconds = 0
let runtime = try await Runtime(store: URL(fileURLWithPath: arguments[0]), models: watched)

let events = runtime.events
let telling = Task {
    for await event in events {
        if case .rejected(let code) = event.kind {
            print("event \(event.seq): \(event.version ?? "") is out: \(code), \(event.text)")
        } else {
            print("event \(event.seq): \(event.text)")
        }
    }
}

for poll in 0..<max(polls, 1) {
    if poll > 0 { try await Task.sleep(nanoseconds: UInt64(pause * 1e9)) }
    // Whatever comes of it, the version that served before still serves, or a better one does.
    do {
        let result = try await runtime.updates.poll(name)
        if case .rejected(let code) = result.kind {
            print("poll: \(result.version ?? "") is out: \(code), \(result.text)")
        } else {
            print("poll: \(result.text)")
        }
    } catch let error as FleetfootError {
        print("poll failed: \(error.localizedDescription)")
    }
    let model = try await runtime.activeModel(name)
    let classifier = try InferenceActor(model)
    var scores: [Float] = []
    for _ in 0..<10 {
        do {
            scores = try await classifier.run { session in
                try session.setImage(.rgba8888, pixels: photo.pixels, width: photo.width, height: photo.height)
            } read: { session in
                try session.output()
            }
            try runtime.outcome(model, isGood: true)
        } catch {
            try runtime.outcome(model, isGood: false)
            throw error
        }
    }
    if let best = scores.indices.max(by: { scores[$0] < scores[$1] }) {
        print("answer of \(model.info.version): class \(best), \(scores[best])")
    }
}
runtime.close()
await telling.value

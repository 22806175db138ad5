// swift-tools-version: 6.0
import Foundation
import PackageDescription

// `cargo xtask dist` lays CFleetfoot.xcframework beside this file, for Apple's platforms. Elsewhere the library is the one that pkg-config finds, and the
// module is made of the header itself.
let framework = "CFleetfoot.xcframework"
let isLaidOut = FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(framework)")
let library: Target =
    isLaidOut ? .binaryTarget(name: "CFleetfoot", path: framework) : .systemLibrary(name: "CFleetfoot", pkgConfig: "fleetfoot")

let package = Package(
    name: "Fleetfoot",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Fleetfoot", targets: ["Fleetfoot"])],
    targets: [
        library,
        .target(name: "Fleetfoot", dependencies: ["CFleetfoot"]),
        .executableTarget(name: "watch", dependencies: ["Fleetfoot"], path: "Examples/Watch"),
        .executableTarget(name: "calls", dependencies: ["Fleetfoot", "CFleetfoot"], path: "Benchmarks/Calls"),
        .testTarget(name: "FleetfootTests", dependencies: ["Fleetfoot"]),
    ],
    swiftLanguageModes: [.v6]
)

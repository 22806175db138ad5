// swift-tools-version: 6.0
import Foundation
import PackageDescription

// For iOS CFleetfoot.xcframework lies beside this file: `cargo xtask xcframework bindings/swift` lays it there, and `cargo xtask dist DIR` in DIR/apple, to be
// copied from. It has slices for devices and for the simulator on Apple silicon (arm64 both), and none for macOS. Without it the library is the one that
// pkg-config finds, and the module is made of the header itself.
let framework = "CFleetfoot.xcframework"
let isLaidOut = FileManager.default.fileExists(atPath: "\(Context.packageDirectory)/\(framework)")
let library: Target =
    isLaidOut ? .binaryTarget(name: "CFleetfoot", path: framework) : .systemLibrary(name: "CFleetfoot", pkgConfig: "fleetfoot")

let package = Package(
    name: "Fleetfoot",
    platforms: isLaidOut ? [.iOS(.v15)] : [.iOS(.v15), .macOS(.v12)],
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

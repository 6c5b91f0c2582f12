// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "swift-example",
    dependencies: [
        // In a project of your own: .package(url: "…", from: "0.1.0").
        .package(name: "diffaccel", path: "../..")
    ],
    targets: [
        .executableTarget(
            name: "sample-with-plan",
            dependencies: [.product(name: "DiffAccel", package: "diffaccel")])
    ])

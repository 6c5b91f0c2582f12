// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "swift-example",
    dependencies: [
        // In a project of your own: .package(url: "…", branch: "main").
        .package(name: "diffaccel", path: "../..")
    ],
    targets: [
        .executableTarget(
            name: "sample-with-plan",
            dependencies: [.product(name: "DiffAccel", package: "diffaccel")])
    ])

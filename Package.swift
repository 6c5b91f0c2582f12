// swift-tools-version: 6.2
import PackageDescription

/// Faults planted for the tests of the tests (Tests/Canary); in no library that is meant for use.
let canary: [SwiftSetting] = Context.environment["DIFFACCEL_CANARY"] == "1" ? [.define("CANARY")] : []

/// The library that ships has no run-time checks for overlapping accesses to one variable, since a failed check ends the host's process.
/// They stay in debug builds, which the Swift tests run. Objects with state belong to one thread at a time: a session or a trainer
/// refuses a second caller, and what several threads share is behind a `Mutex`.
let release: [SwiftSetting] = [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

/// Every Swift target: language mode 6, unsafe uses spelled out, no warning tolerated, imports internal unless said.
let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("ExistentialAny"),
    ] + canary + release
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")]

/// Kernels stay fast in debug builds too; only the Swift around them is checked there.
let kernels: [CSetting] = [
    .unsafeFlags(["-O3", "-std=c17", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"])
]
/// What the C library refuses to small objects, the library's reserve gives them (Sources/CBoundary/reserve.c), and of the environment
/// the code linked in sees the library's own variables (Sources/CBoundary/environment.c).
let wrapped = [
    "malloc", "calloc", "realloc", "free", "malloc_usable_size", "getenv", "secure_getenv", "environ", "__environ",
    "stdin",
].flatMap { ["-Xlinker", "--wrap=\($0)"] }
let link = Context.packageDirectory + "/Sources/DiffAccelLink"

let package = Package(
    name: "diffaccel",
    products: [
        .library(name: "diffaccel", type: .dynamic, targets: ["DiffAccelC", "DiffAccelLink"]),
        .library(name: "DiffAccel", targets: ["DiffAccel"]),
        .executable(name: "diffaccel-cli", targets: ["diffaccel-cli"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0")
    ],
    targets: [
        // System libraries, found through pkg-config.
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        // Not through pkg-config, which would name the folder of the shared library before Sources/DiffAccelLink/static.
        .systemLibrary(name: "CJansson", providers: [.apt(["libjansson-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(name: "CSndFile", pkgConfig: "sndfile", providers: [.apt(["libsndfile1-dev"])]),
        .systemLibrary(name: "CDiffAccel"),

        // The library, bottom up: each target may import what stands above it in this list and is named here.
        .target(name: "CKernels", exclude: ["generic"], cSettings: kernels),
        .target(name: "CRanks", cSettings: kernels),
        .target(name: "DiffTensor", dependencies: ["CKernels", "CRanks"], swiftSettings: strict),
        .target(name: "DiffCheckpoint", dependencies: ["DiffTensor", "CJansson"], swiftSettings: strict),
        .target(name: "CTokenizerData", exclude: ["clip_merges.inc"], cSettings: kernels),
        .target(
            name: "DiffModels", dependencies: ["DiffTensor", "DiffCheckpoint", "CTokenizerData"], swiftSettings: strict),
        .target(name: "DiffSampling", dependencies: ["DiffTensor"], swiftSettings: strict),
        .target(
            name: "DiffAcceleration", dependencies: ["DiffTensor", "DiffCheckpoint", "DiffSampling"],
            swiftSettings: strict),
        .target(
            name: "DiffTraining",
            dependencies: ["DiffTensor", "DiffCheckpoint", "DiffModels", "DiffSampling", "DiffAcceleration"],
            swiftSettings: strict),
        .target(
            name: "DiffAccel",
            dependencies: [
                "DiffTensor", "DiffCheckpoint", "DiffModels", "DiffSampling", "DiffAcceleration", "DiffTraining",
            ],
            swiftSettings: strict),
        .target(name: "CBoundary", cSettings: kernels),
        .target(
            name: "DiffAccelC",
            dependencies: ["DiffAccel", "DiffCheckpoint", "DiffModels", "DiffTensor", "CBoundary", "CDiffAccel"],
            swiftSettings: strict),

        // Link settings of libdiffaccel.so, kept apart so that test bundles are linked without them.
        .target(
            name: "DiffAccelLink",
            exclude: ["exports.map", "static"],
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-stdlib", "-L\(link)/static", "-Xlinker", "--version-script=\(link)/exports.map",
                        "-Xlinker", "-Bsymbolic", "-Xlinker", "-z", "-Xlinker", "nodelete", "-use-ld=lld",
                        "-Xlinker", "--gc-sections",
                        // Functions of the same code become one: two in a hundred. Nothing here compares their addresses.
                        "-Xlinker", "--icf=all",
                    ] + wrapped, .when(platforms: [.linux]))
            ]),

        .target(name: "CCommandLine", cSettings: kernels),
        .executableTarget(
            name: "diffaccel-cli",
            dependencies: [
                "DiffAccel", "DiffCheckpoint", "DiffModels", "CPNG", "CSndFile", "CCommandLine",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // What Python's tests compare the surfaces' results with.
        .executableTarget(
            name: "surface-defaults", dependencies: ["DiffAccel"], path: "Tests/Surfaces", exclude: ["defaults.c"],
            swiftSettings: tests),

        // What tests of ranks start by mpirun.
        .executableTarget(
            name: "rank-exercise", dependencies: ["DiffTensor"], path: "Tests/Ranks",
            exclude: ["run.sh", "sample.sh", "mpi.sh", "session.c", "session.py", "README.md"],
            swiftSettings: tests),

        // Tests, one target a layer, and the golden runner over all of them.
        .target(name: "TestSupport", dependencies: ["DiffAccel"], path: "Tests/TestSupport", swiftSettings: tests),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels", "COpenBLAS"], swiftSettings: tests),
        .testTarget(name: "DiffTensorTests", dependencies: ["DiffTensor", "TestSupport"], swiftSettings: tests),
        .testTarget(name: "DiffCheckpointTests", dependencies: ["DiffCheckpoint"], swiftSettings: tests),
        .testTarget(
            name: "DiffModelsTests", dependencies: ["DiffModels", "TestSupport"],
            exclude: ["OriginalLayouts", "LoRANames"],
            swiftSettings: tests),
        .testTarget(name: "DiffSamplingTests", dependencies: ["DiffSampling", "TestSupport"], swiftSettings: tests),
        .testTarget(
            name: "DiffAccelerationTests",
            dependencies: ["DiffAcceleration", "DiffModels", "DiffSampling", "TestSupport"],
            swiftSettings: tests),
        .testTarget(
            name: "DiffTrainingTests",
            dependencies: [
                "DiffTraining", "DiffModels", "DiffSampling", "DiffAcceleration", "DiffCheckpoint", "TestSupport",
            ],
            swiftSettings: tests),
        .testTarget(name: "DiffAccelTests", dependencies: ["DiffAccel", "TestSupport"], swiftSettings: tests),
        .testTarget(
            name: "GoldenTests",
            dependencies: [
                "DiffAccel", "DiffModels", "DiffSampling", "DiffAcceleration", "DiffTraining", "DiffCheckpoint",
                "TestSupport",
            ], swiftSettings: tests),
    ])

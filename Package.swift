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
/// C around the kernels, which works on texts, paths and handles, is checked on its way too.
let guarded: [CSetting] =
    kernels + [
        .unsafeFlags(["-fstack-protector-strong", "-fstack-clash-protection"]),
        .unsafeFlags(["-D_FORTIFY_SOURCE=2"], .when(configuration: .release)),
    ]
/// What the C library refuses to small objects, the library's reserve gives them (Sources/CBoundary/reserve.c), and of the environment
/// the code linked in sees the library's own variables (Sources/CBoundary/environment.c).
let wrapped = [
    "malloc", "calloc", "realloc", "free", "malloc_usable_size", "getenv", "secure_getenv", "environ", "__environ",
    "stdin",
]
/// What of the C library is newer than glibc 2.27 is asked for in its older form (Sources/COlderLibc/older.c).
let older = [
    "exp", "exp2", "log", "log2", "pow", "hypotf", "pthread_create", "pthread_join", "pthread_once", "pthread_kill",
    "pthread_attr_setstacksize", "pthread_sigmask", "pthread_key_create", "__pthread_key_create", "pthread_setspecific",
    "pthread_setname_np", "pthread_getaffinity_np", "pthread_mutexattr_init", "pthread_mutexattr_settype",
    "pthread_mutexattr_destroy", "sem_open", "sem_init", "sem_destroy", "sem_post", "sem_wait", "sem_timedwait",
    "dlopen",
    "dlsym", "dladdr", "dlerror", "stat", "lstat", "fstat", "fstatat", "__libc_single_threaded", "_dl_find_object",
]
/// The options of the linker for these names, and the libraries that are a part of the C library before glibc 2.34.
func wrapping(_ names: [String]) -> [String] {
    names.flatMap { ["-Xlinker", "--wrap=\($0)"] } + [
        "-Xlinker", "--push-state", "-Xlinker", "--no-as-needed", "-Xlinker", "-l:libpthread.so.0", "-Xlinker",
        "-l:libdl.so.2", "-Xlinker", "--pop-state",
    ]
}
/// For the library and the command line: the Swift runtime and C++ from archives, what is not used left out, functions of the same
/// code made one (two in a hundred; nothing here compares their addresses), tables of the loader read-only once they are filled.
let standalone = [
    "-static-stdlib", "-use-ld=lld", "-Xlinker", "--gc-sections", "-Xlinker", "--icf=all", "-Xlinker", "-z", "-Xlinker",
    "relro", "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "--build-id=sha1",
]
let link = Context.packageDirectory + "/Sources/DiffAccelLink"
let commandLine = Context.packageDirectory + "/Sources/diffaccel-cli"

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
        .systemLibrary(name: "CPNG", providers: [.apt(["libpng-dev"])]),
        .systemLibrary(name: "CDiffAccel"),

        // The library, bottom up: each target may import what stands above it in this list and is named here.
        .target(name: "CKernels", exclude: ["generic"], cSettings: kernels),
        .target(name: "CRanks", cSettings: guarded),
        .target(name: "DiffTensor", dependencies: ["CKernels", "CRanks"], swiftSettings: strict),
        .target(name: "DiffCheckpoint", dependencies: ["DiffTensor", "CJansson"], swiftSettings: strict),
        .target(name: "CTokenizerData", exclude: ["clip_merges.inc"], cSettings: guarded),
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
        .target(name: "CBoundary", cSettings: guarded),
        .target(name: "COlderLibc", cSettings: guarded + [.unsafeFlags(["-ffunction-sections"])]),
        .target(
            name: "DiffAccelC",
            dependencies: [
                "DiffAccel", "DiffCheckpoint", "DiffModels", "DiffTensor", "CBoundary", "COlderLibc", "CDiffAccel",
            ],
            swiftSettings: strict),

        // Link settings of libdiffaccel.so, kept apart so that test bundles are linked without them.
        .target(
            name: "DiffAccelLink",
            exclude: ["exports.map", "static"],
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-L\(link)/static", "-Xlinker", "--version-script=\(link)/exports.map", "-Xlinker",
                        "-soname=libdiffaccel.so.0", "-Xlinker", "-Bsymbolic", "-Xlinker", "-z", "-Xlinker", "nodelete",
                    ] + standalone + wrapping(wrapped + older), .when(platforms: [.linux]))
            ]),

        // With the header of libsndfile alone: the library itself is loaded when a sound is written.
        .target(name: "CCommandLine", cSettings: guarded),
        .executableTarget(
            name: "diffaccel-cli",
            dependencies: [
                "DiffAccel", "DiffCheckpoint", "DiffModels", "CPNG", "CCommandLine",
                "COlderLibc",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["static"], swiftSettings: strict,
            linkerSettings: [
                .unsafeFlags(
                    ["-L\(link)/static", "-L\(commandLine)/static", "-l_FoundationCollections", "-l_FoundationCShims"]
                        + standalone + wrapping(older + ["__libc_start_main"]),
                    .when(platforms: [.linux]))
            ]),

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
        // References by definition are in it, which would take minutes without the optimiser.
        .target(
            name: "TestSupport", dependencies: ["DiffAccel"], path: "Tests/TestSupport",
            swiftSettings: tests + [.unsafeFlags(["-O"])]),
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

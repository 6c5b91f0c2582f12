import CKernels
import Foundation
import Testing

/// A tree of files in the place of /proc and of the mounted control groups.
private struct Tree: ~Copyable {
    let root = NSTemporaryDirectory() + "diffaccel-\(UUID().uuidString)"

    init(_ files: [String: String]) throws {
        for (path, text) in files {
            let file = "\(root)/\(path)"
            try FileManager.default.createDirectory(
                atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: file, atomically: false, encoding: .utf8)
        }
    }
    deinit { try? FileManager.default.removeItem(atPath: root) }

    var quota: Int64 { ck_processor_quota(root) }
}

private func second(_ group: String, top: String = "/", at mount: String = "/sys/fs/cgroup") -> [String: String] {
    [
        "proc/self/cgroup": "0::\(group)\n",
        "proc/self/mountinfo":
            "22 1 0:20 / /proc rw - proc proc rw\n"
            + "30 1 0:26 \(top) \(mount) rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n",
    ]
}

private func first(_ group: String, top: String = "/", controllers: String = "cpu,cpuacct") -> [String: String] {
    [
        "proc/self/cgroup": "12:memory:/elsewhere\n4:\(controllers):\(group)\n0::/unified\n",
        "proc/self/mountinfo":
            "31 1 0:27 /elsewhere /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            + "32 1 0:28 \(top) /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,\(controllers)\n",
    ]
}

extension Kernels {
    /// Quotas of control groups, from trees of files; 0 is "no limit".
    @Suite struct Processors {
        @Test(arguments: [
            ("max 100000", 0), ("50000 100000", 1), ("100000 100000", 1), ("100001 100000", 2), ("150000 100000", 2),
            ("3200000 100000", 32), ("1000 1000000", 1), ("25000 10000", 3), ("9223372036854775807 1", Int64.max),
            ("", 0), ("max", 0),
            ("100000", 0), ("0 100000", 0), ("-5 100000", 0), ("100000 0", 0), ("100000 -1", 0), ("words and words", 0),
            ("99999999999999999999999 100000", 92_233_720_368_548),
        ]) func aFractionCountsAsOne(text: String, expected: Int64) throws {
            let tree = try Tree(second("/a").merging(["sys/fs/cgroup/a/cpu.max": text + "\n"]) { $1 })
            #expect(tree.quota == (expected == .max ? 0 : expected))
        }

        @Test func theLeastAlongThePathDecides() throws {
            let groups = [
                "sys/fs/cgroup/a/cpu.max": "max 100000\n", "sys/fs/cgroup/a/b/cpu.max": "250000 100000\n",
                "sys/fs/cgroup/a/b/c/cpu.max": "700000 100000\n", "sys/fs/cgroup/a/b/d/cpu.max": "100000 100000\n",
            ]
            for (path, expected) in [
                ("/a", 0), ("/a/b", 3), ("/a/b/c", 3), ("/a/b/c/none", 3), ("/a/b/d", 1), ("/", 0), ("/x", 0),
            ] as [(String, Int64)] {
                let tree = try Tree(second(path).merging(groups) { $1 })
                #expect(tree.quota == expected, "\(path)")
            }
        }

        @Test func theFirstVersion() throws {
            let groups = [
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "450000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/half/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/half/cpu.cfs_period_us": "100000\n",
            ]
            for (path, expected) in [("/a", 5), ("/a/b", 5), ("/half", 1), ("/", 0)] as [(String, Int64)] {
                #expect(try Tree(first(path).merging(groups) { $1 }).quota == expected, "\(path)")
            }
            // "cpu" is a word of its own in the list of controllers.
            #expect(try Tree(first("/half", controllers: "cpuset,cpuacct").merging(groups) { $1 }).quota == 0)
        }

        /// Both versions side by side, as systemd's hybrid hierarchy has them.
        @Test func theLesserOfBothVersions() throws {
            var files = first("/a")
            files["proc/self/mountinfo"]? += "40 1 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
            files["sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us"] = "400000\n"
            files["sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us"] = "100000\n"
            #expect(try Tree(files).quota == 4)
            files["sys/fs/cgroup/unified/unified/cpu.max"] = "200000 100000\n"
            #expect(try Tree(files).quota == 2)
        }

        /// A container whose groups are mounted from its own on, with the path as it is outside or as it is inside.
        @Test func whatIsMountedMayBeginBelow() throws {
            let groups = ["sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/inner/cpu.max": "50000 100000\n"]
            for (group, top, expected) in [
                ("/docker/0abc", "/docker/0abc", 2), ("/docker/0abc/inner", "/docker/0abc", 1), ("/", "/", 2),
                ("/inner", "/", 1),
                ("/docker/0abcdef", "/docker/0abc", 2), ("/../../other", "/", 2), ("/outside", "/docker/0abc", 2),
            ] as [(String, String, Int64)] {
                #expect(
                    try Tree(second(group, top: top).merging(groups) { $1 }).quota == expected, "\(group) in \(top)")
            }
        }

        @Test func aPlaceWithBlanks() throws {
            let tree = try Tree(
                second("/a b", at: "/my\\040groups").merging(["my groups/a b/cpu.max": "300000 100000\n"]) { $1 })
            #expect(tree.quota == 3)
        }

        /// A thread may be in another group than its process.
        @Test func theThreadsOwnGroup() throws {
            var files = second("/process").merging(["proc/thread-self/cgroup": "0::/process/thread\n"]) { $1 }
            files["sys/fs/cgroup/process/cpu.max"] = "800000 100000\n"
            files["sys/fs/cgroup/process/thread/cpu.max"] = "200000 100000\n"
            #expect(try Tree(files).quota == 2)
        }

        @Test func whatCannotBeFoundOutSetsNoLimit() throws {
            #expect(ck_processor_quota("/no/such/folder") == 0)
            #expect(try Tree(["proc/self/cgroup": "0::/a\n"]).quota == 0)
            #expect(try Tree(["proc/self/mountinfo": second("/")["proc/self/mountinfo"] ?? ""]).quota == 0)
            for text in [
                "", "\n\n", " - \n", " - cgroup2", "1 2 3 - cgroup2 x y", "1 2 3 / /m rw - cgroup",
                "\u{1}\u{2} - - -\n",
            ] {
                #expect(try Tree(["proc/self/cgroup": text, "proc/self/mountinfo": text]).quota == 0)
            }
            let long = String(repeating: "/x", count: 50_000)
            #expect(try Tree(second(long)).quota == 0)
        }

        @Test func atLeastOne() { #expect((1...256).contains(ck_processors())) }
    }
}

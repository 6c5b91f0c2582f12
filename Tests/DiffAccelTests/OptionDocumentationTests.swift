import DiffAccel
import Foundation
import Testing

/// Options of plans and trainings are declared once; what people read of them names every one.
@Suite struct OptionDocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// Names of the options of one of `Library.description`'s groups of tables.
    private static func names(_ group: String) throws -> [String: [String]] {
        let tables = try JSONObject(Library.description, source: "library").object(group)
        var names: [String: [String]] = [:]
        for table in tables.keys { names[table] = try tables.objects(table).map { try $0.string("name") } }
        return names
    }

    /// The part of the header under the heading `title`.
    private static func header(_ title: String) throws -> String {
        let text = try text("include/diffaccel.h")
        let start = try #require(text.range(of: "/* ---- \(title) "))
        let rest = text[start.upperBound...]
        let end = rest.range(of: "\n/* ---- ")?.lowerBound ?? rest.endIndex
        // The comment in front of the first declaration.
        return String(rest[..<end].components(separatedBy: "*/\n\n").prefix(2).joined())
    }

    /// The docstring behind the line that begins with `line`; of the file itself when that is empty.
    private static func docstring(_ path: String, after line: String) throws -> String {
        let text = try text(path)
        let start = line.isEmpty ? text.startIndex : try #require(text.range(of: "\n" + line)).upperBound
        let parts = text[start...].components(separatedBy: "\"\"\"")
        return try #require(parts.count > 2 ? parts[1] : nil)
    }

    private static func mentions(_ text: String, _ name: String) -> Bool {
        text.range(of: "\\b\(name)\\b", options: .regularExpression) != nil
    }

    @Test func descriptionsHaveATableForEveryMethod() throws {
        let plans = try Self.names("plan_options")
        #expect(plans.keys.sorted() == Plan.methodNames.sorted())
        #expect(plans["code"] == ["method", "refiner", "draft_scales"])
        let trainings = try Self.names("training_options")
        #expect(Set(["router", "prune", "finetune", "specialise"]).isSubset(of: trainings.keys))
    }

    /// Defaults of tables pass their own checks, and every option says what it does.
    @Test func tablesAreSound() throws {
        for group in ["plan_options", "training_options"] {
            let tables = try JSONObject(Library.description, source: "library").object(group)
            for table in tables.keys {
                let options = try tables.objects(table)
                #expect(Set(try options.map { try $0.string("name") }).count == options.count, "\(table)")
                for option in options {
                    let text = try option.string("description")
                    #expect(text.hasSuffix(".") && text.count > 10, "\(table): \(text)")
                    let count = ["required", "default", "default_text"].filter { option.has($0) }.count
                    let name = try option.string("name")
                    #expect(count == 1, "\(table): \(name)")
                }
            }
        }
    }

    @Test func plansNameTheirOptions() throws {
        let header = try Self.header("plans")
        let docstring = try Self.docstring("bindings/python/diffaccel/plan.py", after: "class Plan(Handle):")
        for (method, names) in try Self.names("plan_options") {
            #expect(header.contains("\"method\": \"\(method)\"") && Self.mentions(docstring, method))
            for name in names where name != "method" {
                let (inHeader, inPython) = (header.contains("\"\(name)\""), docstring.contains("\"\(name)\""))
                #expect(inHeader, "include/diffaccel.h: \(method): \(name)")
                #expect(inPython, "plan.py: \(method): \(name)")
            }
        }
    }

    @Test func trainingsNameTheirOptions() throws {
        // In front of the first heading stands what all have.
        var sections = ["": ""]
        var current = ""
        for line in try Self.header("learning").components(separatedBy: "\n") {
            let heading = line.dropFirst(3).prefix { $0 != ":" }
            let isHeading = line.hasPrefix(" * ") && heading.allSatisfy { $0.isLowercase || $0 == "," || $0 == " " }
            if isHeading, heading.first != " ", line.contains(": ") { current = String(heading) }
            sections[current, default: ""] += line + "\n"
        }
        let module = try Self.docstring("bindings/python/diffaccel/learn.py", after: "")
        for (training, names) in try Self.names("training_options") {
            let key =
                ["prune": "prune, learned", "router, uvit": "router", "router, unet2d_condition": "router"][training]
                ?? training
            let section = try #require(sections[key], "include/diffaccel.h says nothing of \(key)")
            let function = String(training.prefix { $0 != "," })
            let docstring = try Self.docstring("bindings/python/diffaccel/learn.py", after: "def \(function)(")
            for name in names {
                let inHeader = (sections["", default: ""] + section).contains("\"\(name)\"")
                // In Python the function is the method.
                let inPython = name == "method" || Self.mentions(module + docstring, name)
                #expect(inHeader, "include/diffaccel.h: \(training): \(name)")
                #expect(inPython, "learn.py: \(training): \(name)")
            }
        }
    }
}

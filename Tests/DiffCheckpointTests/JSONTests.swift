import DiffTensor
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct JSONTests {
        static let valid: [(String, JSON)] = [
            ("null", .null), ("true", .bool(true)), (" false\n", .bool(false)), ("0", .integer(0)),
            ("-7", .integer(-7)),
            ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)), ("1.0", .number(1)),
            ("1e2", .number(100)), ("-0.5", .number(-0.5)), ("5e-324", .number(5e-324)), ("\"\"", .string("")),
            ("\"a\\u00e9\\ud83d\\ude00\\n\\/\"", .string("aé😀\n/")), ("[]", .array([])), ("{}", .object([:])),
            (
                "[1,[2.5,\"x\"],{\"k\":null}]",
                .array([.integer(1), .array([.number(2.5), .string("x")]), .object(["k": .null])])
            ),
        ]

        static let invalid = [
            "", " ", "{", "}", "[1", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "01", "+1", ".5", "1.", "1e", "--1",
            "0x1", "nan", "+Infinity", "NaNs", "{NaN:1}", "[NaN,\"\u{7f}\"]", "[NaN,\"\\u007F\"]", "nul", "True", "'a'",
            "\"", "\"\\q\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"",
            "\"\t\"", "[1]]",
            "1 2", "[1 2]", "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":1}", "\"\\u0000\"",
            "{\"\\u0000\":1}",
            "/*a*/1", "1e999", "-1e999", "012345678901234567890", "1,5", "[,1]", "\u{feff}\u{feff}1",
        ]

        @Test func reads() throws {
            for (text, value) in Self.valid { #expect(try JSON(parsing: text, source: "t") == value, "\(text)") }
        }

        @Test func refuses() {
            for text in Self.invalid {
                let found = error { () throws(DiffError) in try JSON(parsing: text, source: "t.json") }
                #expect(found?.code == .format && found?.message.hasPrefix("t.json: ") ?? false, "\(text)")
            }
        }

        /// What Python writes, and editors put in front.
        @Test func readsWhatOthersWrite() throws {
            func value(_ text: String) throws -> JSON { try JSON(parsing: text, source: "t") }
            #expect(try value("\u{feff}{\"a\":1}") == .object(["a": .integer(1)]))
            guard case .array(let numbers) = try value("[NaN, Infinity, -Infinity, 1, \"NaN\", \"\"]"),
                case .number(let first)? = numbers.first
            else { return #expect(Bool(false), "no list") }
            #expect(first.isNaN)
            #expect(
                numbers.dropFirst() == [
                    .number(.infinity), .number(-.infinity), .integer(1), .string("NaN"), .string(""),
                ])
            // The length of a text without bounds in a tokenizer's config: int(1e30).
            #expect(try value("1000000000000000019884624838656") == .number(1e30))
            #expect(try value("{\"a\":-9223372036854775809}") == .object(["a": .number(-0x1p63)]))
            #expect(try value("[18446744073709551615]") == .array([.number(0x1p64)]))
            let object = try JSONObject(value("{\"x\":NaN,\"y\":-Infinity,\"n\":1e30,\"d\":3}"), source: "c")
            #expect(try object.integer("d", in: 0...9) == 3)
            for key in ["x", "y"] {
                let found = error { () throws(DiffError) in try object.number(key, in: -1e9...1e9) }
                #expect(found?.message.hasPrefix("c: \(key): expected a number in") ?? false, "\(found?.message ?? "")")
            }
        }

        @Test func everyPrefixAndByte() {
            let text = Array("{\"a\":[1,-2.5e3,\"x\\u00e9\\n\",null,true],\"bc\":{\"d\":\"é\"}}".utf8)
            for count in 0..<text.count {
                let prefix = text.prefix(count)
                let found = error { () throws(DiffError) in
                    try JSON(parsing: String(decoding: prefix, as: UTF8.self), source: "t")
                }
                #expect(found != nil)
            }
            for position in text.indices {
                for value in UInt8.min...UInt8.max {
                    var changed = text
                    changed[position] = value
                    let json = changed.withUnsafeBytes { raw in try? JSON(parsing: raw, source: "t") }
                    // What is read is read back from what is written.
                    if let json { #expect((try? JSON(parsing: json.serialized(), source: "t")) == json) }
                }
            }
        }

        @Test func namesLineAndColumn() {
            let found = error { () throws(DiffError) in
                try JSON(parsing: "{\n  \"a\": 1,\n  \"b\" 2\n}", source: "c.json")
            }
            #expect(found?.message.contains("c.json: bad JSON at line 3, column") ?? false, "\(found?.message ?? "")")
        }

        @Test func limitsOnBothSides() {
            func code(_ text: String, _ limits: JSON.Limits) -> DiffError.Code? {
                error { () throws(DiffError) in try JSON(parsing: text, limits: limits, source: "t") }?.code
            }
            #expect(code("[1,2]", JSON.Limits(bytes: 5)) == nil)
            #expect(code("[1,2]", JSON.Limits(bytes: 4)) == .format)
            #expect(code("[1,2]", JSON.Limits(values: 3)) == nil)
            #expect(code("[1,2]", JSON.Limits(values: 2)) == .format)
            #expect(code("[[1]]", JSON.Limits(depth: 2)) == nil)
            #expect(code("[[1]]", JSON.Limits(depth: 1)) == .format)
            #expect(code("[[1]]", JSON.Limits(memory: 100)) == .format)
            // Punctuation in strings counts for nothing.
            #expect(code("\"[[[[,,,,\"", JSON.Limits(depth: 1, values: 1)) == nil)
            #expect(code("\"\\\"[[[\"", JSON.Limits(depth: 1)) == nil)
            #expect(JSON.Limits(bytes: .max, depth: 5000).depth == 32)
        }

        @Test func writes() throws {
            let value = JSON.object([
                "b": .array([.integer(1), .number(0.1), .number(.nan), .number(-.infinity)]),
                "a": .object(["x": .string("q\"\\\u{1}\u{7f}é")]), "c": .array([.object([:]), .array([])]),
            ])
            #expect(value.serialized() == #"{"a":{"x":"q\"\\\u0001\u007fé"},"b":[1,0.1,null,null],"c":[{},[]]}"#)
            #expect(
                value.serialized(pretty: true) == """
                    {
                      "a": {
                        "x": "q\\"\\\\\\u0001\\u007fé"
                      },
                      "b": [1, 0.1, null, null],
                      "c": [
                        {},
                        []
                      ]
                    }

                    """)
            for (_, value) in Self.valid {
                #expect(try JSON(parsing: value.serialized(), source: "t") == value)
                #expect(try JSON(parsing: value.serialized(pretty: true), source: "t") == value)
            }
        }

        @Test func numbersKeepTheirBits() throws {
            var state: UInt64 = 7
            for _ in 0..<5000 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let number = Double(bitPattern: state)
                guard number.isFinite else { continue }
                #expect(try JSON(parsing: JSON.number(number).serialized(), source: "t") == .number(number))
            }
        }
    }

    @Suite struct JSONReadingTests {
        let object: JSONObject

        init() throws {
            let text = """
                {"model":{"width":"abc","depth":4,"ratio":4,"scale":0.5,"flag":true,"kind":"dit","none":null,"big":1e300,
                "whole":4.0,"list":[1,2,3],"names":["a","b"],"mixed":[1,"a"],"parts":[{"n":1},{"n":2}]}}
                """
            object = try JSONObject(JSON(parsing: text, source: "config.json"), source: "config.json").object("model")
        }

        @Test func values() throws {
            #expect(try object.integer("depth", in: 1...9) == 4)
            #expect(try object.integer("whole", in: 1...9) == 4)
            #expect(try object.integer("none", in: 1...9, default: 7) == 7)
            #expect(try object.optionalInteger("absent", in: 1...9) == nil)
            #expect(try object.number("ratio", in: 0...8) == 4)
            #expect(try object.number("whole", in: 0...8) == 4)
            #expect(try object.number("scale", in: 0...1) == 0.5)
            #expect(try object.bool("flag") && !object.bool("absent", default: false))
            #expect(try object.string("kind", oneOf: ["dit", "uvit"]) == "dit")
            #expect(try object.optionalString("absent") == nil)
            #expect(try object.integers("list", in: 1...3) == [1, 2, 3])
            #expect(try object.numbers("list", in: 1...3) == [1, 2, 3])
            #expect(try object.strings("names") == ["a", "b"])
            #expect(try object.array("mixed").count == 2)
            #expect(try object.objects("parts").map { $0.members["n"] } == [.integer(1), .integer(2)])
            #expect(try object.optionalObject("absent")?.path == nil)
            #expect(object.has("depth") && !object.has("none") && !object.has("absent"))
            #expect(object.keys.first == "big")
        }

        @Test func errorsNameThePlace() {
            let o = object
            func text(_ body: () throws(DiffError) -> Void) -> String {
                error(body).map { "\($0.code.rawValue) \($0.message)" } ?? ""
            }
            let cases: [(String, String)] = [
                (
                    text { () throws(DiffError) in _ = try o.integer("width", in: 1...65536) },
                    "-3 config.json: model.width: expected an integer in 1...65536, found \"abc\""
                ),
                (
                    text { () throws(DiffError) in _ = try o.integer("depth", in: 5...9) },
                    "-3 config.json: model.depth: expected an integer in 5...9, found 4"
                ),
                (
                    text { () throws(DiffError) in _ = try o.integer("scale", in: 0...9) },
                    "-3 config.json: model.scale: expected an integer in 0...9, found 0.5"
                ),
                (
                    text { () throws(DiffError) in _ = try o.integer("absent", in: 1...9) },
                    "-3 config.json: model.absent: missing; expected an integer in 1...9"
                ),
                (
                    text { () throws(DiffError) in _ = try o.number("big", in: 0...1) },
                    "-3 config.json: model.big: expected a number in 0.0...1.0, found 1e+300"
                ),
                (
                    text { () throws(DiffError) in _ = try o.number("flag", in: 0...1) },
                    "-3 config.json: model.flag: expected a number in 0.0...1.0, found true"
                ),
                (
                    text { () throws(DiffError) in _ = try o.bool("depth") },
                    "-3 config.json: model.depth: expected true or false, found 4"
                ),
                (
                    text { () throws(DiffError) in _ = try o.string("kind", oneOf: ["a", "b"]) },
                    "-3 config.json: model.kind: expected one of a, b, found \"dit\""
                ),
                (
                    text { () throws(DiffError) in _ = try o.string("list") },
                    "-3 config.json: model.list: expected a string, found a list of 3"
                ),
                (
                    text { () throws(DiffError) in _ = try o.integers("list", in: 1...2) },
                    "-3 config.json: model.list[2]: expected an integer in 1...2, found 3"
                ),
                (
                    text { () throws(DiffError) in _ = try o.strings("mixed") },
                    "-3 config.json: model.mixed[0]: expected a string, found 1"
                ),
                (
                    text { () throws(DiffError) in _ = try o.objects("mixed") },
                    "-3 config.json: model.mixed[0]: expected an object, found 1"
                ),
                (
                    text { () throws(DiffError) in _ = try o.object("kind") },
                    "-3 config.json: model.kind: expected an object, found \"dit\""
                ),
                (
                    text { () throws(DiffError) in _ = try o.object("none") },
                    "-3 config.json: model.none: missing; expected an object"
                ),
                (
                    text { () throws(DiffError) in try o.allow(only: ["depth", "big"]) },
                    "-3 config.json: model.flag: unknown name; known here: depth, big"
                ),
            ]
            for (found, expected) in cases { #expect(found == expected) }
        }
    }
}
